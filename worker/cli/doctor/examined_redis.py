"""A Redis under examination: whether it can be reached, and what it says about itself."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import TimeoutError as LateError

from clip_worker.quoting import quote, without_password
from clip_worker.redis.errors import fault_of
from clip_worker.redis.sentinel_url import SCHEME as SENTINEL_SCHEME
from clip_worker.redis.tls import SCHEME as TLS_SCHEME
from clip_worker.redis.url import connect, redis_url_remedy, server_options
from worker.cli.doctor.finding import Finding, ok, problem, skipped

if TYPE_CHECKING:
    from redis import Redis

TIMEOUT_S = 3.0
QUEUES_URL = "CLIP_WORKER_REDIS_URL"
TLS_PORT = "Check that it is its TLS port, that it isn't stopped, and the URL's certificates."
HANGS = "It hangs, is stopped, or runs a long script; look at its log, then restart it."


class ExaminedRedis:
    """Connects once, and answers the checks.

    Args:
        url: May be invalid.
        variable: Where it is set, for remedies.
    """

    def __init__(self, url: str, variable: str = QUEUES_URL) -> None:
        self.url = url
        self.where = without_password(url)
        self._variable = variable
        self._start_it = f"Start Redis, or correct the host and port in {variable}."
        self._gone = ""

    def reach(self) -> Finding:
        """Look whether Redis can be reached, and if not, which step fails."""
        return self.obstacle or ok(f"Redis at {self.where} answers.")

    @cached_property
    def obstacle(self) -> Finding | None:
        """Why Redis can't be reached; None if it can."""
        if remedy := redis_url_remedy(self.url):
            return problem(f"{quote(self.where)} is not a Redis URL.", f"{_capital(remedy)}.")
        if not self.url.startswith(SENTINEL_SCHEME) and (found := self._unreachable()):
            return found
        try:
            self.client.ping()
        except (RedisError, OSError) as error:
            return self._refusal(error)
        return None

    @cached_property
    def client(self) -> Redis:
        """A client whose commands are not sent twice, and end within `TIMEOUT_S`."""
        client = connect(self.url, retries=0)
        client.connection_pool.connection_kwargs |= {
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
        }
        return client

    @cached_property
    def info(self) -> dict[str, Any]:
        """What `INFO` says.

        Raises:
            RedisError: It can't be had.
        """
        return self.client.info()

    def config(self, name: str) -> str | None:
        """A setting of the server; None where this user, or the provider, forbids `CONFIG`."""
        try:
            found = cast("dict[str, Any]", self.client.config_get(name))
        except ResponseError:
            return None
        return None if name not in found else str(found[name])

    def examined(self, look: Callable[[], Finding]) -> Callable[[], Finding]:
        """A check that is skipped while Redis can't be reached, or forbids it."""

        def look_at_redis() -> Finding:
            if self.obstacle or self._gone:
                return skipped(self._gone or f"Redis at {self.where} can't be reached.")
            try:
                return look()
            except NoPermissionError as error:
                return skipped(f"Redis forbids this check: {_first_line(error)}.")
            except (LostConnectionError, LateError) as error:
                self._gone = f"Redis at {self.where} stopped answering during these checks."
                return problem(f"{self._gone[:-1]}: {_first_line(error)}.", self._start_it)
            except ResponseError as error:
                return skipped(f"Redis refused this check: {_first_line(error)}.")

        return look_at_redis

    def _unreachable(self) -> Finding | None:
        """Which of name and port is wrong; None if a connection can be opened."""
        options, _ = server_options(self.url)
        host, port = str(options.get("host", "localhost")), int(options.get("port", 6379))
        try:
            socket.create_connection((host, port), TIMEOUT_S).close()
        except socket.gaierror as error:
            found = f"The host name {quote(host)} can't be resolved ({error.strerror})."
            return problem(found, f"Correct the host in {self._variable}, or the name server.")
        except ConnectionRefusedError:
            return problem(f"Nothing listens at {host}:{port}.", self._start_it)
        except TimeoutError:
            return problem(
                f"{host}:{port} does not accept a connection within {TIMEOUT_S:g} s.",
                "Check the address, firewalls and security groups between here and there.",
            )
        except OSError as error:
            return problem(f"{host}:{port} can't be reached ({error.strerror}).", self._start_it)
        return None

    def _refusal(self, error: Exception) -> Finding:
        """Why it takes a connection but no command."""
        text = _first_line(error)
        if isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError):
            return problem(
                f"Redis at {self.where} rejects the login: {text}.",
                f"Correct the user and password in {self._variable} (redis://user:password@host).",
            )
        if fault := fault_of(error):
            found, _, remedy = fault.partition("; ")
            return problem(f"Redis at {self.where} can't be used: {found}.", f"{_capital(remedy)}.")
        uses_tls = self.url.startswith(TLS_SCHEME)
        if isinstance(error, LateError | TimeoutError):
            found = f"Redis at {self.where} accepts connections but does not answer within "
            return problem(f"{found}{TIMEOUT_S:g} s.", TLS_PORT if uses_tls else HANGS)
        return problem(
            f"Redis at {self.where} can't be used: {text}.",
            TLS_PORT
            if uses_tls
            else f"Check that Redis listens there without TLS, or write {TLS_SCHEME}.",
        )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].partition(" : <")[0].rstrip(".") if lines else type(error).__name__


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
