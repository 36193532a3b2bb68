"""Images contained in their URI."""

from __future__ import annotations

import base64
import binascii
import tracemalloc

import pytest
from support.failure import failure_of
from support.fetching import fetcher


def fetch(uri, max_bytes=1000):
    return fetcher(max_bytes=max_bytes).fetch(uri)


@pytest.mark.parametrize(
    ("uri", "data"),
    [
        ("data:,a%20brief%20note", b"a brief note"),  # RFC 2397's own example
        ("data:text/plain;charset=utf-8,%FF+", b"\xff+"),
        ("data:,caf\u00e9", "caf\u00e9".encode()),
        ("data:;base64,/+8=", b"\xff\xef"),
        ("DATA:image/gif;BASE64,R0lG", b"GIF"),
        ("data:image/gif;base64,R0\n lG", b"GIF"),
        ("data:image/gif;base64,R0%0AlG", b"GIF"),
        ("data:;base64,%2F%2B8%3D", b"\xff\xef"),
        ("data:;base64,/+8", b"\xff\xef"),
        ("data:;base64,", b""),
        ("data:,50%", b"50%"),
    ],
)
def test_data_is_decoded(uri, data):
    assert fetch(uri) == data


def test_an_escape_is_never_cut_in_a_long_payload():
    # given: payloads longer than one piece, shifted one character at a time
    for shift in range(4):
        payload = shift * "x" + 10_000 * "%FF"

        assert fetch(f"data:,{payload}", 100_000) == shift * b"x" + 10_000 * b"\xff"


@pytest.mark.parametrize("payload", ["R", "R0lG*", "R0=lG", "R0lG====R", "-_8=", "\u00e9==="])
def test_data_that_is_not_base64_is_rejected(payload):
    failure = failure_of(fetch, f"data:;base64,{payload}")

    assert failure.code == "BAD_URI"
    assert isinstance(failure.__cause__, binascii.Error)


@pytest.mark.parametrize("size", [1, 2, 3, 999, 1000])
def test_data_up_to_the_size_limit_is_accepted_in_either_form(size):
    assert fetch("data:;base64," + base64.b64encode(bytes(size)).decode()) == bytes(size)
    assert fetch("data:," + size * "%00") == bytes(size)


@pytest.mark.parametrize(
    "uri",
    ["data:," + 1001 * "x", "data:," + 1001 * "%00", "data:;base64," + 1336 * "A"],
    ids=["plain", "escaped", "base64"],
)
def test_data_over_the_size_limit_is_rejected(uri):
    failure = failure_of(fetch, uri)

    assert failure.code == "FETCH_TOO_LARGE"
    assert len(failure.message) < 250


def test_decoding_escapes_takes_little_more_memory_than_the_payload():
    # given: a megabyte of nothing but escapes, each an object to a naive decoder
    uri = "data:," + 1_000_000 * "%41"
    tracemalloc.start()

    fetch(uri, 1_000_000)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 16_000_000
