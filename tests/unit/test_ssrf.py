"""Spellings and tricks that try to make Lumos talk to its own network: nothing arrives where real sockets listen."""

import contextlib
import ipaddress
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lumos.addresses import is_public
from lumos.errors import AppError
from lumos.net import FetchError, Reach, fetch, post
from tests.unit.notifications.receiver import receiver
from tests.unit.test_net import says, server

# What is spelled here is an address of this machine or of a network nearby; {p} is a port where something listens.
LOOPBACK_V4 = [
    "127.0.0.1", "127.1", "127.0.1", "127.0.0.001", "0177.0.0.1", "0177.1", "00000000177.0.0.1", "0x7f.0.0.1", "0x7f.1",
    "0x7F000001", "0x7f000001", "2130706433", "017700000001", "127.0.0x0.1", "0177.0x0.0.1", "127.0.256", "0x7f.256",
    "127.0.0.2", "127.255.255.254", "0x7f.0xff.0xff.0xfe", "2147483646", "0", "0.0.0.0", "0x0", "00", "0.0",
    "１２７.0.0.1", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "①②⑦.⓪.⓪.①", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "1２7.0.0.1", "²130706433", "０x7f.1",
]  # fmt: skip
LOOPBACK_V6 = [
    "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[0::1]", "[::0:1]", "[::0.0.0.1]", "[::]",
    "[0::0]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::FFFF:7F00:0001]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:0.0.0.0]",
]  # fmt: skip
NEARBY = [
    "10.0.0.1", "10.1", "012.0.0.1", "0x0a000001", "167772161", "172.16.0.1", "172.31.255.255", "0xac100001", "192.168.0.1",
    "192.168.1", "0300.0250.0.1", "3232235521", "100.64.0.1", "100.127.255.255", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "192.0.2.1", "192.0.0.8", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "0377.0377.0377.0377",
    "192.88.99.1", "1.0.0.127.in-addr.arpa",
]  # fmt: skip
METADATA = [
    "169.254.169.254", "169.254.43518", "169.16689662", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE",
    "0251.0376.0251.0376", "025177524776", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "169。254。169。254",
    "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "[fd00:ec2::254]", "[fd20:ce::254]",
    "metadata.google.internal", "metadata", "instance-data",
]  # fmt: skip
EMBEDDED = [
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
    "[2002:7f00:0001::1]", "[2002:a00:1::]", "[2002:a9fe:a9fe::1]", "[2001:0:7f00:1::]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]",
    "[::127.0.0.1]", "[::7f00:1]", "[::ffff:0:127.0.0.1]", "[2001:4860::5efe:127.0.0.1]", "[2001:4860::200:5efe:10.0.0.1]",
]  # fmt: skip
RANGES_V6 = [
    "[fe80::1]", "[febf::1]", "[fec0::1]", "[fc00::1]", "[fdff::1]", "[ff02::1]", "[ff0e::1]", "[100::1]", "[2001:db8::1]",
    "[3fff::1]", "[5f00::1]", "[2001:2::1]", "[2001:20::1]", "[4000::1]", "[fe80::1%25lo]", "[fe80::1%lo]", "[::1%25lo]", "[::1%1]",
]  # fmt: skip
NAMES = [
    "localhost", "LOCALHOST", "localhost.", "ｌocalhost", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "localhost.localdomain", "a.localhost", "ip6-localhost",
    "inside.example", "inside.example.", "both.example", "both6.example", "mapped.example", "zone.example", "many.example",
]  # fmt: skip
URLS = [
    "http://hooks.example@127.0.0.1:{p}/", "http://127.0.0.1:{p}@hooks.example/", "http://hooks.example:80@127.0.0.1:{p}/",
    "http://hooks.example\\@127.0.0.1:{p}/", "http://127.0.0.1:{p}\\@hooks.example/", "http://127.0.0.1%2f:{p}/",
    "http://hooks.example%00.127.0.0.1:{p}/", "http://127.0.0.1%09:{p}/", "http://127.0.0.1\t:{p}/", "http://127.0.0.1 :{p}/",
    "http://127.0.0.1\n:{p}/", "http:127.0.0.1:{p}/", "http:///127.0.0.1:{p}/", "http:/127.0.0.1:{p}/", "//127.0.0.1:{p}/",
    "127.0.0.1:{p}", "http://[127.0.0.1]:{p}/", "http://[::1]@hooks.example:{p}/", "http://127.0.0.1:{p}#@hooks.example/",
    "http://127.0.0.1:{p}?@hooks.example/", "http://127.0.0.1.:{p}/", "http://.127.0.0.1:{p}/", "http://%31%32%37.0.0.1:{p}/",
    "http://[::ffff:127.0.0.1%25lo]:{p}/", "file:///etc/passwd", "gopher://127.0.0.1:{p}/_GET", "dict://127.0.0.1:{p}/",
    "ftp://127.0.0.1:{p}/", "unix:///run/redis.sock", "http+unix://%2frun%2fredis.sock/", "jar:http://127.0.0.1:{p}!/",
    "http://hooks.example&@127.0.0.1:{p}/", "http://127.0.0.1;hooks.example:{p}/", "http://0/:{p}", "http://{p}/",
    "http://hooks.example:{p}@[::1]:{p}/", "http://[::1]:{p}/\r\nHost: hooks.example", "http://127.0.0.1:{p}/ HTTP/1.1",
]  # fmt: skip
HOSTS = [*LOOPBACK_V4, *LOOPBACK_V6, *NEARBY, *METADATA, *EMBEDDED, *RANGES_V6, *NAMES]
TABLE = [*(f"http://{host}:{{p}}/" for host in HOSTS), *URLS]

