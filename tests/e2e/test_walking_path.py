"""The whole product on real processes: what the demo promises, and what happens when a part is killed."""

import asyncio
import collections
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from bench.common import Api
from bench.load import Load
from deploy.stack import EMAIL, HOSTNAME, ROOT, Stack, marked
from lumos_agent import __version__, protocol
from lumos_agent.config import State
from lumos_agent.counters import parse_info
from lumos_agent.drivers import cli
from lumos_agent.schema import Snapshot
from lumos_agent.sealing import SealingKey
from lumos_agent.store import Store
from tests.agent.test_edge_setup import root as root
from tests.agent.test_uploads import certificate
from tests.agent.wheels import wheel
from tests.e2e.rooted import Machine

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.xdist_group("stack"),
    pytest.mark.timeout(300),
    # Connections to processes that are being killed end as they may.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
ATTACK = "/?id=1%27%20UNION%20SELECT%20password%20FROM%20users--"
BACK_SECONDS = 30.0
CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@contextmanager
def started(profile: str, kind: type[Stack] = Stack) -> Iterator[Stack]:
    folder = Path(tempfile.mkdtemp(prefix="le-"))
    folder.chmod(0o755)
    made = kind(folder, profile=profile)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WHEEL_DIR", str(folder))
            made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with started("postgres") as made:
        yield made


@pytest.fixture
def api(stack: Stack) -> Api:
    return Api(stack)


