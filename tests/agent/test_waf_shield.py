"""The WAF in a real HAProxy: what enters the engine, what bodies it reads, what an event tells."""

import asyncio
import json
import subprocess

import pytest

from lumos_agent.schema import Exclusion, Policy
from tests.agent.builders import Shield, config, domain
from tests.agent.visitor import origin, request

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
HOST = "d1.example"
FORM = "Content-Type: application/x-www-form-urlencoded"
JSON = "Content-Type: application/json"
ATTACK = b"file=..%2F..%2Fetc%2Fpasswd"
POLICY = Policy(level="high")
# With headers as browsers send them the shield looks at nothing else but target and body.
BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
)


@pytest.mark.parametrize(
    ("kind", "body", "place"),
    [
        (FORM, ATTACK, "form:file"),
        (JSON, json.dumps({"file": "../../etc/passwd"}).encode(), "json:file"),
        ("Content-Type: text/plain", b"read ../../etc/passwd", "body"),
        (FORM, b"pad=" + b"x" * 120_000 + b"&" + ATTACK, "form:file"),
        ("Content-Type: image/svg+xml", b'<!DOCTYPE a [<!ENTITY b SYSTEM "/etc/passwd">]><svg/>', "document"),
    ],
)
async def test_attack_in_a_body_is_blocked_and_its_place_told(
    shield: Shield, kind: str, body: bytes, place: str
) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=POLICY)))
        assert (await request(shield.port, HOST, "/", kind, body=body)).status == 403
        event = (await shield.told())[0]
        assert (event.action, event.place) == ("block", place)
        assert "etc/passwd" in event.matched


async def test_event_tells_that_a_body_was_longer_than_what_was_read(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=POLICY)))
        status = (await request(shield.port, HOST, "/", FORM, body=ATTACK + b"&pad=" + b"x" * 500_000)).status
        assert status == 403
        assert "body-cut" in (await shield.told())[0].rules


async def test_exclusions_and_groups_change_at_run_time(shield: Shield) -> None:
    steps = [
        (Policy(exclusions=(Exclusion(rule="traversal", path="/edit", parameter="file"),)), 200),
        (Policy(exclusions=(Exclusion(path="/other"),)), 403),
        (Policy(groups={"traversal": "detect"}), 200),
        (Policy(groups={"traversal": "off"}), 200),
        (Policy(), 403),
    ]
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port)))
        for revision, (policy, status) in enumerate(steps, start=2):
            done = await shield.applier.apply(config(revision, domain(port=port, policy=policy)))
            assert done.how == "runtime"
            assert (await request(shield.port, HOST, "/edit/1", FORM, body=ATTACK)).status == status


async def test_clean_requests_pass(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=POLICY)))
        bodies = [
            (FORM, b"name=Anna+Karenina&mail=anna%40mail.example&text=it%27s+5+o%27clock+--+really"),
            (JSON, json.dumps({"text": "it's 5 o'clock -- really; time he came", "n": [1, None, True]}).encode()),
            ("Content-Type: application/octet-stream", b"\0\1../../etc/passwd" * 100),
        ]
        for kind, body in bodies:
            assert (await request(shield.port, HOST, "/", kind, body=body)).status == 200, kind


async def test_upgrade_header_hides_no_body(shield: Shield) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=POLICY)))
        upgrade = ("Connection: Upgrade", "Upgrade: websocket")
        answer = await request(shield.port, HOST, "/", FORM, *upgrade, body=ATTACK)
        assert answer.status in (400, 403)  # newer HAProxies refuse a body beside an upgrade by themselves


@pytest.mark.parametrize("agent", ["curl/8", BROWSER])
@pytest.mark.parametrize("kind", ["Content-Type:", FORM, JSON, "Content-Type: multipart/form-data; boundary=b"])
async def test_body_without_a_length_is_judged_over_http2(shield: Shield, agent: str, kind: str) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=POLICY)))
        for method, body, status in (("POST", ATTACK, "403"), ("GET", ATTACK, "403"), ("POST", b"a=1", "200")):
            curl = await asyncio.create_subprocess_exec(
                "curl", "-s", "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "--http2-prior-knowledge",
                "-m", "20", "-X", method, "-T", "-", "-A", agent, "-H", kind, "-H", f"Host: {HOST}",
                f"http://127.0.0.1:{shield.port}/", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
            assert (await curl.communicate(body))[0].decode() == f"2 {status}"


@pytest.mark.parametrize("kind", ["Accept: */*", FORM, JSON, "Content-Type: multipart/form-data; boundary=b"])
async def test_body_that_comes_late_is_judged(shield: Shield, kind: str) -> None:
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=POLICY)))
        reader, writer = await asyncio.open_connection("127.0.0.1", shield.port)
        heads = (f"Host: {HOST}", f"User-Agent: {BROWSER}", kind, f"Content-Length: {len(ATTACK)}")
        writer.write("\r\n".join(["POST / HTTP/1.1", *heads, "", ""]).encode())
        for byte in ATTACK:
            await writer.drain()
            await asyncio.sleep(0.005)
            writer.write(bytes([byte]))
        assert (await reader.readline()).startswith(b"HTTP/1.1 403")
        writer.close()


@pytest.mark.parametrize("kinds", [(FORM, JSON), (JSON, FORM), (f"{JSON}, application/x-www-form-urlencoded",)])
async def test_body_of_two_types_is_judged_as_either(shield: Shield, kinds: tuple[str, ...]) -> None:
    """What is a character of some language in JSON may be an overlong dot in a form."""
    async with origin() as port:
        await shield.applier.apply(config(1, domain(port=port, policy=POLICY)))
        body = b"\xc0\xae\xc0\xae/\xc0\xae\xc0\xae/\xc0\xae\xc0\xae/windows"
        for agent in ("curl/8", BROWSER):
            assert (await request(shield.port, HOST, "/", f"User-Agent: {agent}", *kinds, body=body)).status == 403
