"""Wheels of the agent in any version, and an environment to install them in, without a package index."""

import base64
import hashlib
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_META = "Metadata-Version: 2.1\nName: lumos-agent\nVersion: {}\n" + "".join(
    f"Requires-Dist: {name}\n" for name in ("cryptography", "jinja2", "msgspec", "prometheus-client", "websockets")
)


def sha256(path: Path) -> str:
    """Return the checksum that people type."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def wheel(folder: Path, version: str, *, cli_prelude: str = "", requires: str = "") -> Path:
    """Build a wheel of this repository's agent; `cli_prelude` is Python that its command runs first."""
    info = f"lumos_agent-{version}.dist-info"
    source = ROOT / "agent_client"
    files = {
        str(path.relative_to(source)): path.read_bytes()
        for path in (source / "lumos_agent").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    own = files["lumos_agent/__init__.py"].decode().replace('__version__ = "0.1.0"', f'__version__ = "{version}"')
    files["lumos_agent/__init__.py"] = own.encode()
    files["lumos_agent/cli.py"] = cli_prelude.encode() + b"\n" + files["lumos_agent/cli.py"]
    files[f"{info}/METADATA"] = (_META.format(version) + requires).encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nlumos-agent = lumos_agent.cli:main\n"
    rows = [f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items()]
    files[f"{info}/RECORD"] = ("".join(rows) + f"{info}/RECORD,,\n").encode()
    made = folder / f"lumos_agent-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return made


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def environment(folder: Path) -> Path:
    """Make a virtual environment that sees this one's packages, pip among them, but not its agent."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = link_packages(folder.with_name("packages"))
    (next((folder / "lib").glob("python3*")) / "site-packages" / "packages.pth").write_text(f"{packages}\n")
    return folder


def link_packages(folder: Path) -> Path:
    """Make a directory with links to all of this environment's packages but the agent."""
    folder.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "lumos" not in path.name and path.suffix != ".pth":
            (folder / path.name).symlink_to(path)
    return folder
