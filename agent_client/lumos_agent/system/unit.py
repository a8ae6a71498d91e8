"""The systemd units, for the place where this agent is installed."""

from importlib import resources
from pathlib import Path

from lumos_agent.errors import AgentError

NAME = "lumos-agent.service"
ERRAND_PATH = "lumos-errand.path"
ALL = ("lumos-errand.service", ERRAND_PATH, NAME)
USUAL_PREFIX = "/opt/lumos/agent"
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - named, not used


def require_visible(prefix: Path) -> None:
    """Refuse a virtual environment that the unit's own hardening would hide from it.

    Raises:
        AgentError: says where to install the agent.
    """
    if any(prefix.is_relative_to(hidden) for hidden in _HIDDEN):
        raise AgentError(
            f"the agent is installed in {prefix}, which its service may not read; install it in {USUAL_PREFIX}"
        )


def text(prefix: Path, name: str = NAME) -> str:
    """Return a unit for an agent in the virtual environment `prefix`."""
    unit = (resources.files(__package__) / name).read_text(encoding="utf-8")
    return unit.replace(USUAL_PREFIX, str(prefix))
