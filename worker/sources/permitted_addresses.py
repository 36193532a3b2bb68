"""Which IP addresses a fetch on behalf of an untrusted user may connect to.

The tables are IANA's special-purpose address registries (RFC 6890). They are listed here because
the result of `ipaddress.is_global` has changed between patch releases of Python.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# Addresses of cloud metadata services, which return a machine's credentials. Neither
# `allow_private` nor a wide network opens them, only an entry inside one of these networks.
METADATA_NETWORKS: tuple[Network, ...] = (
    IPv4Network("100.100.100.200/32"),  # Alibaba Cloud, within RFC 6598
    IPv4Network("168.63.129.16/32"),  # Azure's WireServer, a public address
    IPv4Network("169.254.0.0/16"),  # link-local: 169.254.169.254 and others
    IPv4Network("192.0.0.192/32"),  # Oracle Cloud Classic
    IPv6Network("fd00:42::42/128"),  # Scaleway
    IPv6Network("fd00:a9fe:a9fe::1/128"),  # Akamai
    IPv6Network("fd00:c1::a9fe:a9fe/128"),  # Oracle Cloud
    IPv6Network("fd00:ec2::/32"),  # AWS: metadata, time, DNS, credentials of pods
    IPv6Network("fd20:ce::/32"),  # Google Cloud
    IPv6Network("fe80::/10"),  # link-local: fe80::a9fe:a9fe in OpenStack
)

# Networks that `allow_private` opens: a site's own machines, and this one.
PRIVATE_NETWORKS: tuple[Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # shared by a carrier's customers, RFC 6598
    IPv4Network("127.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),  # unique local, RFC 4193
)

_SPECIAL_V4 = (
    IPv4Network("0.0.0.0/8"),  # "this network"; 0.0.0.0 reaches loopback on Linux
    IPv4Network("192.0.0.0/24"),
    IPv4Network("192.0.2.0/24"),  # documentation
    IPv4Network("192.88.99.0/24"),  # 6to4 relays, RFC 7526
    IPv4Network("198.18.0.0/15"),  # benchmarks
    IPv4Network("198.51.100.0/24"),  # documentation
    IPv4Network("203.0.113.0/24"),  # documentation
    IPv4Network("224.0.0.0/4"),  # multicast
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
)

_GLOBAL_UNICAST_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = (
    IPv6Network("2001::/23"),  # protocol assignments
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("2002::/16"),  # 6to4, judged by the IPv4 address inside
    IPv6Network("3fff::/20"),  # documentation, RFC 9637
)

_NAT64 = IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_ISATAP_MARKS = (0x00005EFE, 0x02005EFE)  # the interface identifier's upper half, RFC 5214


def is_permitted(
    address: Address, allow_networks: tuple[Network, ...] = (), *, allow_private: bool = False
) -> bool:
    """Whether an address may be connected to.

    >>> from ipaddress import ip_address
    >>> is_permitted(ip_address("93.184.216.34")), is_permitted(ip_address("::ffff:127.0.0.1"))
    (True, False)

    Args:
        address: Address of a host.
        allow_networks: Networks that the operator has opened. `METADATA_NETWORKS` are open only to
            entries that are one of them or a part of one; 0.0.0.0/0 opens none.
        allow_private: Whether `PRIVATE_NETWORKS` are open as well.
    """
    if not all(_is_named(each, listed, allow_networks) for each, listed in _metadata(address)):
        return False
    opened = allow_networks + (PRIVATE_NETWORKS if allow_private else ())
    if _in_any(address, opened):
        return True
    if isinstance(address, IPv4Address):
        return not _in_any(address, PRIVATE_NETWORKS + _SPECIAL_V4)
    inside = embedded_ipv4(address)
    if inside:
        return all(
            is_permitted(each, allow_networks, allow_private=allow_private) for each in inside
        )
    return address in _GLOBAL_UNICAST_V6 and not _in_any(address, _SPECIAL_V6)


def embedded_ipv4(address: IPv6Address) -> tuple[IPv4Address, ...]:
    """The IPv4 addresses that are embedded in an IPv6 address.

    Mapped and compatible (RFC 4291), translated (RFC 2765), 6to4 (RFC 3056), Teredo (RFC 4380:
    server and client), NAT64 (RFC 6052), ISATAP (RFC 5214). Not 64:ff9b:1::/48 (RFC 8215), where
    each site chooses the position of the IPv4 address; that network is refused as a whole, like
    everything outside 2000::/3.
    """
    bits = int(address)
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address.sixtofour:
        return (address.sixtofour,)
    if address.teredo:
        return address.teredo
    if address in _NAT64 or address in _TRANSLATED or (address in _COMPATIBLE and bits > 1):
        return (_ipv4(bits),)
    if (bits >> 32) & 0xFFFFFFFF in _ISATAP_MARKS:
        return (_ipv4(bits),)
    return ()


def _metadata(address: Address) -> list[tuple[Address, Network]]:
    """The metadata addresses that this one is or may be translated to, with their networks."""
    return [
        (each, network)
        for each in _may_stand_for(address)
        for network in METADATA_NETWORKS
        if each in network
    ]


def _may_stand_for(address: Address) -> tuple[Address, ...]:
    """The address, and every IPv4 address that it may be translated to."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address not in _LOCAL_NAT64:
        return (address, *embedded_ipv4(address))
    bits = int(address)
    # RFC 6052, 2.2: behind a prefix of 48, 56 or 64 bits, skipping bits 64 to 71; or at the end.
    skipped = bits >> 64 << 56 | bits & (1 << 56) - 1
    return (address, *(_ipv4(skipped >> shift) for shift in (40, 32, 24)), _ipv4(bits))


def _is_named(address: Address, listed: Network, allow_networks: tuple[Network, ...]) -> bool:
    """Whether an entry opens the address without being wider than the listed network."""
    return any(
        address in network and network.prefixlen >= listed.prefixlen for network in allow_networks
    )


def _in_any(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _ipv4(bits: int) -> IPv4Address:
    return IPv4Address(bits & 0xFFFFFFFF)
