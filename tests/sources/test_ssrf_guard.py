"""Which addresses may be fetched from, as a fetcher sees it."""

from __future__ import annotations

import socket
from ipaddress import ip_address, ip_network

import pytest

from worker.errors import ImageUnavailableError, InvalidRequestError, TemporaryError
from worker.sources import Fetcher, FetchPolicy
from worker.sources.permitted_addresses import is_permitted
from worker.sources.ssrf_guard import system_resolver

REFUSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::2",
    "::7f00:1",  # compatible 127.0.0.1
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",  # NAT64 169.254.169.254
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "64:ff9b:1:7f00:0:100::",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::ffff:ffff",  # Teredo, server 127.0.0.1
    "2001:0:808:808::80ff:fffe",  # Teredo, client 127.0.0.1
    "2001:db8::1",
    "2002:7f00:1::1",  # 6to4 127.0.0.1
    "2002:a9fe:a9fe::",
    "2600:1:2:3:0:5efe:7f00:1",  # ISATAP 127.0.0.1
    "3fff::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
METADATA = [
    "168.63.129.16",  # Azure's WireServer
    "100.100.100.200",  # Alibaba
    "169.254.169.254",
    "169.254.170.2",  # credentials of AWS's containers
    "192.0.0.192",  # Oracle Classic
    "fd00:ec2::254",  # AWS
    "fd00:ec2::23",  # credentials of AWS's pods
    "fd20:ce::254",  # Google
    "fd00:42::42",  # Scaleway
    "fd00:c1::a9fe:a9fe",  # Oracle
    "fd00:a9fe:a9fe::1",  # Akamai
    "fe80::a9fe:a9fe",  # OpenStack
    "::ffff:168.63.129.16",
    "::ffff:100.100.100.200",
    "::ffff:169.254.169.254",
    "::a83f:8110",  # compatible 168.63.129.16
    "::ffff:0:a83f:8110",  # translated (SIIT) 168.63.129.16
    "64:ff9b::a83f:8110",  # NAT64 168.63.129.16
    "64:ff9b::6464:64c8",  # NAT64 100.100.100.200
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a83f:8110",  # local NAT64, behind 96 bits
    "64:ff9b:1:a83f:81:1000::",  # behind 48 bits
    "64:ff9b:1:a8:3f:8110::",  # behind 56 bits
    "64:ff9b:1:0:a8:3f81:1000:0",  # behind 64 bits
    "2002:a83f:8110::1",  # 6to4
    "2001:0:a83f:8110::80ff:fffe",  # Teredo, server
    "2001:0:808:808::57c0:7eef",  # Teredo, client
    "2600:1:2:3:0:5efe:a83f:8110",  # ISATAP
]
PERMITTED = [
    "168.63.129.15",
    "168.63.129.17",
    "64:ff9b::a83f:8111",
    "1.1.1.1",
    "93.184.216.34",
    "100.63.255.255",
    "172.32.0.1",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2606:4700::1111",
    "2a00:1450::1",
]


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
def test_cloud_metadata_is_refused_even_where_private_addresses_are_open(address):
    assert not is_permitted(ip_address(address))
    assert not is_permitted(ip_address(address), allow_private=True)


@pytest.mark.parametrize("address", METADATA)
def test_a_wide_network_does_not_open_the_cloud_metadata_inside_it(address):
    wide = tuple(
        map(ip_network, ("0.0.0.0/0", "::/0", "100.64.0.0/10", "fc00::/7", "::ffff:0:0/96"))
    )

    assert not is_permitted(ip_address(address), wide, allow_private=True)


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
    fetcher = Fetcher(resolver=lambda _host, _port: [address])

    with pytest.raises(ImageUnavailableError) as caught:
        fetcher.fetch("https://pictures.example/cat.jpg")

    assert caught.value.code == "FETCH_FORBIDDEN_ADDRESS"
    assert "pictures.example" in str(caught.value)


def test_a_refusal_does_not_tell_where_a_name_leads():
    with pytest.raises(ImageUnavailableError) as caught:
        Fetcher(resolver=lambda _host, _port: ["10.20.30.40"]).fetch("https://wiki.example/")

    assert "10.20.30.40" not in str(caught.value)


@pytest.mark.parametrize("address", REFUSED)
def test_a_literal_forbidden_address_is_refused_without_asking_a_resolver(address):
    def resolver(host, port):
        raise AssertionError(f"asked for {host}:{port}")

    host = f"[{address}]" if ":" in address else address

    with pytest.raises(ImageUnavailableError) as caught:
        Fetcher(resolver=resolver).fetch(f"http://{host}:8080/")

    assert caught.value.code == "FETCH_FORBIDDEN_ADDRESS"


def test_one_forbidden_address_among_public_ones_refuses_the_host():
    fetcher = Fetcher(resolver=lambda _host, _port: ["1.1.1.1", "2606:4700::1111", "10.0.0.1"])

    with pytest.raises(ImageUnavailableError) as caught:
        fetcher.fetch("http://pictures.example/")

    assert caught.value.code == "FETCH_FORBIDDEN_ADDRESS"


def test_loopback_by_name_is_refused_with_the_real_resolver():
    with pytest.raises(ImageUnavailableError) as caught:
        Fetcher().fetch("http://localhost:1/")

    assert caught.value.code == "FETCH_FORBIDDEN_ADDRESS"


@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no"), ImageUnavailableError, "FETCH_UNKNOWN_HOST"),
        (socket.gaierror(socket.EAI_AGAIN, "later"), TemporaryError, "FETCH_CONNECTION"),
        (UnicodeError("label too long"), ImageUnavailableError, "FETCH_UNKNOWN_HOST"),
        (TimeoutError("slow"), TemporaryError, "FETCH_TIMEOUT"),
        (OSError("broken"), TemporaryError, "FETCH_CONNECTION"),
    ],
)
def test_what_a_resolver_raises_is_translated(failure, error, code):
    def resolver(_host, _port):
        raise failure

    with pytest.raises(error) as caught:
        Fetcher(FetchPolicy(), resolver=resolver).fetch("http://pictures.example/")

    assert caught.value.code == code
    assert caught.value.__cause__ is failure


def test_a_host_without_addresses_is_unknown():
    with pytest.raises(ImageUnavailableError) as caught:
        Fetcher(resolver=lambda _host, _port: []).fetch("http://pictures.example/")

    assert caught.value.code == "FETCH_UNKNOWN_HOST"


def test_the_system_resolver_gives_each_address_once():
    addresses = system_resolver("localhost", 80)

    assert "127.0.0.1" in addresses or "::1" in addresses
    assert len(addresses) == len(set(addresses))


def test_a_scheme_nobody_reads_is_refused_with_those_that_are():
    with pytest.raises(InvalidRequestError) as caught:
        Fetcher().fetch("gopher://example.com/cat.jpg")

    assert caught.value.code == "UNSUPPORTED_SCHEME"
    assert "'gopher://example.com/cat.jpg'" in str(caught.value)
    assert "az, data, file, gs, http, https, s3" in str(caught.value)
