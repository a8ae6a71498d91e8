"""The agent with one fault: domains called bad-… get a line that HAProxy refuses."""

import sys

from lumos_agent import cli
from lumos_agent.render import haproxy as rendering

_real = rendering._backend


def _faulty(domain_id: str, hostname: str, origins: tuple[object, ...]) -> str:
    text = _real(domain_id, hostname, origins)
    return text + "    no-such-keyword\n" if hostname.startswith("bad-") else text


if __name__ == "__main__":
    rendering._backend = _faulty  # type: ignore[assignment]
    sys.exit(cli.main())
