"""Rendered text against golden files; `make golden` writes them anew."""

import os
from pathlib import Path

import pytest
from msgspec import structs

from lumos_agent.render.haproxy import Identity, Options, map_text, render
from lumos_agent.schema import Domain, Origin, Policy
from lumos_agent.traffic import Health, Passthrough, Traffic
from tests.agent.builders import Networks, domain, ident, snapshot

FOLDER = Path(__file__).resolve().parents[1] / "golden" / "haproxy"
OPTIONS = Options(
    http=("0.0.0.0:80", "[::]:80"), https=("0.0.0.0:443", "[::]:443"), run_dir="/var/lib/lumos/run",
    certificates_list="/var/lib/lumos/certs/list", challenges_map="/var/lib/lumos/run/challenges.map",
    alive_map="/var/lib/lumos/run/alive.map", server_state="/var/lib/lumos/run/server-state",
    engine="/var/lib/lumos/engine/waf.lua",
)  # fmt: skip
CASES: dict[str, tuple[Domain, ...]] = {
    "empty": (),
    "origins": (
        domain(
            1,
            hostname="shop.example",
            origins=(
                Origin(id=ident(11), address="203.0.113.7", port=80),
                Origin(id=ident(12), address="2001:db8::7", port=8443, tls="on", weight=10),
                Origin(id=ident(13), address="origin.example.net", port=443, tls="verify", backup=True),
            ),
        ),
    ),
    "passthrough": (
        domain(1, traffic=Traffic(passthrough=Passthrough(connections_max=20), proxy_protocol="v2", health=Health())),
        domain(2, hostname="*.d1.example"),
    ),
    "lists": (
        domain(1),
        domain(2, policy=Policy(mode="detect", level="high")),
        domain(3, policy=Policy(mode="off")),
    ),
}


LISTS: dict[str, dict[str, Networks]] = {
    "lists": {
        "deny": {1: ("198.51.100.0/24", "198.51.100.7/32", "2001:db8::/32"), 2: ("198.51.100.0/24",)},
        "allow": {2: ("198.51.100.0/25",)},
    }
}
BUILDS = dict.fromkeys(CASES, OPTIONS) | {"http3": structs.replace(OPTIONS, quic="limited")}


@pytest.mark.parametrize("name", list(BUILDS))
def test_golden(name: str) -> None:
    artefact = render(
        snapshot(*CASES.get(name, ()), **LISTS.get(name, {})), BUILDS[name], Identity(epoch="e", revision=7, digest="d")
    )
    maps = "".join(f"\n# maps/{m}.map\n{map_text(dict(e)).decode()}" for m, e in sorted(artefact.maps.items()))
    path = FOLDER / f"{name}.cfg"
    if os.environ.get("LUMOS_GOLDEN") == "write":
        path.write_text(artefact.cfg + maps)
    assert artefact.cfg + maps == path.read_text(), "the output changed: run `make golden` and look at the diff"
