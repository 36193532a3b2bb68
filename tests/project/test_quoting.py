"""How values and URIs are shown."""

from __future__ import annotations

import pytest
from support.secret_uris import MALFORMED, SECRET, SIGNED

from clip_worker.quoting import MOST_CHARACTERS, MOST_SEARCHED, quote, redacted, shown_uri

SHOWN = {
    "https://example.com/cat.jpg": "https://example.com/cat.jpg",
    f"https://example.com/cat.jpg{SIGNED}": "https://example.com/cat.jpg?...",
    f"https://example.com/cat.jpg#{SECRET}": "https://example.com/cat.jpg#...",
    f"https://user:{SECRET}@example.com/cat.jpg": "https://***@example.com/cat.jpg",
    "https://example.com/@user/cat@2x.jpg": "https://example.com/@user/cat@2x.jpg",
    "https://bücher.example:8443/ü.jpg": "https://bücher.example:8443/ü.jpg",
    "http://[2606:4700::1111]:80/cat.jpg": "http://[2606:4700::1111]:80/cat.jpg",
    "s3://pets/my cats/cat@2x.jpg": "s3://pets/my cats/cat@2x.jpg",
    "file:///data/cat@2x.jpg": "file:///data/cat@2x.jpg",
    "file:/data/cat.jpg": "file:/data/cat.jpg",
    f"https://example.com/cat.jpg%3Fsig={SECRET}": "https://example.com/cat.jpg...",
    f"https://proxy.example/https://user:{SECRET}@a/b": "https://proxy.example/https...",
    f"https://proxy.example/https%3A%2F%2Fa%2Fb%3F{SECRET}": "https://proxy.example/https...",
    f"data:image/png;base64,{SECRET}": "data:image/png;base64,...",
    f"data:,{SECRET}": "data:,...",
    f"data:{SECRET}": "data:...",
    "cat.jpg": "cat.jpg",
    "C:\\cat.jpg": "C:\\cat.jpg",
}


@pytest.mark.parametrize(("uri", "shown"), SHOWN.items())
def test_a_uri_is_shown_without_user_info_query_fragment_and_data(uri: str, shown: str) -> None:
    assert shown_uri(uri) == repr(shown)


@pytest.mark.parametrize("uri", MALFORMED)
def test_no_spelling_shows_its_secret(uri: str) -> None:
    assert SECRET not in shown_uri(uri)
    assert SECRET not in shown_uri([uri])  # where a message holds a list in a URI's place


def test_a_long_uri_is_cut_in_the_middle() -> None:
    assert len(shown_uri(f"https://example.com/{'x' * 8000}{SIGNED}")) == MOST_CHARACTERS
    assert len(quote("x" * 1000)) == MOST_CHARACTERS


@pytest.mark.parametrize("uri", MALFORMED)
@pytest.mark.parametrize(
    "text", ["{}", "bad {!r}", "url: {}", "ValueError: invalid port {0!r}; {0}", "[{!r}]"]
)
def test_a_text_that_quotes_a_uri_is_shown_without_its_secret(uri: str, text: str) -> None:
    assert SECRET not in redacted(text.format(uri), uri)


def test_a_text_is_shown_without_any_part_of_what_its_uri_hides() -> None:
    uri = f"https://user:{SECRET}@example.com/cat.jpg?X-Amz-Signature=0123abcd"
    text = f"invalid literal for int(): '{SECRET}'; 0123abcd is no signature of cat.jpg"
    assert redacted(text, uri) == "invalid literal for int(): '...'; ... is no signature of cat.jpg"


def test_other_uris_in_a_text_lose_their_secrets_too() -> None:
    text = f"GET /a?sig={SECRET} of https://u:{SECRET}@b.example/c, data:image/png;base64,{SECRET}"
    assert redacted(text) == "GET /a?... of https://***@b.example/c, data:image/png;base64,..."


@pytest.mark.parametrize("piece", [":", "@", "?", "%25", "a:", "a@", "https://a", "data:", "A"])
def test_a_hostile_text_takes_no_longer_than_a_friendly_one(piece: str) -> None:
    # given texts for which a careless expression would try as many ways as they have characters
    text = piece * (10**6 // len(piece))
    # then these end at all, cut
    assert len(redacted(text, text[:8000])) <= MOST_SEARCHED + 3
    assert len(shown_uri(text)) <= MOST_CHARACTERS
