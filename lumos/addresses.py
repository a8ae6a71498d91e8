"""Classes of addresses, in every spelling that IPv6 has for IPv4."""

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
_THIS_NETWORK = ipaddress.ip_network("0.0.0.0/8")
_RESERVED_V4 = ipaddress.ip_network("240.0.0.0/4")
# What the IANA's registries of special addresses, as Python knows them, leave out: site-local addresses (RFC 3879),
# documentation (RFC 9637), relays of 6to4 (RFC 7526), IETF protocol assignments with Oracle's metadata service, and
# Azure's metadata service.
_NOT_PUBLIC = tuple(
    map(ipaddress.ip_network, ("fec0::/10", "3fff::/20", "192.88.99.0/24", "192.0.0.0/24", "168.63.129.16/32"))
)
# The IANA's registries of special addresses, and what it has not given out: no network of a site on the Internet.
_SPECIAL_V4 = tuple(
    map(
        ipaddress.IPv4Network,
        ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
         "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
         "224.0.0.0/3", "168.63.129.16/32"),
    )
)  # fmt: skip
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# Interface identifiers of ISATAP (RFC 5214, section 6.1): the IPv4 address follows.
_ISATAP = {0x00005EFE, 0x02005EFE}


def embedded_ipv4(ip: Ip) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address inside an IPv6 one: mapped (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return None
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip in _NAT64 or (ip in _IPV4_COMPATIBLE and int(ip) > 1):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.sixtofour


def unusable_as_origin(ip: Ip) -> str | None:
    """Return why nobody can serve on `ip`, or None. Private, loopback and unique local addresses are usable."""
    inner = embedded_ipv4(ip)
    if inner is not None and (reason := unusable_as_origin(inner)):
        return reason
    if ip.is_unspecified or ip in _THIS_NETWORK:
        return "it means “any address”, not a host"
    if ip.is_link_local:
        return "link-local addresses (169.254.0.0/16, fe80::/10) are not routed"
    if ip.is_multicast:
        return "it is a multicast address"
    if ip in _RESERVED_V4:
        return "it is a broadcast or reserved address"
    return None


def is_public(ip: Ip) -> bool:
    """Whether an address is one of the Internet's, whatever it embeds."""
    if (inner := embedded_ipv4(ip)) is not None:
        return is_public(inner)
    if ip.version == 6 and int(ip) >> 32 & 0xFFFFFFFF in _ISATAP:
        return False
    if any(ip in network for network in _NOT_PUBLIC if network.version == ip.version):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def is_public_network(network: IpNetwork) -> bool:
    """Whether all addresses of a network may be somebody's on the Internet."""
    if isinstance(network, ipaddress.IPv4Network):
        return not any(network.overlaps(special) for special in _SPECIAL_V4)
    return network.subnet_of(_GLOBAL_V6) and not any(network.overlaps(special) for special in _SPECIAL_V6)


class NetworkSet:
    """Networks, found by one search among sorted ranges however many there are."""

    def __init__(self, networks: Iterable[str]) -> None:
        parsed = [ipaddress.ip_network(text) for text in networks]
        four = ipaddress.collapse_addresses(one for one in parsed if isinstance(one, ipaddress.IPv4Network))
        six = ipaddress.collapse_addresses(one for one in parsed if isinstance(one, ipaddress.IPv6Network))
        self._ranges = {
            4: [(int(one[0]), int(one[-1])) for one in four],
            6: [(int(one[0]), int(one[-1])) for one in six],
        }

    def __contains__(self, ip: Ip) -> bool:
        ranges = self._ranges[ip.version]
        place = bisect_right(ranges, int(ip), key=lambda one: one[0])
        return place > 0 and int(ip) <= ranges[place - 1][1]
