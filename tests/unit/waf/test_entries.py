"""What may stand on a list, and lists as text."""

import ipaddress
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumos.errors import InvalidInput
from waf.entries import canonical_entry, networks_around, parsed_list


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7", "203.0.113.7/32"),
        ("203.0.113.7/24", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.7/32"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("as 64500", "AS64500"),
        ("AS0064500", "AS64500"),
        ("country:de", "country:DE"),
        ("Country: FR", "country:FR"),
        ("agent:Python-Requests/2", "agent:python-requests/2"),
        ("agent: Mozilla/4.0 (compatible;", "agent:mozilla/4.0 (compatible;"),
        ("ae::", "ae::/128"),
    ],
)
def test_canonical_form(text: str, expected: str) -> None:
    assert canonical_entry(text) == expected
    assert canonical_entry(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "0.0.0.0/0", "::/0", "::ffff:0:0/96", "1.2.3.4/33", "01.2.3.4", "1.2.3", "fe80::1%eth0", "AS0", "AS4294967296",
        "country:XX", "country:", "country:DEU", "agent:", "agent:a\nb", 'agent:a"b', "agent:ä", f"agent:{'a' * 65}",
        "2130706433", "0x7f000001", "name.example", "1.2.3.4 5",
    ],
)  # fmt: skip
def test_what_is_no_entry_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        canonical_entry(text)
    assert len(caught.value.detail) > 20


def test_list_as_people_write_it() -> None:
    text = """# bad clients
192.0.2.1
192.0.2.1/32  # again
 198.51.100.0/24 ; SBL1\r
192.0.2.10-192.0.2.13

2001:db8::-2001:db8::ff
nonsense
192.0.2.9-192.0.2.1
agent:sqlmap
country:KP
1.0.0.1-250.0.0.255
"""
    parsed = parsed_list(text)
    assert parsed.entries == [
        "192.0.2.1/32", "198.51.100.0/24", "192.0.2.10/31", "192.0.2.12/31", "2001:db8::/120", "agent:sqlmap", "country:KP",
        *[str(n) for n in ipaddress.summarize_address_range(ipaddress.ip_address("1.0.0.1"), ipaddress.ip_address("250.0.0.255"))],
    ]  # fmt: skip
    assert [(error.line, error.text) for error in parsed.errors] == [(8, "nonsense"), (9, "192.0.2.9-192.0.2.1")]


def test_range_of_everybody_is_refused() -> None:
    parsed = parsed_list("0.0.0.0-255.255.255.255")
    assert not parsed.entries
    assert len(parsed.errors) == 1


def test_a_hundred_thousand_lines_take_seconds() -> None:
    text = "\n".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(100_000))
    began = time.process_time()
    assert len(parsed_list(text).entries) == 100_000
    assert time.process_time() - began < 10


@given(st.ip_addresses())
def test_networks_around_an_address_contain_it(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    around = [ipaddress.ip_network(text) for text in networks_around(str(address))]
    inner = getattr(address, "ipv4_mapped", None) or address
    assert all(inner in network and network.prefixlen > 0 for network in around)
    assert len(around) == inner.max_prefixlen