ZONE: dict[str, list[str]] = {
    "localhost": ["127.0.0.1", "::1"], "localhost.localdomain": ["127.0.0.1"], "a.localhost": ["127.0.0.1"],
    "ip6-localhost": ["::1"], "inside.example": ["10.0.0.5"], "both.example": ["192.0.2.77", "127.0.0.1"],
    "both6.example": ["2606:4700::1111", "::1"], "mapped.example": ["::ffff:127.0.0.1"], "zone.example": ["fe80::1%lo"],
    "many.example": [*(f"1.1.1.{n}" for n in range(1, 9)), "127.0.0.1"], "metadata": ["169.254.169.254"],
    "metadata.google.internal": ["169.254.169.254"], "instance-data": ["169.254.169.254"], "hooks.example": ["127.0.0.77"],
    "1.0.0.127.in-addr.arpa": ["127.0.0.1"],
}  # fmt: skip


def resolve(name: str, port: int) -> list[str]:
    """Resolve as the system does what is an address in any spelling, and names by the zone."""
    if found := ZONE.get(name.rstrip(".").lower()):
        return found
    rows = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [str(row[4][0]) for row in rows]


@contextlib.contextmanager
def listeners() -> Iterator[tuple[int, Callable[[], list[Any]]]]:
    """Listen on every address of this machine; yields the port, and what asks who has connected."""
    with socket.socket(socket.AF_INET6) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        both.listen(500)
        both.setblocking(False)

        def connected() -> list[Any]:
            peers = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    taken, peer = both.accept()
                    taken.close()
                    peers.append(peer)
            return peers

        yield both.getsockname()[1], connected


def test_table_is_large_and_without_doubles() -> None:
    assert len(TABLE) == len(set(TABLE)) >= 180


def test_none_of_them_connects() -> None:
    with listeners() as (port, connected):
        got_through = []
        for text in TABLE:
            url = text.replace("{p}", str(port))
            for call in (lambda u, r: post(u, body=b"x", headers={}, reach=r), lambda u, r: fetch(u, reach=r)):
                try:
                    call(url, Reach(ports=None, resolve=resolve, seconds=5))
                    got_through.append(url)
                except AppError:
                    pass
        assert got_through == []
        assert connected() == []


