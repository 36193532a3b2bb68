"""Pictures inside their URI."""

from __future__ import annotations

import base64
import binascii
import tracemalloc

import pytest

from worker.errors import ImageUnavailableError, InvalidRequestError
from worker.sources import Fetcher, FetchLimits


def fetch(uri, max_bytes=1000):
    return Fetcher(limits=FetchLimits(max_bytes=max_bytes)).fetch(uri)


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


def test_escapes_survive_wherever_a_long_payload_is_cut():
    # given: payloads longer than one piece, shifted one character at a time
    for shift in range(4):
        payload = shift * "x" + 10_000 * "%FF"

        assert fetch(f"data:,{payload}", 100_000) == shift * b"x" + 10_000 * b"\xff"


@pytest.mark.parametrize("payload", ["R", "R0lG*", "R0=lG", "R0lG====R", "-_8=", "\u00e9==="])
def test_data_that_is_not_base64_is_refused(payload):
    with pytest.raises(InvalidRequestError) as caught:
        fetch(f"data:;base64,{payload}")

    assert caught.value.code == "BAD_URI"
    assert isinstance(caught.value.__cause__, binascii.Error)


@pytest.mark.parametrize("size", [1, 2, 3, 999, 1000])
def test_data_up_to_the_cap_is_taken_in_either_form(size):
    data = bytes(size)

    assert fetch("data:;base64," + base64.b64encode(data).decode()) == data
    assert fetch("data:," + size * "%00") == data


@pytest.mark.parametrize(
    "uri",
    ["data:," + 1001 * "x", "data:," + 1001 * "%00", "data:;base64," + 1336 * "A"],
    ids=["plain", "escaped", "base64"],
)
def test_data_over_the_cap_is_refused(uri):
    with pytest.raises(ImageUnavailableError) as caught:
        fetch(uri)

    assert caught.value.code == "FETCH_TOO_LARGE"
    assert len(str(caught.value)) < 250


def test_decoding_escapes_takes_little_more_memory_than_the_payload():
    # given: a megabyte of nothing but escapes, each an object to a naive decoder
    uri = "data:," + 1_000_000 * "%41"
    tracemalloc.start()

    fetch(uri, 1_000_000)

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 16_000_000
