"""The agent with one fault: domains called bad-… get a line that HAProxy refuses."""

import sys

from lumos_agent import cli
from lumos_agent.render import backend
from lumos_agent.render import haproxy as rendering
from lumos_agent.schema import Domain


def _faulty(domain: Domain) -> str:
    text = backend.backend_text(domain)
    return text + "    no-such-keyword\n" if domain.hostname.startswith("bad-") else text


if __name__ == "__main__":
    rendering.backend_text = _faulty  # type: ignore[attr-defined]
    sys.exit(cli.main())