def test_without_the_guard_they_would_connect() -> None:
    """The table has teeth: the same spellings reach the listener when every address is allowed."""
    with listeners() as (port, connected):
        for host in [*LOOPBACK_V4, *LOOPBACK_V6]:
            address = host.strip("[]") if host.startswith("[") else host.encode("idna").decode()
            with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=2):
                pass
        assert len(connected()) >= 40


class Hop:
    """A server at an address that passes for public; answers every request with one redirect, set anew each time."""

    def __init__(self) -> None:
        self.location = ""
        self.status = 302

    def __call__(self, handler: Any) -> None:
        """Answer."""
        says(b"", self.status, Location=self.location)(handler)


def as_public(ip: Any) -> bool:
    """Take one address of this machine for a public one."""
    return str(ip) == "127.0.0.77" or is_public(ip)


def test_redirects_lead_nowhere_near() -> None:
    hop = Hop()
    with listeners() as (port, connected), server(hop, "127.0.0.77") as hop_port:
        reach = Reach(admits=as_public, ports=None, resolve=resolve, seconds=5)
        start = f"http://hooks.example:{hop_port}/"
        for number, text in enumerate(TABLE):
            hop.status = (301, 302, 303, 307, 308)[number % 5]
            hop.location = text.replace("{p}", str(port)).encode().decode("latin-1")
            if hop.location.isprintable():
                with pytest.raises(AppError):
                    fetch(start, reach=reach)
            with receiver("127.0.0.77") as hook:
                hook.manner = hop
                answered = post(f"http://hooks.example:{hook.port}/", body=b"x", headers={}, reach=reach)
            assert answered.status == hop.status
        assert connected() == []


class RebindingNameServer:
    """A name server of the test's own: the first answer is harmless, every later one is this machine."""

    def __init__(self, first: list[str], later: list[str]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = self._socket.getsockname()
        self.asked = 0
        self._answers = first, later
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = self._socket.recvfrom(512)
                addresses = self._answers[min(self.asked, 1)]
                self.asked += 1
                records = [b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(one) for one in addresses]
                head = data[:2] + struct.pack("!5H", 0x8180, 1, len(records), 0, 0)
                self._socket.sendto(head + data[12:] + b"".join(records), peer)

    def resolve(self, name: str, port: int) -> list[str]:
        """Ask it as a resolver without a cache does."""
        labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
            query.settimeout(30)
            query.sendto(struct.pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1", self.address)
            answer = query.recv(512)
        count = struct.unpack_from("!H", answer, 6)[0]
        return [socket.inet_ntoa(answer[len(answer) - 16 * n :][12:16]) for n in range(count, 0, -1)]

    def close(self) -> None:
        """End it."""
        self._socket.close()


def test_name_server_that_changes_its_mind() -> None:
    names = RebindingNameServer(["127.0.0.77"], ["127.0.0.1"])
    with listeners() as (_, connected), contextlib.closing(names), receiver("127.0.0.77") as hook:
        reach = Reach(admits=as_public, ports=None, resolve=names.resolve)
        assert post(f"http://rebound.example:{hook.port}/", body=b"x", headers={}, reach=reach).status == 204
        assert names.asked == 1
        with pytest.raises(FetchError, match=r"127\.0\.0\.1"):
            post(f"http://rebound.example:{hook.port}/", body=b"x", headers={}, reach=reach)
        assert (len(hook.requests), connected()) == (1, [])


def test_name_server_that_mixes_addresses() -> None:
    names = RebindingNameServer(["127.0.0.77", "127.0.0.1"], ["127.0.0.77"])
    with contextlib.closing(names), receiver("127.0.0.77") as hook:
        reach = Reach(admits=as_public, ports=None, resolve=names.resolve)
        with pytest.raises(FetchError):
            post(f"http://rebound.example:{hook.port}/", body=b"x", headers={}, reach=reach)
        assert hook.requests == []


def test_ports_are_few() -> None:
    for port in (22, 25, 53, 5432, 6379, 8000, 0, 65535):
        with pytest.raises(AppError):
            post(f"http://hooks.example:{port}/", body=b"", headers={}, reach=Reach(resolve=resolve))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "93.184.216.34", "100.63.255.255", "100.128.0.1", "172.15.255.255", "172.32.0.1",
    "192.167.255.255", "192.169.0.1", "169.253.255.255", "169.255.0.1", "198.17.255.255", "198.20.0.1", "223.255.255.255",
    "2606:4700::1111", "2001:4860:4860::8888", "2a00:1450::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"],
)  # fmt: skip
def test_honest_addresses_stay_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_honest_targets_are_reached_by_name_and_host_header() -> None:
    with receiver("127.0.0.77") as hook:
        reach = Reach(admits=as_public, ports=None, resolve=resolve)
        for url in (f"http://hooks.example:{hook.port}/in?a=b", f"http://HOOKS.example.:{hook.port}/in"):
            assert post(url, body=b"x", headers={"X": "y"}, reach=reach).status == 204
    assert hook.requests[0].headers["host"] == f"hooks.example:{hook.port}"
    assert hook.requests[0].body == b"x"


