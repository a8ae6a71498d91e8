"""CDNs whose networks come with the agent: who is believed, and who gets in."""

import ipaddress
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from lumos_agent.cdns import cdns
from lumos_agent.traffic import Traffic
from tests.agent.builders import Shield, config, domain
from tests.agent.test_traffic_tls import through
from tests.agent.visitor import origin, request
from tests.services import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
async def balanced(tmp_path: Path) -> AsyncIterator[Shield]:
    """A shield behind a load balancer at 127.0.0.2, which may say that anybody connects."""
    shield = Shield(tmp_path / "s", free_port())
    shield.state.save_settings(msgspec.structs.replace(shield.state.settings(), proxy_protocol_from=("127.0.0.2/32",)))
    shield = Shield(tmp_path / "s")
    try:
        yield shield
    finally:
        await shield.stop()
        for opened in shield.haproxy._sockets.values():
            opened.close()


def test_networks_are_canonical_public_and_disjoint() -> None:
    networks = [ipaddress.ip_network(text) for cdn in cdns().values() for text in cdn.networks]
    assert all(network.is_global for network in networks)
    for version in (4, 6):
        rows = sorted(n for n in networks if n.version == version)
        assert not any(a.overlaps(b) for a, b in pairwise(rows))


async def from_address(shield: Shield, address: str) -> str:
    """Return the answer to a request that an address sends on behalf of 198.51.100.7."""
    first = f"PROXY TCP4 {address} 192.0.2.1 4711 80\r\n".encode()
    head = b"GET / HTTP/1.1\r\nHost: d1.example\r\nX-Forwarded-For: 6.6.6.6, 198.51.100.7\r\nConnection: close\r\n\r\n"
    return (await through(shield.port, first, head)).decode()


async def test_only_the_chosen_cdn_is_believed_and_gets_in(balanced: Shield) -> None:
    cloudflare, fastly, nobody = "173.245.48.9", "151.101.1.1", "203.0.113.9"
    async with origin() as port:
        traffic = Traffic(trusted_cdns=("cloudflare",))
        await balanced.applier.apply(config(1, domain(port=port, traffic=traffic), domain(2, port=port)))
        assert "x-real-ip: 198.51.100.7\r\n" in (await from_address(balanced, cloudflare)).lower()
        for address in (fastly, nobody):
            assert f"x-real-ip: {address}\r\n" in (await from_address(balanced, address)).lower()
        # Another choice, and another domain's, needs no reload.
        traffic = Traffic(trusted_cdns=("cloudflare", "fastly"))
        done = await balanced.applier.apply(config(2, domain(port=port, traffic=traffic), domain(2, port=port)))
        assert done.how == "runtime"
        assert "x-real-ip: 198.51.100.7\r\n" in (await from_address(balanced, fastly)).lower()
        only = Traffic(trusted_cdns=("fastly",), only_trusted_proxies=True, trusted_proxies=("192.0.2.0/24",))
        await balanced.applier.apply(config(3, domain(port=port, traffic=only), domain(2, port=port)))
        answers = [(await from_address(balanced, ip)).split()[1] for ip in (cloudflare, fastly, nobody, "192.0.2.77")]
        assert answers == ["403", "200", "403", "200"]
        assert (await request(balanced.port, "d2.example")).status == 200
