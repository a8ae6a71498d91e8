"""`uninstall`: end the agent and HAProxy, and leave the machine as edge-setup found it."""

import shutil
import sys
from collections.abc import AsyncIterator

from lumos_agent.config import DEFAULT_STATE_DIR, State
from lumos_agent.drivers import wireguard_device
from lumos_agent.drivers.nftables import remove_tables
from lumos_agent.system import edge, unit
from lumos_agent.system.host import Host
from lumos_agent.tunnel import OWN_NAME


async def uninstall(root: str, *, purge: bool) -> AsyncIterator[str]:
    """Yield what was done. The state (token, last configuration) stays unless `purge`.

    Raises:
        AgentError: a step failed; running it again goes on from there.
    """
    edge.require_root()
    host = Host(root)
    state = State(host.path(DEFAULT_STATE_DIR))
    if host.path(edge.UNIT_FILE).exists():
        units = [name for name in (unit.NAME, unit.ERRAND_PATH) if host.path(f"/etc/systemd/system/{name}").exists()]
        await host.tell_systemd("stop", *units)
        if await host.is_enabled(unit.NAME):
            await host.change_unit("disable", unit.NAME)
        yield f"stop and disable {unit.NAME}"
    if state.settings_file.exists():
        # In a process of its own, which acts as the owner of the state: whose files name the process to end.
        await host.call(sys.executable, "-m", "lumos_agent.cli", "--state-dir", str(state.root), "shutdown", "--yes")
        yield "end HAProxy and Knot DNS"
    for conf in sorted(state.tunnels.glob("lumos-*.conf")):
        if OWN_NAME.fullmatch(conf.stem):
            await wireguard_device.remove(conf.stem)
            yield f"remove the tunnels of {conf.stem}"
    for table in await remove_tables(state):
        yield f"remove the table {table} of nftables"
    async for action in edge.take_back(root):
        yield f"take back: {action.describe()}"
    if purge and state.root.exists():
        shutil.rmtree(state.root)
        yield f"delete {state.root}"
