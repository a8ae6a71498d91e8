"""Records at others' name servers: a real knotd with TSIG, an imitation of Cloudflare; what others made stays."""

import base64
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import pytest

from domains.dns import DnsError, Driver, Entry, NotOwned, mark_of, planned
from domains.dns.lexicon_driver import Lexicon
from domains.dns.rfc2136 import Rfc2136
from lumos.net import Reach
from tests.cloudflare import TOKEN, Cloudflare, cloudflare
from tests.services import free_port

pytestmark = pytest.mark.integration
ZONE, NAME, OWNER = "example.com", "www.example.com", "11111111-0000-4000-8000-000000000000"
KEY = base64.b64encode(secrets.token_bytes(32)).decode()
EVERYWHERE = Reach(admits=lambda _: True)
ONE, TWO, SIX = "192.0.2.1", "192.0.2.2", "2001:db8::1"

CONF = """
server:
  listen: [127.0.0.1@{port}]
  rundir: {root}
control:
  listen: {root}/knot.sock
database:
  storage: {root}/db
key:
  - id: lumos.
    algorithm: hmac-sha256
    secret: {key}
acl:
  - id: updates
    key: lumos.
    action: [update, query]
zone:
  - domain: example.com.
    file: {root}/example.com.zone
    zonefile-load: difference-no-serial
    journal-content: all
    acl: updates
"""
ZONE_TEXT = """
@ 300 IN SOA ns.example.com. hostmaster.example.com. 1 3600 600 86400 60
@ 300 IN NS ns.example.com.
ns 300 IN A 127.0.0.1
made 300 IN A 203.0.113.80
made 300 IN TXT "of somebody"
cname 300 IN CNAME made
"""


