"""Connections to a URL's host: through which proxy, with whose name and password.

urllib3 reads neither the environment's proxies nor the login that a URL may carry.
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
    """Part a URL from its name and password, which belong in a header and in no message.

    >>> split_login("https://anna:secret@mirror.example/clip")
    ('https://mirror.example/clip', {'authorization': 'Basic YW5uYTpzZWNyZXQ='})

    Raises:
        DownloadError: It is no http or https URL.
    """
    parts = _split(url)
    if "@" not in parts.netloc:
        return url, {}
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=host)), urllib3.make_headers(basic_auth=_login(parts))


def open_pool(url: str) -> urllib3.PoolManager:
    """Connections to a URL's host, through the proxy that the environment names for it.

    Raises:
        DownloadError: It is no http or https URL, or the proxy's is none.
    """
    parts = _split(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc):
        return urllib3.PoolManager()
    try:
        return _open_proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, LocationValueError) as error:
        raise DownloadError(
            f"The proxy {_without_login(proxy)!r} that the environment names for {parts.scheme} "
            "can't be used; give one as in http://proxy.example:3128."
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
    except ValueError as error:  # brackets that hold no IPv6 address
        raise _no_url(url) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _no_url(url)
    return parts


def _no_url(url: str) -> DownloadError:
    return DownloadError(
        f"{_without_login(url)!r} is no http or https URL; give a mirror as in "
        "https://mirror.example/clip."
    )


def _without_login(url: str) -> str:
    return _LOGIN.sub("//***@", url)