def test_address_that_does_not_answer_is_followed_by_the_next() -> None:
    with receiver("127.0.0.77") as hook:
        reach = Reach(admits=lambda ip: ip.is_loopback, ports=None, resolve=lambda *_: ["127.0.0.78", "127.0.0.77"])
        assert post(f"http://hooks.example:{hook.port}/", body=b"x", headers={}, reach=reach).status == 204


def test_slow_name_server_costs_no_more_than_the_time() -> None:
    done = threading.Event()

    def silent(name: str, port: int) -> list[str]:
        done.wait(60)
        return []

    reach = Reach(resolve=silent, seconds=0.3)
    with pytest.raises(FetchError, match="name servers"):
        post("http://hooks.example/", body=b"", headers={}, reach=reach)
    done.set()


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a key and certificate of hooks.example that this process trusts."""
    pem, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
         "/CN=hooks.example", "-addext", "subjectAltName=DNS:hooks.example", "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_text(pem.read_text() + key.read_text())
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return pem


def test_tls_receiver_that_trickles_is_hung_up_on(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    stop = threading.Event()
    with socket.create_server(("127.0.0.77", 0)) as listening:

        def trickle() -> None:
            raw, _ = listening.accept()
            with contextlib.suppress(OSError), context.wrap_socket(raw, server_side=True) as tls:
                tls.recv(4096)
                tls.sendall(b"HTTP/1.1 200 OK\r\n")
                while not stop.is_set():
                    tls.sendall(b"X: y\r\n")
                    time.sleep(0.05)

        thread = threading.Thread(target=trickle, daemon=True)
        thread.start()
        reach = Reach(admits=as_public, ports=None, resolve=resolve, seconds=1)
        with pytest.raises(FetchError):
            post(f"https://hooks.example:{listening.getsockname()[1]}/", body=b"x", headers={}, reach=reach)
        thread.join(30)
        assert not thread.is_alive()
        stop.set()


def test_name_in_the_certificate_must_be_the_urls(certificate: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    with receiver("127.0.0.77", context) as hook:
        reach = Reach(admits=as_public, ports=None, resolve=lambda *_: ["127.0.0.77"])
        assert post(f"https://hooks.example:{hook.port}/", body=b"x", headers={}, reach=reach).status == 204
        with pytest.raises(FetchError, match="certificate"):
            post(f"https://other.example:{hook.port}/", body=b"x", headers={}, reach=reach)
    assert len(hook.requests) == 1