def until(condition: Callable[[], Any], seconds: float = BACK_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
    return value


def shield(stack: Stack, path: str, hostname: str = HOSTNAME) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", stack.ports["http"], timeout=20)
    connection.request("GET", path, headers={"Host": hostname, "Connection": "close"})
    answer = connection.getresponse()
    text = answer.read().decode(errors="replace")
    connection.close()
    return answer.status, text


def requests_counted(api: Api) -> int:
    return sum(row["requests"] for row in api.call("GET", "/metrics?page_size=500")["results"])


def test_origin_answers_and_the_attack_becomes_an_event(stack: Stack, api: Api) -> None:
    status, text = shield(stack, "/")
    assert (status, "Hello from the origin" in text) == (200, True)
    assert shield(stack, ATTACK)[0] == 403
    events = until(lambda: api.call("GET", f"/events?host={HOSTNAME}")["results"], 10)
    assert events[0]["rules"] == ["sqli-union"]


def sign_in(page: Page, stack: Stack) -> None:
    page.goto(stack.web)
    page.fill("[name=login]", EMAIL)
    page.fill("[name=password]", stack.secrets["password"])
    page.click("button[type=submit]")
    page.wait_for_selector("text=Servers online")


def test_deny_list_closes_and_opens_within_a_second(stack: Stack, api: Api) -> None:
    entry = {"domain": stack.secrets["domain"], "kind": "deny", "network": "127.0.0.1", "confirm_self_lockout": True}
    made = api.call("POST", "/ip-lists", entry)
    until(lambda: shield(stack, "/")[0] == 403, 1.0)
    api.call("DELETE", f"/ip-lists/{made['id']}")
    until(lambda: shield(stack, "/")[0] == 200, 1.0)


def test_dead_origin_is_our_page_and_disturbs_nobody(stack: Stack, api: Api) -> None:
    server = stack.secrets["server"]
    origin = {"address": "127.0.0.1", "port": 9}
    made = api.call("POST", "/domains", {"hostname": "dead.example", "servers": [server], "origins": [origin]})
    api.await_applied(server)
    status, text = shield(stack, "/", "dead.example")
    assert (status, "Site unavailable" in text) == (503, True)
    assert shield(stack, "/")[0] == 200
    api.call("DELETE", f"/domains/{made['id']}")
    api.await_applied(server)
    assert shield(stack, "/", "dead.example")[0] == 421


def test_refused_configuration_is_shown_and_the_next_good_change_heals(stack: Stack, api: Api) -> None:
    server = stack.secrets["server"]
    origin = {"address": "127.0.0.1", "port": stack.ports["origin"]}
    stack.control("stop", "agent")
    argv = [sys.executable, "-m", "tests.e2e.faulty_agent", "--state-dir", str(stack.agent_state), "run"]
    with (stack.logs / "faulty.log").open("wb") as log:
        faulty = subprocess.Popen(argv, cwd=ROOT, stderr=log)
    try:
        made = api.call("POST", "/domains", {"hostname": "bad-one.example", "servers": [server], "origins": [origin]})
        row = until(lambda: (r := api.call("GET", f"/servers/{server}"))["apply_state"] == "failed" and r)
        assert "unknown keyword 'no-such-keyword'" in row["apply_report"]["message"]
        assert row["apply_report"]["rolled_back"]
        assert shield(stack, "/")[0] == 200
        api.call("PATCH", f"/domains/{made['id']}", {"hostname": "good-one.example"})
        api.await_applied(server)
        assert shield(stack, "/", "good-one.example")[0] == 200
        api.call("DELETE", f"/domains/{made['id']}")
        api.await_applied(server)
    finally:
        faulty.terminate()
        faulty.wait(20)
        stack.control("start", "agent")


def test_certificate_is_sealed_in_the_browser(stack: Stack, api: Api) -> None:
    path, (chain, key) = f"/domains/{stack.secrets['domain']}", certificate(HOSTNAME)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
            page, sent = browser.new_page(), []
            page.on("request", lambda request: sent.append(request.post_data or ""))
            page.goto(f"{stack.web}{path}/certificate")
            page.fill("[name=login]", EMAIL)
            page.fill("[name=password]", stack.secrets["password"])
            page.click("button[type=submit]")
            page.fill("[name=chain]", chain)
            page.click("button:text-is('Seal and upload')")
            page.wait_for_selector("text=Paste the private key")
            page.fill("#private-key", key.decode())
            page.click("button:text-is('Seal and upload')")
            page.wait_for_selector("text=The shields were sent the certificate")
            browser.close()
        assert not any("PRIVATE" in text for text in sent)
        until(lambda: [row["status"] for row in api.call("GET", path)["certificates"]] == ["active"], 15)
        assert served_certificate(stack.ports["https"]) == ssl.PEM_cert_to_DER_cert(chain)
    finally:
        api.call("PATCH", path, {"certificate": "off"})


def test_key_of_an_account_at_a_ca_is_sealed_in_the_browser(stack: Stack, api: Api) -> None:
    mac_key = "c2VjcmV0LW1hYy1rZXk"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
            page, sent = browser.new_page(), []
            page.on("request", lambda request: sent.append(request.post_data or ""))
            page.goto(f"{stack.web}/certificate-authority")
            page.fill("[name=login]", EMAIL)
            page.fill("[name=password]", stack.secrets["password"])
            page.click("button[type=submit]")
            page.select_option("[name=choice]", "zerossl")
            page.click("button:text-is('Save')")
            page.wait_for_selector("text=ZeroSSL needs an account of yours")
            page.fill("[name=external_key_id]", "kid-1")
            page.fill("#private-key", mac_key)
            page.click("button:text-is('Save')")
            page.wait_for_selector("text=Your shields order their next certificates from there")
            browser.close()
        assert not any(mac_key in text for text in sent)
        state = State(stack.agent_state)

        def arrived() -> str:
            encoded = Store(state.snapshot_file, state.token()).load()
            acme = encoded and Snapshot.decode(encoded.snapshot).acme
            return acme.external_account.sealed_key if acme and acme.external_account else ""

        sealed = until(arrived, 15)
        opened = SealingKey(state.sealing_key).open(stack.secrets["server"], sealed)
        assert opened.decode().strip() == mac_key
    finally:
        api.call("PUT", "/certificate-authority", {"directory_url": ""})


def served_certificate(port: int) -> bytes:
    """Return what a visitor of the demo's site is shown (DER)."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    plain = socket.create_connection(("127.0.0.1", port), 5)
    with context.wrap_socket(plain, server_hostname=HOSTNAME) as secured:
        return secured.getpeercert(binary_form=True) or b""


def write_a_script(page: Page, stack: Stack) -> None:
    """A mistake is shown at its line and nothing is lost; a trial says what would happen; what is saved is served."""
    page.goto(f"{stack.web}/domains/{stack.secrets['domain']}/waf/script")
    page.select_option("[name=mode]", "on")
    page.fill("[name=source]", "local path = ngx.var.uri\nif path == '/teapot' thn ngx.exit(418) end")
    page.click("button:text-is('Save')")
    page.wait_for_selector(".invalid-feedback:has-text('line 2')")
    assert page.input_value("[name=mode]") == "on"
    page.fill("[name=source]", page.input_value("[name=source]").replace("thn", "then"))
    page.fill("[name=request]", f"GET /teapot HTTP/1.1\nHost: {HOSTNAME}\n\n")
    page.click("button:text-is('Try')")
    page.wait_for_selector("[role=status] .badge:text-is('answers 418')")
    assert shield(stack, "/teapot")[0] == 200
    page.click("button:text-is('Save')")
    page.wait_for_selector("[role=status]", state="detached")
    until(lambda: shield(stack, "/teapot")[0] == 418)
    page.select_option("[name=mode]", "off")
    page.click("button:text-is('Save')")
    until(lambda: shield(stack, "/teapot")[0] == 200)


def test_pages_in_a_real_browser(stack: Stack, api: Api) -> None:
    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        page = browser.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        sign_in(page, stack)
        for path in (
            "/servers",
            f"/servers/{stack.secrets['server']}",
            "/domains",
            "/domains/add",
            f"/domains/{stack.secrets['domain']}/edit",
            f"/domains/{stack.secrets['domain']}/traffic",
            "/lists",
            "/events",
            "/api-keys",
        ):
            page.goto(stack.web + path)
            page.wait_for_selector("h1")
        page.goto(f"{stack.web}/api/v1/docs")
        page.wait_for_selector("text=Lumos API")
        page.goto(f"{stack.web}/domains/{stack.secrets['domain']}/lists")
        page.fill("[name=network]", "127.0.0.1")
        page.click("button:text-is('Add')")
        page.check("[name=confirm_self_lockout][type=checkbox]")
        page.click("button:text-is('Add')")
        page.goto(f"{stack.web}/domains/{stack.secrets['domain']}/waf")
        until(lambda: shield(stack, "/from-the-browser-test")[0] == 403, 2.0)
        page.wait_for_selector("text=/from-the-browser-test", timeout=10_000)  # live, without a reload by hand
        page.goto(f"{stack.web}/domains/{stack.secrets['domain']}/lists")
        page.click("button:text-is('Remove')")
        until(lambda: shield(stack, "/")[0] == 200, 2.0)
        write_a_script(page, stack)
        browser.close()
    assert problems == []


def test_health_of_an_origin_reaches_the_api(stack: Stack, api: Api) -> None:
    path = f"/domains/{stack.secrets['domain']}"

    def state() -> str:
        health: list[dict[str, str]] = api.call("GET", path)["origins"][0]["health"]
        return health[0]["state"] if health else ""

    until(lambda: state() == "unchecked")
    for check, expected in (({"status": "500", "interval_seconds": 1}, "down"), (None, "unchecked")):
        api.call("PATCH", path, {"traffic": {"health": check}})
        until(lambda: state() == expected)  # noqa: B023 - used at once
    assert shield(stack, "/")[0] == 200


@contextmanager
def killed(stack: Stack, name: str) -> Iterator[None]:
    pid = worker_pid(stack) if name == "haproxy-worker" else stack.pid(name)
    os.kill(pid, signal.SIGKILL)
    yield
    if name != "haproxy-worker":
        until(lambda: stack.pid(name) not in (0, pid))


def worker_pid(stack: Stack) -> int:
    path = stack.agent_state / "run" / "w.sock"
    return int(parse_info(asyncio.run(cli.ask(path, ["show info"])))["Pid"])


async def loaded(stack: Stack, action: Callable[[], None]) -> Load:
    async with Load(stack.ports["http"], HOSTNAME, keep_alive=3, new=2) as load:
        await asyncio.sleep(1)
        await asyncio.to_thread(action)
        await asyncio.sleep(1)
    return load


@pytest.mark.parametrize("name", ["web", "gateway", "worker", "redis", "agent", "haproxy-worker"])
def test_killed_part_comes_back_and_visitors_notice_nothing(stack: Stack, name: str) -> None:
    server = stack.secrets["server"]
    before = settled(stack)

    def action() -> None:
        with killed(stack, name):
            pass

    load = asyncio.run(loaded(stack, action))
    in_flight = 5 if name == "haproxy-worker" else 0
    assert load.failed <= in_flight, load.failures

    def is_back() -> bool:
        try:
            return bool(Api(stack).call("GET", f"/servers/{server}")["status"] == "online")
        except (OSError, RuntimeError, http.client.HTTPException):
            return False

    until(is_back)
    obeys(stack)
    wanted = before + sum(load.statuses.values())
    assert abs(settled(stack) - wanted) <= in_flight


def obeys(stack: Stack) -> None:
    """Wait until a change that is made now has been applied: everything on the way is back."""
    api = Api(stack)
    entry = {"domain": stack.secrets["domain"], "kind": "deny", "network": "192.0.2.77"}
    made = api.call("POST", "/ip-lists", entry)
    path = f"/servers/{stack.secrets['server']}"
    wanted = api.call("GET", path)["revision"]
    until(lambda: bool(api.call("GET", path)["applied_revision"] >= wanted))
    api.call("DELETE", f"/ip-lists/{made['id']}")


def settled(stack: Stack) -> int:
    """Return the requests counted once two looks 7.5 seconds apart agree: traffic is delivered every five or six."""
    api, seen = Api(stack), -1
    while (now := requests_counted(api)) != seen:
        seen = now
        time.sleep(7.5)
    return now


@pytest.mark.skipif(os.geteuid() != 0, reason="edge-setup needs root")
def test_an_agent_is_upgraded_and_its_machine_given_back(stack: Stack, api: Api, root: Path) -> None:
    """The dashboard asks, the agent leaves the errand, root does it and says so; systemd's part is played here."""
    wheel(stack.folder, __version__)
    made = api.call("POST", "/servers", {"name": "asked"})
    path = f"/servers/{made['server']['id']}"

    def online() -> str:
        row = api.call("GET", path)
        return str(row["facts"]["agent_version"] if row["status"] == "online" else "")

    machine = Machine(root, "0.0.9")
    machine.enroll(stack, made["token"])
    with machine.running():
        until(lambda: online() == "0.0.9")
        assert api.call("POST", "/agent-upgrade")["version"] == __version__
        until(machine.state.errand_file.exists)
    assert f"install lumos-agent {__version__}" in machine.command("errand", "--root", root)
    with machine.running():
        until(lambda: online() == __version__)
        assert [(row["name"], row["error"]) for row in api.call("GET", "/agent-upgrade")["latest"]["servers"]] == [
            ("asked", "")
        ]
        assert api.call("POST", f"{path}/decommission", {})["status"] == "decommissioning"
        until(machine.state.errand_file.exists)
    assert "take back" in machine.command("errand", "--root", root)
    assert marked(str(root)) == []
    assert "asked" not in [row["name"] for row in api.call("GET", "/servers")["results"]]
    assert not machine.state.root.exists()
    assert not (root / "etc/systemd/system/lumos-agent.service").exists()


def test_rotated_token_ends_the_open_connection(stack: Stack, api: Api) -> None:
    made = api.call("POST", "/servers", {"name": "rotated"})
    facts = protocol.Facts(agent_version=__version__, clock=time.time())
    hello = protocol.Hello(protocol=1, boot_id=str(uuid.uuid4()), epoch="", revision=0, digest="", facts=facts)

    def connected() -> ClientConnection:
        headers = {"Authorization": f"Bearer {made['token']}"}
        return connect(stack.gateway, additional_headers=headers, proxy=None)

    def ends(agent: ClientConnection) -> int:
        """Read on until the gateway lets go; returns its code."""
        with pytest.raises(ConnectionClosed) as closed:
            collections.deque(iter(lambda: agent.recv(20), None), maxlen=0)
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code

    with connected() as agent:
        agent.send(protocol.encode(hello).decode())
        assert isinstance(protocol.gateway_decoder.decode(agent.recv(20)), protocol.Welcome)
        api.call("POST", f"/servers/{made['server']['id']}/rotate-token")
        assert ends(agent) == protocol.CLOSE_RECONNECT
    with connected() as again:
        assert ends(again) == protocol.CLOSE_UNAUTHORISED
    api.call("DELETE", f"/servers/{made['server']['id']}")


def test_second_sign_up_sees_nothing_of_the_first(stack: Stack) -> None:
    program = """
import json
from accounts.api_keys import create_api_key
from accounts.models import User
from accounts.services import create_account
from accounts.tenancy import tenant_scope
from billing.models import Plan, Wallet
user = User.objects.filter(email="mallory@example.com").first() or User.objects.create_user("mallory@example.com", "x" * 20)
account = create_account(owner=user, name="Mallory")
Wallet.unscoped.bulk_create([Wallet(account=account, plan=Plan.objects.filter(has_api_keys=True)[0])])
with tenant_scope(account.pk):
    print(json.dumps(create_api_key(name="m", scope="admin", actor=user)[1]))
"""
    key = json.loads(stack.manage("shell", "-v", "0", "-c", program).strip().splitlines()[-1])
    spy = Api(stack)
    spy._headers["Authorization"] = f"Bearer {key}"
    for path in ("servers", "domains", "policies", "ip-lists", "events", "metrics"):
        assert spy.call("GET", f"/{path}")["results"] == []
    for path in (f"/servers/{stack.secrets['server']}", f"/domains/{stack.secrets['domain']}"):
        with pytest.raises(RuntimeError, match=" 404 "):
            spy.call("GET", path)
