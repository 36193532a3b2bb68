"""Notifications that are posted to this process."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

from clip_worker.errors import InvalidRequestError, ServiceError, TemporaryError
from clip_worker.feeds.notifications.authentication import Authentication
from clip_worker.feeds.notifications.http_server import PostServer
from clip_worker.feeds.notifications.inbox import Inbox
from clip_worker.feeds.notifications.parse import parse_notification
from clip_worker.feeds.notifications.source import Message
from clip_worker.quoting import quote

logger = logging.getLogger(__name__)

WAIT_S = 1.0
MOST = 50  # messages that are read at a time, of up to 1 MiB
_POLL_S = 0.1  # until the server's thread sees that it should stop


class Endpoint(NamedTuple):
    """Where notifications are posted to.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        path: Of the URL.
    """

    host: str
    port: int
    path: str


class WebhookSource:
    """Answers 204 to a notification when it is stored durably.

    Args:
        endpoint: Where it listens.
        inbox: Where notifications are stored.
        authentication: Of the senders; None accepts all.
    """

    def __init__(
        self, endpoint: Endpoint, inbox: Path, authentication: Authentication | None
    ) -> None:
        self._endpoint = endpoint
        self._inbox = Inbox(inbox)
        self._authentication = authentication
        self._last = 0  # number of the last message that was received
        self._has_more = threading.Event()
        self._server: PostServer | None = None
        self._thread: threading.Thread

    @property
    def port(self) -> int:
        """The port that it listens on, once it is open."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def open(self) -> None:
        """Open the file and the port; see `MessageSource`."""
        self._inbox.open()
        host, port, path = self._endpoint
        try:
            self._server = PostServer((host, port), path, self._accept)
        except OSError as error:
            raise ServiceError(
                f"Can't listen on {quote(host)}, port {port}: {error.strerror}; name another one.",
                "FEED_FAILED",
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="webhook", daemon=True
        )
        self._thread.start()

    def receive(self) -> Sequence[Message]:
        """Read messages from the file; see `MessageSource`."""
        self._has_more.clear()
        messages = self._inbox.after(self._last, MOST)
        if not messages and self._has_more.wait(WAIT_S):
            messages = self._inbox.after(self._last, MOST)
        if messages:
            self._last = int(messages[-1].receipt)
        return messages

    def keep(self, receipts: Sequence[str]) -> None:
        """They stay in the file."""

    def delete(self, receipts: Sequence[str]) -> None:
        """Delete messages; see `MessageSource`."""
        self._inbox.delete(receipts)

    def reject(self, message: Message) -> None:
        """Delete a message: it was read before it was stored, perhaps by an older version."""
        self._inbox.delete([message.receipt])

    def close(self, receipts: Sequence[str]) -> None:  # noqa: ARG002  # they stay in the file
        """Close port and file."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._inbox.close()

    def _accept(self, headers: Mapping[str, str], token: str, body: bytes | None) -> HTTPStatus:
        check = self._authentication
        is_due = check is not None and check.needs_body == (body is not None)
        if check is not None and is_due and not check.accepts(headers, token, body or b""):
            return HTTPStatus.UNAUTHORIZED
        return HTTPStatus.CONTINUE if body is None else self._store(body)

    def _store(self, body: bytes) -> HTTPStatus:
        if confirmation := _subscription(body):
            logger.warning("To receive notifications of SNS, open %s", confirmation)
            return HTTPStatus.NO_CONTENT
        try:
            if parse_notification(text := body.decode()):
                self._inbox.add(text)
        except UnicodeDecodeError:
            return HTTPStatus.BAD_REQUEST
        except InvalidRequestError as error:
            logger.warning("%s", error)
            return HTTPStatus.BAD_REQUEST
        except TemporaryError as error:
            logger.error("%s The sender has to try again.", error)  # noqa: TRY400  # one line
            return HTTPStatus.SERVICE_UNAVAILABLE
        self._has_more.set()
        return HTTPStatus.NO_CONTENT


def _subscription(body: bytes) -> str | None:
    """The URL that confirms a subscription of SNS's. It is only shown: who posts may be anyone."""
    if b"SubscriptionConfirmation" not in body:
        return None
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("Type") != "SubscriptionConfirmation":
        return None
    return repr(str(message.get("SubscribeURL")))[:2000]
