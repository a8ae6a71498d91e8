"""The configuration that a shield would run, rendered here by the agent's own pure renderer.

The only module of the control plane that renders; import-linter keeps it so.
"""

from lumos_agent.render.haproxy import Identity, Options, render
from servers.models import Server
from servers.snapshots import snapshot_of

# What the shield decides for itself, as a default installation has it.
NEUTRAL = Options(
    http=("0.0.0.0:80", "[::]:80"),
    https=("0.0.0.0:443", "[::]:443"),
    run_dir="/var/lib/lumos/run",
    certificates_list="/var/lib/lumos/certs/list",
    challenges_map="/var/lib/lumos/run/challenges.map",
    alive_map="/var/lib/lumos/run/alive.map",
    server_state="/var/lib/lumos/run/server-state",
    engine="/var/lib/lumos/engine/waf.lua",
    countries="/var/lib/lumos/geo/countries.map",
    systems="/var/lib/lumos/geo/systems.map",
)


def haproxy_cfg(server: Server) -> str:
    """Return the haproxy.cfg of the present rows; lists and policies are in maps beside it."""
    return render(snapshot_of(server), NEUTRAL, Identity()).cfg
