"""`rediss://` URLs: the same TLS checks for redis-py, kombu and Celery's result backend.

Their defaults differ: redis-py verifies the server's certificate, Celery's backend rejects a URL
that does not say whether to, and kombu then verifies nothing.
"""

from __future__ import annotations

import ssl
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

SCHEME = "rediss://"
_PREFIX = "ssl_"
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_KNOWN = (*_FILES, "ssl_cert_reqs", "ssl_check_hostname", "ssl_password")
_CHECKS = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL, "none": ssl.CERT_NONE}
_YES, _NO = ("1", "true", "yes"), ("0", "false", "no")


def split_tls(url: str) -> tuple[str, dict[str, Any]]:
    """Split a URL into the URL without TLS parameters and the TLS options.

    Returns:
        The URL without parameters that begin with `ssl_`; and, for `rediss://`, the options of
        redis-py's `SSLConnection`, which are also `broker_use_ssl` and `redis_backend_use_ssl`.

    Raises:
        ValueError: A parameter is invalid; the message says what to change.
    """
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    tls = {name: value for name, value in given if name.startswith(_PREFIX)}
    if not url.startswith(SCHEME):
        if tls:
            raise ValueError(f"write {SCHEME} for TLS, or leave out {', '.join(sorted(tls))}")
        return url, {}
    if tls:
        others = [(name, value) for name, value in given if name not in tls]
        url = urlunsplit(parts._replace(query=urlencode(others)))
    return url, _options(tls)


class TlsContext:
    """The settings of TLS for asyncio, which take a tenth of a second to load.

    Args:
        options: Those that `split_tls` returned.

    Attributes:
        context: The settings, once they were loaded.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._lock = threading.Lock()
        self.context: ssl.SSLContext | None = None

    def load(self) -> None:
        """Load them once.

        Raises:
            OSError: A file can't be read, or is not what it should be.
        """
        with self._lock:
            self.context = self.context or self._loaded()

    def _loaded(self) -> ssl.SSLContext:
        options = self._options
        context = ssl.create_default_context()
        context.check_hostname = options["ssl_check_hostname"]
        context.verify_mode = options["ssl_cert_reqs"]
        if authority := options.get("ssl_ca_certs"):
            context.load_verify_locations(authority)
        if certificate := options.get("ssl_certfile"):
            context.load_cert_chain(
                certificate, options.get("ssl_keyfile"), options.get("ssl_password")
            )
        return context


def _options(given: dict[str, str]) -> dict[str, Any]:
    if strange := sorted(given.keys() - set(_KNOWN)):
        raise ValueError(f"leave out {', '.join(strange)}; TLS options are {', '.join(_KNOWN)}")
    check = _check(given.get("ssl_cert_reqs", "required"))
    options: dict[str, Any] = {name: _file(name, given[name]) for name in _FILES if name in given}
    if "ssl_password" in given:
        options["ssl_password"] = given["ssl_password"]
    hostname = _flag("ssl_check_hostname", given.get("ssl_check_hostname", "true"))
    # redis-py's default depends on its version.
    return options | {
        "ssl_cert_reqs": check,
        "ssl_check_hostname": hostname and check != ssl.CERT_NONE,
    }


def _check(value: str) -> ssl.VerifyMode:
    word = value.lower().removeprefix("cert_")  # Celery's spelling is CERT_REQUIRED
    if word not in _CHECKS:
        raise ValueError(f"give ssl_cert_reqs={', '.join(list(_CHECKS)[:-1])} or none")
    return _CHECKS[word]


def _flag(name: str, value: str) -> bool:
    if value.lower() not in (*_YES, *_NO):
        raise ValueError(f"give {name}=true or false")
    return value.lower() in _YES


def _file(name: str, value: str) -> str:
    if not Path(value).is_file():
        raise ValueError(f"give an existing file for {name}")
    return value
