"""The agent with one fault: domains called bad-… get a line that HAProxy refuses."""

import sys

from lumos_agent import cli
from lumos_agent.render import haproxy as rendering
from lumos_agent.render import sites
from lumos_agent.schema import Domain


def _faulty(domain: Domain) -> sites.Site:
    site = sites.site(domain)
    return site._replace(text=site.text + "    no-such-keyword\n") if domain.hostname.startswith("bad-") else site


if __name__ == "__main__":
    rendering.site = _faulty  # type: ignore[attr-defined]
    sys.exit(cli.main())
