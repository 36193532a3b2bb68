"""Shows values that may be huge or contain secrets in errors, results and logs."""

from __future__ import annotations

import re

MOST_CHARACTERS = 80
MOST_SEARCHED = 20_000  # characters of a text that are searched; the rest is omitted
LEAST_SECRET = 4  # characters; shorter pieces of a URI occur everywhere

# Between the user's colon and the last @ of the authority, as URL parsers take it. A URL that they
# refuse has its password masked too.
_PASSWORD = re.compile(r"(://[^:@/?#]*:)[^/?#]*(@)")

_AT = r"(?:[@\uff20\ufe6b]|%(?:25)*40)"  # also full-width, small, escaped, escaped again
_HAS_AT = re.compile(_AT, re.IGNORECASE)
_HARMLESS = re.compile(
    r"(?!data:)[a-z0-9]{2,6}://[\w.\-]*(?::[0-9]+)?(?:/[\w.\-/]*)?"
)  # most, and fast
_DATA = re.compile(r"\s*data:((?:[\w.+\-]+/[\w.+\-]+)?(?:;base64)?,)?", re.IGNORECASE)
_PARTS = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.\-]*)://([^/?#\\]*)(.*)", re.DOTALL)
_SCHEME = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.\-]*:)?")
_HOST = re.compile(rf"(?:(?!{_AT})[^\[\]:])*|\[[0-9A-Fa-f:.]*\]", re.IGNORECASE)
_HOST_AND_PORT = re.compile(rf"(?:{_HOST.pattern}):[0-9]*", re.IGNORECASE)
# A query or a fragment, spelled out or escaped, or another URL in the path.
_PATH_END = re.compile(r"[?#]|%(?:25)*(?:3F|23)|(?::|%(?:25)*3A)(?:/|%(?:25)*2F)", re.IGNORECASE)
_COLON = re.compile(r":|%(?:25)*3A", re.IGNORECASE)
_EMBEDDED = re.compile(
    r"(?<![\w.+\-])[\w.+\-]*+:(?://|\\\\)\S*"
    r"|(?<![\w./%+\-])[\w./%+\-]*+[?@\uff20\ufe6b]\S*"
    r"|data:\S*",
    re.IGNORECASE,
)
_PIECE = re.compile(r"[^\s/?#&=:@;,\\]+")


def quote(value: object) -> str:
    """The value's `repr` in one line of at most 80 characters. For URIs see `shown_uri`.

    >>> quote("cat.jpg")
    "'cat.jpg'"
    >>> len(quote("x" * 1000))
    80
    """
    return _cut(repr(value))


def shown_uri(uri: object) -> str:
    """An image's URI as errors and logs show it: quoted and cut like `quote`, without secrets.

    >>> shown_uri("https://me:secret@example.com/cat.jpg?X-Amz-Signature=0123")
    "'https://***@example.com/cat.jpg?...'"

    Args:
        uri: A URI, well formed or not; or another value from a message.
    """
    return _cut(repr(without_secrets(uri)) if isinstance(uri, str) else redacted(repr(uri)))


def without_secrets(uri: str) -> str:
    """A URI without user-info, query, fragment and data; only its scheme if these are unclear.

    >>> without_secrets("https://me:sec/ret@example.com/cat.jpg")
    'https://...'
    >>> without_secrets("data:image/png;base64,iVBORw0KGgo=")
    'data:image/png;base64,...'
    """
    if _HARMLESS.fullmatch(uri):
        return uri
    if data := _DATA.match(uri):
        return f"data:{data[1] or ''}..."
    parts = _PARTS.match(uri)
    if parts is None:
        return "..." if _HAS_AT.search(uri) else _without_end(uri, _SCHEME.match(uri))
    scheme, authority, rest = parts.groups()
    _, at, host = authority.rpartition("@")
    if not _is_surely_host(scheme, host, rest, behind_user=bool(at)):
        return f"{scheme}://..."
    return f"{scheme}://{'***@' if at else ''}{host}{_without_end(rest)}"


def redacted(text: str, uri: str = "") -> str:
    """A text such as an exception's message, with the URIs in it shown by `without_secrets`.

    >>> redacted("Timeout for url: /cat.jpg?sig=0123", "https://example.com/cat.jpg?sig=0123")
    'Timeout for url: /cat.jpg?...'

    Args:
        text: The text.
        uri: URI of the image that it is about; secret parts of it are removed from the text, too.
    """
    if len(text) > MOST_SEARCHED:
        text = f"{text[:MOST_SEARCHED]}..."
    text = _EMBEDDED.sub(lambda match: without_secrets(match[0]), text)
    if len(uri) > MOST_SEARCHED:  # data, which has no parts
        return text
    hidden = set(_PIECE.findall(uri)) - set(_PIECE.findall(without_secrets(uri)))
    for piece in sorted(hidden, key=len, reverse=True):
        if len(piece) >= LEAST_SECRET:
            text = text.replace(piece, "...")
    return text


def without_password(url: str) -> str:
    """A URL, well formed or not, with its password replaced by stars.

    >>> without_password("redis://:secret@host:6379/0")
    'redis://:***@host:6379/0'
    """
    # Several sentinels are parted by semicolons.
    return ";".join(_PASSWORD.sub(r"\1***\2", part) for part in url.split(";"))


def _is_surely_host(scheme: str, host: str, rest: str, *, behind_user: bool) -> bool:
    """Whether the parsed host can't be a part of a password."""
    if not host and scheme.lower() != "file" and _HAS_AT.search(rest):
        return False
    if _HOST.fullmatch(host):
        return not (behind_user and "@" in rest)
    return "@" not in rest and _HOST_AND_PORT.fullmatch(host) is not None


def _without_end(path: str, scheme: re.Match[str] | None = None) -> str:
    """The path up to the first secret part; a colon before an @ may begin a password, too."""
    start = scheme.end() if scheme else 0
    end, colon = _PATH_END.search(path, start), _COLON.search(path, start)
    stops = [end.start()] if end else []
    if colon and _HAS_AT.search(path, colon.end()):
        stops.append(colon.start())
    if not stops:
        return path
    stop = min(stops)
    return f"{path[:stop]}{path[stop] if path[stop] in '?#' else ''}..."


def _cut(text: str) -> str:
    if "\n" in text:  # an array's, for one
        text = " ".join(text.split())
    if len(text) <= MOST_CHARACTERS:
        return text
    half = (MOST_CHARACTERS - 3) // 2
    return f"{text[: MOST_CHARACTERS - 3 - half]}...{text[-half:]}"
