"""What `make run`, `make stop` and `make status` call."""

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploy.stack import HOSTNAME, ROOT, Stack, StackError, write_private

VAR = ROOT / "var"
DEMO_FILE = VAR / "demo.json"
PROFILES = {"embedded": VAR, "postgres": VAR / "pg"}


def run(profile: str) -> None:
    """Start the demo, or check the one that runs, and say how to use it."""
    for other, folder in PROFILES.items():
        if other != profile and folder.exists():
            Stack(folder, profile=other).stop()
    stack = Stack(PROFILES[profile], profile=profile)
    if not (stack.is_running() and DEMO_FILE.exists() and stack.shield_status("/") == 200):
        stack.stop()
        DEMO_FILE.unlink(missing_ok=True)
        stack.start()
    demo = stack.demo()
    write_private(DEMO_FILE, json.dumps(demo, indent=2) + "\n")
    shield = f"curl -i -H 'Host: {HOSTNAME}' 'http://{demo['shield_http']}/"
    print(f"""
Lumos runs ({profile}).

  Dashboard   {demo["web"]}
  Sign in     {demo["email"]}  /  {demo["password"]}
  API         {demo["api"]}/docs   key {demo["api_key"]}

  Passes      {shield}'
  Blocked     {shield}?id=1%27%20UNION%20SELECT%20password%20FROM%20users--'

  All of this is in {DEMO_FILE.relative_to(ROOT)}; logs are in {stack.logs.relative_to(ROOT)}/. `make stop` ends it.
""")


def stop() -> None:
    """End the demo, whichever profile runs."""
    DEMO_FILE.unlink(missing_ok=True)
    for profile, folder in PROFILES.items():
        if folder.exists():
            Stack(folder, profile=profile).stop()
    print("Lumos is stopped.")


def status() -> None:
    """Show the supervisor's table."""
    for profile, folder in PROFILES.items():
        stack = Stack(folder, profile=profile)
        if stack.is_running():
            print(stack.control("status", check=False).stdout, end="")
            return
    print("Lumos is not running; start it with `make run`.")


def main() -> int:
    """Run one command."""
    command = sys.argv[1] if len(sys.argv) > 1 else "status"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if command == "run":
            run(os.environ.get("PROFILE") or "embedded")
        else:
            {"stop": stop, "status": status}[command]()
    except (StackError, KeyError) as error:
        print(f"lumos: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
