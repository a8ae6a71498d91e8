"""The agent where root's unit looks for errands: below LUMOS_TEST_ROOT instead of on this machine."""

import os
import sys
from pathlib import Path

from lumos_agent import cli, errands

if __name__ == "__main__":
    root = Path(os.environ["LUMOS_TEST_ROOT"])
    errands.PATH_UNIT = root / errands.PATH_UNIT.relative_to("/")
    errands.SYSTEMD_RUNS = root
    sys.exit(cli.main())
