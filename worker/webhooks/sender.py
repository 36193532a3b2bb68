"""Posts to a webhook over HTTP, to a checked address, under a deadline for the whole exchange."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError, NewConnectionError
from urllib3.exceptions import TimeoutError as Urllib3TimeoutError

from clip_worker.contract.http_url import HttpUrl
from clip_worker.contract.webhooks import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    signature,
)
from clip_worker.errors import ImageUnavailableError, InvalidRequestError, TemporaryError
from clip_worker.version import __version__
from worker.sources.deadline import Deadline
from worker.sources.retry_after import retry_after_s

if TYPE_CHECKING:
    from worker.sources.deadline import Clock
    from worker.sources.http_connection import Dialer
    from worker.sources.ssrf_guard import AddressGuard

# 4xx that may not recur: time-out, too early, too many requests.
TEMPORARY_4XX = frozenset({408, 425, 429})


class UndeliveredError(Exception):
    """An attempt to post to a webhook failed.

    Attributes:
        reason: Why, to complete a sentence; without the URL.
        is_final: Whether another attempt would make no sense.
        has_hung: Whether it ended with a time-out.
        retry_after_s: Seconds that the server asked to wait, if it did.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_final: bool = False,
        has_hung: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_final = is_final
        self.has_hung = has_hung
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class WebhookSender:
    """Signs and posts events. Threads may share it.

    Attributes:
        keys: Those that sign, at least one: a post has a signature of each.
        guard: Resolves hosts and checks their addresses.
        dialer: Opens connections.
        timeout_s: Longest attempt, in seconds, from connecting to the answer's head.
        clock: Monotonic seconds.
        now: Unix time in seconds.
    """

    keys: Sequence[bytes]
    guard: AddressGuard
    dialer: Dialer
    timeout_s: float = 10.0
    clock: Clock = time.monotonic
    now: Clock = time.time

    def send(self, event_id: str, url: str, body: bytes) -> None:
        """Post an event. Redirects are not followed, and an answer's body is not read.

        Raises:
            UndeliveredError: The server did not answer with a status of success.
        """
        with self._translated_errors(), ExitStack() as cleanup:
            target = HttpUrl.parse(url)
            deadline = Deadline.after(self.timeout_s, self.clock)
            addresses = self.guard.permitted_addresses(target)
            connection = self.dialer.dial(target, addresses, deadline, cleanup)
            headers = self._headers(target, event_id, body)
            # A server that refuses a body may answer and close before it has all of it.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(
                    "POST", target.target, body, headers=headers, preload_content=False
                )
            response = cleanup.enter_context(closing(connection.getresponse()))
            self._check(response.status, response.headers.get("Retry-After"))

    def _headers(self, target: HttpUrl, event_id: str, body: bytes) -> dict[str, str]:
        timestamp = int(self.now())
        return {
            "Host": target.host_header,
            "User-Agent": f"clip-worker/{__version__}",
            "Content-Type": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
            ID_HEADER: event_id,
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: " ".join(
                signature(key, event_id, timestamp, body) for key in self.keys
            ),
        }

    def _check(self, status: int, retry_after: str | None) -> None:
        if 200 <= status < 300:
            return
        reason = f"the server answered with status {status}"
        if 300 <= status < 400:
            reason += ", and redirects are not followed"
        raise UndeliveredError(
            reason,
            is_final=400 <= status < 500 and status not in TEMPORARY_4XX,
            retry_after_s=retry_after_s(retry_after, self.now()),
        )

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except InvalidRequestError as error:
            raise UndeliveredError("its URL is not valid", is_final=True) from error
        except ImageUnavailableError as error:  # from the guard
            raise _refused(error) from error
        except TemporaryError as error:  # likewise
            raise UndeliveredError("the name server did not answer", has_hung=True) from error
        except NewConnectionError as error:  # before time-outs, of which it is a subclass
            raise UndeliveredError("the server can't be reached") from error
        except (TimeoutError, Urllib3TimeoutError) as error:
            raise UndeliveredError(
                f"the server did not answer within {self.timeout_s:g} s", has_hung=True
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise UndeliveredError(
                f"the server has no valid certificate for its name ({error.verify_message})"
            ) from error
        except (HTTPError, http.client.HTTPException, OSError) as error:
            raise UndeliveredError(
                "the server can't be reached, or closed the connection"
            ) from error


def _refused(error: ImageUnavailableError) -> UndeliveredError:
    if error.code == "FETCH_FORBIDDEN_ADDRESS":
        return UndeliveredError(
            "its host is not on the public internet, and an operator has not opened that network "
            "with CLIP_WORKER_ALLOW_NETWORKS",
            is_final=True,
        )
    return UndeliveredError("its host does not exist")
