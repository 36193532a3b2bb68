"""Which URIs are well formed."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys

import pytest
from support.failure import code_of, failure_of

from clip_worker.contract.http_url import HttpUrl
from clip_worker.contract.uri import file_path, validate_uri
from clip_worker.errors import InvalidRequestError

DIGEST = "ab" * 32


@pytest.mark.parametrize(
    "uri",
    [
        "https://example.com/cat.jpg",
        "http://[2001:db8::1]:8080/a?b=c",
        "https://bücher.example/straße.jpg",
        "data:,cat",
        "data:image/gif;base64,R0 lG\n",
        "file:///data/cat.jpg",
        "file:/data/cat.jpg",
        f"redis://uploads/{DIGEST}",
        f"redis://uploads/{DIGEST}/cats/my%20cat.jpg#5f3c",
        "s3://bucket/cat.jpg",
        "s3://bucket/my cat%20(1).jpg",
        "whatever://some/thing",
    ],
)
def test_a_well_formed_uri_is_returned_without_its_surrounding_blanks(uri):
    assert validate_uri(f" {uri}\n") == uri.strip()


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("cat.jpg", "file:///data/cat.jpg"),
        ("/data/cat.jpg", "file:///data/cat.jpg"),
        ("C:\\cat.jpg", "client.upload()"),
        ("", "https://"),
        ("//example.com/cat.jpg", "https://"),
    ],
)
def test_a_path_is_not_a_uri_and_the_error_says_what_to_write(path, advice):
    failure = failure_of(validate_uri, path)

    assert failure.code == "BAD_URI"
    assert advice in failure.message


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "https:///cat.jpg",
            "https:cat.jpg",
            "https://",
            "https://exa mple.com/",
            "https://a..b/",
        ),
        *("https://[::1/", "https://[fe80::1%25eth0]/", "https://[nonsense]/"),
        *("https://exam%70le.com/", "https://example.com\\@127.0.0.1/", "https://example.com\t/a"),
        f"https://{'a' * 64}.com/",
        *(f"https://example.com:{port}/" for port in (0, 65536, "x")),
        *(f"https://example.com/{path}" for path in ("my cat.jpg", "\x00", "\ud800", 9000 * "a")),
        "data:image/jpeg;base64",
        *("file://server/share/cat.jpg", "file:cat.jpg", "file:///a?b", "file:///a#b"),
        "file:///a%00b",
        *(
            f"redis://uploads/{name}"
            for name in (
                "g" * 64,
                "a" * 63,
                f"{DIGEST}/",
                f"{DIGEST}/x?y",
                f"{DIGEST}/@x",
                f"{DIGEST}x",
            )
        ),
        f"redis://elsewhere:6379/{DIGEST}",
        "s3://bucket/my\ncat.jpg",
    ],
)
def test_a_malformed_uri_is_rejected(uri):
    assert code_of(validate_uri, uri) == "BAD_URI"


@pytest.mark.parametrize(
    "host",
    [
        *("2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.2", "1.2.3.256"),
        *("0x", "127.0x1."),
    ],
)
def test_an_unusual_spelling_of_an_ipv4_address_is_rejected(host):
    failure = failure_of(validate_uri, f"http://{host}/")

    assert failure.code == "BAD_URI"
    assert "IPv4" in failure.message


def test_full_width_digits_are_folded_before_the_host_is_read():
    fullwidth = "".join(chr(ord(digit) + 0xFEE0) for digit in "127.0.0.1")

    assert HttpUrl.parse(f"http://{fullwidth}/").host == "127.0.0.1"


def test_a_password_in_a_url_is_rejected_and_not_repeated():
    failure = failure_of(validate_uri, "https://anna:hunter2@example.com/cat.jpg")

    assert failure.code == "BAD_URI"
    assert "hunter2" not in failure.message


def test_a_long_uri_is_quoted_in_part():
    assert len(failure_of(validate_uri, "data:" + "x" * 10_000_000).message) < 200


@pytest.mark.parametrize("value", [None, 7, b"https://example.com/", ["https://example.com/"]])
def test_a_value_that_is_not_a_string_is_rejected(value):
    with pytest.raises(InvalidRequestError, match="string"):
        validate_uri(value)


def test_random_text_raises_nothing_but_invalid_request():
    # given: pieces that parsers stumble over, in random order
    rng = random.Random(0)
    pieces = ["http", "https", "file", "data", "redis", ":", "/", "//", "[", "]", "@", "%", "\\"]
    pieces += ["?", "#", ",", "::", "\ufb01", "\ud800", "\u3002", "xn--", "\x00", "127.0.0.1", "."]

    for _ in range(5000):
        uri = "".join(rng.choices(pieces, k=rng.randint(1, 9)))
        with contextlib.suppress(InvalidRequestError):
            validate_uri(uri)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///data/my%20cat.jpg", "/data/my cat.jpg"),
        ("file://localhost/data/cat.jpg", "/data/cat.jpg"),
        ("file:////data//cat.jpg", "/data/cat.jpg"),
        ("file:///data/a/../../etc/passwd", "/etc/passwd"),
        ("file:///data/%2e%2e/etc/passwd", "/etc/passwd"),
        ("file:///../../x", "/x"),
    ],
)
def test_a_file_uri_names_a_normalised_path(uri, path):
    assert file_path(uri) == path


@pytest.mark.parametrize(
    ("url", "host_header", "target"),
    [
        ("HTTP://Example.COM", "example.com", "/"),
        ("http://example.com:80/a", "example.com", "/a"),
        ("https://example.com:80/a", "example.com:80", "/a"),
        ("https://[2001:DB8:0::1]:443/", "[2001:db8::1]", "/"),
        (
            "https://example.com/straße?q=ü&x=%41#fragment",
            "example.com",
            "/stra%C3%9Fe?q=%C3%BC&x=%41",
        ),
        ("https://bücher.example/", "xn--bcher-kva.example", "/"),
    ],
)
def test_a_url_gives_its_host_header_and_request_target(url, host_header, target):
    parsed = HttpUrl.parse(url)

    assert (parsed.host_header, parsed.target) == (host_header, target)


def test_the_uri_module_loads_nothing_heavy():
    heavy = {"torch", "clip_engine", "fsspec", "celery"}
    code = f"import sys, clip_worker.contract.uri; print(*{heavy} & {{*sys.modules}})"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""
