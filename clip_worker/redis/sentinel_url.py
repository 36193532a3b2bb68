"""`sentinel://` URLs: several sentinels, and the name of the master that they monitor.

The form is Celery's, plus the master's name, for which Celery has two settings instead::

    sentinel://:password@host1:26379;sentinel://host2:26379/0?master=mymaster

User, password and database are the master's; user and password of the sentinels themselves are the
parameters `sentinel_username` and `sentinel_password`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from redis.backoff import NoBackoff
from redis.retry import Retry

SCHEME = "sentinel://"
DEFAULT_PORT = 26379
EXAMPLE = "sentinel://host1:26379;sentinel://host2:26379/0?master=mymaster"
# Sentinels are asked in turn, so one that does not answer must not take the time of all: it is
# asked once, for a second. redis-py would try each four times, with pauses.
TIMEOUT_S = 1.0
PARAMETERS = {"master", "sentinel_username", "sentinel_password"}


@dataclass(frozen=True)
class SentinelUrl:
    """A parsed URL.

    Attributes:
        hosts: Host and port of each sentinel.
        master: Name of the master.
        db: Number of the database.
        credentials: `username` and `password` of the master, if given.
        sentinel_credentials: `username` and `password` of the sentinels, if given.
    """

    hosts: tuple[tuple[str, int], ...]
    master: str
    db: int = 0
    credentials: dict[str, str] = field(default_factory=dict, repr=False)
    sentinel_credentials: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse a URL.

        Raises:
            ValueError: It is invalid; the message says what to change.
        """
        parts = [urlsplit(part) for part in url.split(";")]
        for part in parts:
            if part.scheme != "sentinel" or not part.hostname:
                raise ValueError(f"give a host for each sentinel, as in {EXAMPLE}")
        given = dict(parse_qsl("&".join(part.query for part in parts), strict_parsing=False))
        if strange := sorted(given.keys() - PARAMETERS):
            raise ValueError(f"leave out {', '.join(strange)}, as in {EXAMPLE}")
        if not given.get("master"):
            raise ValueError(f"name the master, as in {EXAMPLE}")
        return cls(
            hosts=tuple((str(part.hostname), part.port or DEFAULT_PORT) for part in parts),
            master=given["master"],
            db=_db(parts),
            credentials=_credentials(parts),
            sentinel_credentials={
                name.removeprefix("sentinel_"): value
                for name, value in given.items()
                if name != "master"
            },
        )

    @property
    def celery_url(self) -> str:
        """The URL for `broker_url` and `result_backend`; the rest is in `transport_options`."""
        user = quote(self.credentials.get("username", ""), safe="")
        password = quote(self.credentials.get("password", ""), safe="")
        access = f"{user}:{password}@" if self.credentials else ""
        return ";".join(
            f"{SCHEME}{access}{f'[{host}]' if ':' in host else host}:{port}/{self.db}"
            for host, port in self.hosts
        )

    @property
    def transport_options(self) -> dict[str, Any]:
        """`broker_transport_options` and `result_backend_transport_options`."""
        return {"master_name": self.master, "sentinel_kwargs": self.sentinel_options}

    @property
    def sentinel_options(self) -> dict[str, Any]:
        """Options of the connections to the sentinels."""
        limits = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}
        return limits | {"retry": Retry(NoBackoff(), 0)} | self.sentinel_credentials


def _db(parts: list[SplitResult]) -> int:
    found = {part.path.strip("/") for part in parts} - {""}
    if len(found) > 1 or not all(db.isdecimal() for db in found):
        raise ValueError(f"give one number of a database, as in {EXAMPLE}")
    return int(found.pop()) if found else 0


def _credentials(parts: list[SplitResult]) -> dict[str, str]:
    found = {(part.username or "", part.password or "") for part in parts} - {("", "")}
    if len(found) > 1:
        raise ValueError("give the master's password once; the sentinels' is sentinel_password")
    username, password = found.pop() if found else ("", "")
    given = {"username": unquote(username), "password": unquote(password)}
    return {name: value for name, value in given.items() if value}
