"""Which addresses may be fetched from, as a fetcher sees it."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest
from support.failure import code_of, failure_of

from clip_worker.errors import ImageUnavailableError, TemporaryError
from worker.sources import Fetcher
from worker.sources.permitted_addresses import is_permitted
from worker.sources.ssrf_guard import system_resolver

REFUSED = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.88.99.1"),
    *("192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250"),
    *("240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::2", "100::1", "2001::1", "2001:db8::1", "3fff::1", "4000::1", "fc00::1"),
    *("fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1"),
    "::7f00:1",  # compatible 127.0.0.1
    *("::ffff:10.0.0.1", "::ffff:169.254.169.254"),  # mapped
    *("64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1"),  # NAT64
    *("64:ff9b:1::1", "64:ff9b:1:7f00:0:100::"),  # local NAT64
    *("2001:0:7f00:1::ffff:ffff", "2001:0:808:808::80ff:fffe"),  # Teredo, server and client
    *("2002:7f00:1::1", "2002:a9fe:a9fe::"),  # 6to4
    "2600:1:2:3:0:5efe:7f00:1",  # ISATAP
]
METADATA = [
    "168.63.129.16",  # Azure's WireServer
    "100.100.100.200",  # Alibaba
    *("169.254.169.254", "169.254.170.2"),  # most clouds; credentials of AWS's containers
    *("192.0.0.192", "fd00:c1::a9fe:a9fe"),  # Oracle
    *("fd00:ec2::254", "fd00:ec2::23"),  # AWS; credentials of its pods
    "fd20:ce::254",  # Google
    "fd00:42::42",  # Scaleway
    "fd00:a9fe:a9fe::1",  # Akamai
    "fe80::a9fe:a9fe",  # OpenStack
    *("::ffff:168.63.129.16", "::ffff:100.100.100.200", "::ffff:169.254.169.254"),  # mapped
    "::a83f:8110",  # compatible 168.63.129.16
    "::ffff:0:a83f:8110",  # translated (SIIT) 168.63.129.16
    *("64:ff9b::a83f:8110", "64:ff9b::6464:64c8", "64:ff9b::a9fe:a9fe"),  # NAT64
    "64:ff9b:1::a83f:8110",  # local NAT64, behind 96 bits
    *("64:ff9b:1:a83f:81:1000::", "64:ff9b:1:a8:3f:8110::"),  # behind 48 and 56 bits
    "64:ff9b:1:0:a8:3f81:1000:0",  # behind 64 bits
    "2002:a83f:8110::1",  # 6to4
    *("2001:0:a83f:8110::80ff:fffe", "2001:0:808:808::57c0:7eef"),  # Teredo, server and client
    "2600:1:2:3:0:5efe:a83f:8110",  # ISATAP
]
PERMITTED = [
    *("168.63.129.15", "168.63.129.17", "64:ff9b::a83f:8111", "1.1.1.1", "93.184.216.34"),
    *("100.63.255.255", "172.32.0.1", "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::808:808"),
    *("2606:4700::1111", "2a00:1450::1"),
]
WIDE = tuple(map(ip_network, ("0.0.0.0/0", "::/0", "100.64.0.0/10", "fc00::/7", "::ffff:0:0/96")))


def fetch_failure(url, addresses):
    """The error of a fetch whose host resolves to the addresses, or whose resolver raises."""

    def resolver(_host, _port):
        if isinstance(addresses, Exception):
            raise addresses
        return addresses

    return failure_of(Fetcher(resolver=resolver).fetch, url)


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address):
    assert not is_permitted(ip_address(address))


@pytest.mark.parametrize("address", PERMITTED)
def test_a_public_address_is_permitted(address):
    assert is_permitted(ip_address(address))


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_an_allowed_network_opens_its_addresses_in_all_their_forms(address):
    assert is_permitted(ip_address(address), (ip_network("10.1.0.0/16"),))
    assert not is_permitted(ip_address(address), (ip_network("10.2.0.0/16"),))


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.0.1", "::1", "fd00::1"])
def test_allow_private_opens_private_addresses(address):
    assert is_permitted(ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "224.0.0.1", "0.0.0.0", "::"])
def test_allow_private_opens_neither_link_local_nor_multicast(address):
    assert not is_permitted(ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", METADATA)
def test_cloud_metadata_is_refused_even_if_private_addresses_or_wide_networks_are_open(address):
    assert not is_permitted(ip_address(address))
    assert not is_permitted(ip_address(address), allow_private=True)
    assert not is_permitted(ip_address(address), WIDE, allow_private=True)


@pytest.mark.parametrize(
    ("address", "entry"),
    [
        ("168.63.129.16", "168.63.129.16/32"),
        ("100.100.100.200", "100.100.100.200/32"),
        ("::ffff:100.100.100.200", "100.100.100.200/32"),
        ("64:ff9b::a83f:8110", "168.63.129.16/32"),
        ("169.254.169.254", "169.254.169.254/32"),
        ("169.254.170.2", "169.254.0.0/16"),
        ("fd00:ec2::254", "fd00:ec2::254/128"),
        ("fd00:ec2::254", "fd00:ec2::/32"),
        ("fd20:ce::254", "fd20:ce::254/128"),
        ("fd00:42::42", "fd00:42::42/128"),
    ],
)
def test_an_entry_that_names_a_metadata_service_opens_it(address, entry):
    assert is_permitted(ip_address(address), (ip_network(entry),))


def test_a_named_metadata_address_does_not_open_what_else_a_tunnel_leads_to():
    tunnel = ip_address("2001:0:a83f:8110::f5ff:fffe")  # Teredo: 168.63.129.16, then 10.0.0.1

    assert not is_permitted(tunnel, (ip_network("168.63.129.16/32"),))


@pytest.mark.parametrize("address", REFUSED)
def test_a_host_that_resolves_to_a_forbidden_address_is_refused(address):
    # also if it has public addresses too
    for addresses in ([address], ["1.1.1.1", "2606:4700::1111", address]):
        failure = fetch_failure("https://pictures.example/cat.jpg", addresses)

        assert type(failure) is ImageUnavailableError
        assert failure.code == "FETCH_FORBIDDEN_ADDRESS"
        assert "pictures.example" in failure.message


@pytest.mark.parametrize("address", REFUSED)
def test_a_forbidden_address_in_a_url_is_refused_without_a_resolver(address):
    def resolver(host, port):
        raise AssertionError(f"resolved {host}:{port}")

    host = f"[{address}]" if ":" in address else address

    code = code_of(Fetcher(resolver=resolver).fetch, f"http://{host}:8080/")

    assert code == "FETCH_FORBIDDEN_ADDRESS"


def test_a_refusal_does_not_reveal_where_a_name_leads():
    assert "10.20.30.40" not in fetch_failure("https://wiki.example/", ["10.20.30.40"]).message


def test_localhost_is_refused_with_the_real_resolver():
    assert code_of(Fetcher().fetch, "http://localhost:1/") == "FETCH_FORBIDDEN_ADDRESS"


@pytest.mark.parametrize(
    ("lower", "error", "code"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no"), ImageUnavailableError, "FETCH_UNKNOWN_HOST"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), TemporaryError, "FETCH_CONNECTION"),
        (UnicodeError("label too long"), ImageUnavailableError, "FETCH_UNKNOWN_HOST"),
        (TimeoutError("slow"), TemporaryError, "FETCH_TIMEOUT"),
        (OSError("broken"), TemporaryError, "FETCH_CONNECTION"),
    ],
)
def test_errors_of_a_resolver_are_translated(lower, error, code):
    failure = fetch_failure("http://pictures.example/", lower)

    assert (type(failure), failure.code, failure.__cause__) == (error, code, lower)


def test_a_host_without_addresses_is_unknown():
    assert fetch_failure("http://pictures.example/", []).code == "FETCH_UNKNOWN_HOST"


def test_the_system_resolver_returns_each_address_once():
    addresses = system_resolver("localhost", 80)

    assert "127.0.0.1" in addresses or "::1" in addresses
    assert len(addresses) == len(set(addresses))


def test_an_unsupported_scheme_is_rejected_and_the_supported_ones_are_named():
    failure = failure_of(Fetcher().fetch, "gopher://example.com/cat.jpg")

    assert failure.code == "UNSUPPORTED_SCHEME"
    assert "'gopher://example.com/cat.jpg'" in failure.message
    assert "az, data, file, gs, http, https, s3" in failure.message
