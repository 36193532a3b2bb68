"""Posts each row to a webhook, signed as Standard Webhooks specifies."""

from __future__ import annotations

import hashlib
import http.client
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

from clip_worker.contract.http_url import HttpUrl
from clip_worker.contract.webhooks import (
    ID_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    signature,
)
from clip_worker.sinks.failures import sink_failed
from clip_worker.sinks.record import record_json
from clip_worker.sinks.row import Row
from clip_worker.version import __version__

THREADS = 8
TIMEOUT_S = 10.0  # to connect, and for each answer
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0, 60.0)
MOST_ASKED_S = 300.0  # that a server may ask for with Retry-After

TEMPORARY_4XX = frozenset({408, 425, 429})


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt came to.

    Attributes:
        reason: Why it failed, to complete a sentence; empty if it did not.
        may_pass: Whether another attempt makes sense.
        asked_s: Seconds that the server asked to wait.
    """

    reason: str = ""
    may_pass: bool = True
    asked_s: float = 0.0


class WebhookSink:
    """Posts a row's record, a few rows at a time, and again until the server answers with 2xx.

    The `webhook-id` derives from the run and the row's key, so a row that is posted again after a
    crash has the same one, and the receiver can ignore it. A position is the name of the run.

    Args:
        url: An http or https URL. It is the operator's, so any address is allowed; redirects are
            not followed.
        keys: Those that sign, at least one: a post has a signature of each.
        pauses_s: Seconds between attempts.
        wait: Waits for so many seconds, or until `close`; whether it is that.
        now: Unix time in seconds.

    Raises:
        InvalidRequestError: `BAD_URI`: the URL is not valid.
    """

    def __init__(
        self,
        url: str,
        keys: Sequence[bytes],
        *,
        pauses_s: Sequence[float] = PAUSES_S,
        wait: Callable[[float], bool] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._shown = url
        self._url = HttpUrl.parse(url)
        self._keys = keys
        self._pauses_s = pauses_s
        self._closed = threading.Event()
        self._wait = wait or self._closed.wait
        self._now = now
        self._run = ""
        self._threads: ThreadPoolExecutor | None = None

    def open(self, position: str | None) -> None:
        """See `Sink.open`."""
        self._run = position or secrets.token_hex(8)
        self._closed.clear()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook-sink")

    def write(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Post rows, and return when all have arrived. See `Sink.write`."""
        assert self._threads is not None
        for reason in self._threads.map(self._deliver, rows):
            if reason:
                raise sink_failed(self._shown, reason, "mend the receiver")
        return ()

    def commit(self) -> str:
        """See `Sink.commit`."""
        return self._run

    def close(self) -> None:
        """See `Sink.close`."""
        self._closed.set()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def _deliver(self, row: Row) -> str:
        """Post a row until it arrives; why it did not, if it did not."""
        event_id = event_id_of(self._run, row.item.key)
        body = record_json(row).encode()
        answer = self._post(event_id, body)
        for pause_s in self._pauses_s:
            if not (answer.reason and answer.may_pass):
                break
            if self._wait(max(pause_s, answer.asked_s)):
                break
            answer = self._post(event_id, body)
        return answer.reason

    def _post(self, event_id: str, body: bytes) -> Answer:
        try:
            with closing(self._connection()) as connection:
                connection.request(
                    "POST", self._url.target, body, headers=self._headers(event_id, body)
                )
                response = connection.getresponse()
                return _answer(response.status, response.headers.get("Retry-After"))
        except TimeoutError:
            return Answer(f"the server did not answer within {TIMEOUT_S:g} s")
        except ssl.SSLCertVerificationError as error:
            return Answer(f"the server has no valid certificate ({error.verify_message})")
        except (OSError, http.client.HTTPException):
            return Answer("the server can't be reached, or closed the connection")

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._url.host, self._url.port
        if self._url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)

    def _headers(self, event_id: str, body: bytes) -> dict[str, str]:
        timestamp = int(self._now())
        signatures = (signature(key, event_id, timestamp, body) for key in self._keys)
        return {
            "User-Agent": f"clip-worker/{__version__}",
            "Content-Type": "application/json",
            "Connection": "close",
            ID_HEADER: event_id,
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: " ".join(signatures),
        }


def event_id_of(run: str, key: str) -> str:
    """The `webhook-id` of a row: the same whenever it is posted.

    >>> event_id_of("3f2a", "cat.jpg")
    'msg_9c31fb0c46f5dbfdff2b8e4c'
    """
    digest = hashlib.sha256(f"{run}\0{key}".encode(errors="surrogatepass")).hexdigest()
    return f"msg_{digest[:24]}"


def _answer(status: int, retry_after: str | None) -> Answer:
    if 200 <= status < 300:
        return Answer()
    asked_s = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
    return Answer(
        f"the server answered with status {status}",
        may_pass=not 400 <= status < 500 or status in TEMPORARY_4XX,
        asked_s=min(asked_s, MOST_ASKED_S),
    )
