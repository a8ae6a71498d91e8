"""Root's commands act as the owner of the state, so that the agent can read what they write."""

import os
from pathlib import Path


def act_as_owner_of(folder: Path) -> None:
    """Give up root for the user whom `folder` belongs to; ordinary users stay who they are."""
    if os.geteuid() != 0 or not folder.is_dir() or (found := folder.stat()).st_uid == 0:
        return
    os.setgroups([])
    os.setgid(found.st_gid)
    os.setuid(found.st_uid)