@pytest.fixture(scope="module")
def knot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run knotd with a zone that takes signed updates; returns its port."""
    root, port = tmp_path_factory.mktemp("knot"), free_port()
    (root / "knot.conf").write_text(CONF.format(root=root, port=port, key=KEY))
    (root / "db").mkdir()
    (root / "example.com.zone").write_text(ZONE_TEXT)
    process = subprocess.Popen(
        ["knotd", "-c", root / "knot.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _await(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def _await(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if dns.query.tcp(dns.message.make_query(ZONE, "SOA"), "127.0.0.1", 1, port).answer:
                return
        except (OSError, dns.exception.DNSException):
            time.sleep(0.05)
    raise RuntimeError("knotd does not answer")


@pytest.fixture
def knot_driver(knot: int) -> Iterator[Rfc2136]:
    driver = rfc2136(knot)
    yield driver
    _remove(driver, NAME)
    _remove(driver, "*.example.com")


def rfc2136(port: int, **values: Any) -> Rfc2136:
    given = {"key_name": "lumos", "algorithm": "hmac-sha256", "secret": KEY, "reach": EVERYWHERE, "server": "127.0.0.1"}
    return Rfc2136(zone=ZONE, port=port, **{**given, **values})


@pytest.fixture
def cloud() -> Iterator[Cloudflare]:
    with cloudflare(ZONE) as served:
        served.put("A", "made.example.com", "203.0.113.80")
        served.put("CNAME", "cname.example.com", "made.example.com")
        yield served


def lexicon(cloud: Cloudflare, token: str = TOKEN) -> Lexicon:
    return Lexicon(provider="cloudflare", zone=ZONE, token=token, endpoint=cloud.url)


@pytest.fixture(params=["rfc2136", "cloudflare"])
def driver(request: pytest.FixtureRequest) -> Driver:
    if request.param == "rfc2136":
        found: Driver = request.getfixturevalue("knot_driver")
        return found
    return lexicon(request.getfixturevalue("cloud"))


def _remove(driver: Driver, name: str) -> None:
    mark = mark_of(name, OWNER)
    there = driver.entries(name) | driver.entries(mark.name)
    if mark in there:
        from domains.dns import Plan

        driver.change(Plan((), tuple(there), (), mark), 60)


def put(driver: Driver, *addresses: str, name: str = NAME, **options: Any) -> None:
    driver.change(planned(driver, name, OWNER, addresses, **options), 60)


def answered(driver: Driver, name: str = NAME) -> set[str]:
    return {entry.data for entry in driver.entries(name) if entry.kind in ("A", "AAAA")}


def test_addresses_come_go_and_stay(driver: Driver) -> None:
    put(driver, ONE, SIX)
    assert answered(driver) == {ONE, SIX}
    assert mark_of(NAME, OWNER) in driver.entries(mark_of(NAME, OWNER).name)
    put(driver, TWO, SIX)
    assert answered(driver) == {TWO, SIX}
    plan = planned(driver, NAME, OWNER, [TWO, SIX])
    assert (plan.add, plan.remove, len(plan.keep)) == ((), (), 2)


def test_a_wildcard_has_its_mark_beside_it(driver: Driver) -> None:
    put(driver, ONE, name="*.example.com")
    assert answered(driver, "*.example.com") == {ONE}
    assert driver.entries("_lumos-any.example.com")


def test_what_others_made_is_never_touched(driver: Driver) -> None:
    before = driver.entries("made.example.com")
    with pytest.raises(NotOwned, match=r"203\.0\.113\.80, which Lumos did not enter"):
        put(driver, ONE, name="made.example.com")
    with pytest.raises(NotOwned, match="is a CNAME"):
        put(driver, ONE, name="cname.example.com", adopt=True)
    assert driver.entries("made.example.com") == before


def test_another_owners_mark_is_respected(driver: Driver) -> None:
    put(driver, ONE)
    with pytest.raises(NotOwned, match="belongs to another owner"):
        planned(driver, NAME, "22222222-0000-4000-8000-000000000000", [TWO], adopt=True)


def test_a_person_hands_records_over(cloud: Cloudflare) -> None:
    driver = lexicon(cloud)
    put(driver, ONE, name="made.example.com", adopt=True)
    assert answered(driver, "made.example.com") == {ONE}
    put(driver, TWO, name="made.example.com")
    assert answered(driver, "made.example.com") == {TWO}


def test_cloudflare_never_answers_with_nothing_in_between(cloud: Cloudflare) -> None:
    driver = lexicon(cloud)
    put(driver, ONE)
    cloud.calls.clear()
    put(driver, TWO)
    assert cloud.calls == [f"create A {TWO}", f"delete A {ONE}"]


@pytest.mark.parametrize("status", [400, 429, 500])
def test_what_cloudflare_says_is_told_without_the_token(cloud: Cloudflare, status: int) -> None:
    cloud.fails_with = status
    with pytest.raises(DnsError, match=f"status {status}: .*Something went wrong") as caught:
        lexicon(cloud).entries(NAME)
    assert TOKEN not in caught.value.detail


def test_a_wrong_token(cloud: Cloudflare) -> None:
    with pytest.raises(DnsError, match="Invalid access token"):
        lexicon(cloud, "wrong-token").entries(NAME)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda port: rfc2136(port, secret=base64.b64encode(b"x" * 32).decode()), "knows another secret"),
        (lambda port: rfc2136(port, key_name="unknown"), "does not know the key"),
        (lambda port: rfc2136(port, reach=Reach()), "no address of the public Internet"),
        (lambda _: rfc2136(free_port()), "refused|Errno"),
    ],
)
def test_a_name_server_that_refuses(knot: int, made: Callable[[int], Rfc2136], words: str) -> None:
    with pytest.raises(DnsError, match=words):
        put(made(knot), ONE)


def test_an_update_holds_only_if_nothing_changed_meanwhile(knot_driver: Rfc2136) -> None:
    plan = planned(knot_driver, NAME, OWNER, [ONE])
    put(knot_driver, TWO)
    with pytest.raises(DnsError, match="YXRRSET"):
        knot_driver.change(plan, 60)
    assert answered(knot_driver) == {TWO}


def test_the_secret_is_in_no_process_list(cloud: Cloudflare, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = subprocess.run

    def run(argv: Any, **options: Any) -> Any:
        seen.extend([*argv, *options["env"].values()])
        return real(argv, **options)

    monkeypatch.setattr(subprocess, "run", run)
    lexicon(cloud).entries(NAME)
    assert seen
    assert TOKEN not in " ".join(map(str, seen))
    assert Path(seen[2]).name == "lexicon_process.py"


def test_entries_are_compared_as_they_are() -> None:
    assert mark_of("*.example.com", "o") == Entry("_lumos-any.example.com", "TXT", "lumos-owner=o")
