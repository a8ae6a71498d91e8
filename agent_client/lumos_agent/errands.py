"""What the control plane asks of root. The agent may not do it: it leaves it where root's own unit looks for it."""

import logging
from pathlib import Path

import msgspec

from lumos_agent.config import State, write_atomically
from lumos_agent.protocol import Errand

log = logging.getLogger(__name__)

PATH_UNIT = Path("/etc/systemd/system/lumos-errand.path")
SYSTEMD_RUNS = Path("/run/systemd/system")  # sd_booted(3)


def takes_errands() -> bool:
    """Whether somebody will do what is left."""
    return PATH_UNIT.exists() and SYSTEMD_RUNS.is_dir()


class Errands:
    """Each is left once, however often it is asked for."""

    def __init__(self, state: State) -> None:
        self._file = state.errand_file
        self._left: set[str] = set()

    def received(self, errand: Errand) -> None:
        """Leave it for root."""
        if errand.id in self._left:
            return
        log.warning("errand", extra={"kind": errand.kind, "version": errand.version})
        write_atomically(self._file, msgspec.json.encode(errand))
        self._left.add(errand.id)
