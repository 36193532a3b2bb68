"""Connections with the environment's proxies and a URL's credentials.

urllib3 itself reads neither.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import LocationValueError

from clip_engine.errors import DownloadError

if TYPE_CHECKING:
    from urllib.parse import SplitResult

_LOGIN = re.compile(r"//[^/?#]*@")


def split_login(url: str) -> tuple[str, dict[str, str]]:
    """Split a URL into one without credentials, and headers with them.

    >>> split_login("https://anna:secret@mirror.example/clip")
    ('https://mirror.example/clip', {'authorization': 'Basic YW5uYTpzZWNyZXQ='})

    Raises:
        DownloadError: It is not an http or https URL.
    """
    parts = _split(url)
    if "@" not in parts.netloc:
        return url, {}
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host)), urllib3.make_headers(basic_auth=_login(parts))


def open_pool(url: str) -> urllib3.PoolManager:
    """A connection pool for a URL, with the proxy from the environment, if there is one.

    Raises:
        DownloadError: It is not an http or https URL, or the proxy's URL is invalid.
    """
    parts = _split(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return urllib3.PoolManager()
    try:
        return _open_proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, LocationValueError) as error:
        raise DownloadError(
            f"The environment's {parts.scheme} proxy {without_login(proxy)!r} can't be used; give "
            "one such as http://proxy.example:3128."
        ) from error


def _open_proxy(url: str) -> urllib3.ProxyManager:
    parts = urlsplit(url)
    headers = urllib3.make_headers(proxy_basic_auth=_login(parts)) if parts.username else None
    return urllib3.ProxyManager(url, proxy_headers=headers)


def _login(parts: SplitResult) -> str:
    return f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:  # such as brackets without an IPv6 address
        raise _no_url(url) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_url(url)
    return parts


def _no_url(url: str) -> DownloadError:
    return DownloadError(
        f"{without_login(url)!r} is not an http or https URL; give a mirror such as "
        "https://mirror.example/clip."
    )


def without_login(url: str) -> str:
    """A URL, or a text with one, without the user name and password."""
    return _LOGIN.sub("//***@", url)
