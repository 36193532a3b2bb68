"""Finds what a place for arriving images is: a folder, a bucket, or where notifications come."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, parse_qs, urlencode, urlsplit, urlunsplit

from clip_worker.errors import InvalidRequestError
from clip_worker.feeds.bucket_arrivals import POLL_S, BucketArrivals
from clip_worker.feeds.folder_arrivals import SETTLE_S, FolderArrivals
from clip_worker.feeds.notifications.arrivals import NotificationArrivals
from clip_worker.feeds.notifications.authentication import Authentication
from clip_worker.feeds.notifications.redis_list import RedisListSource
from clip_worker.feeds.notifications.sqs import SqsSource
from clip_worker.feeds.notifications.webhook import Endpoint, WebhookSource
from clip_worker.quoting import quote, shown_uri
from clip_worker.redis.url import check_redis_url

if TYPE_CHECKING:
    from clip_worker.feeds.arrivals import Arrivals

BAD_PLACE = "BAD_PLACE"
LOCAL = "localhost"
EXAMPLES = (
    "a folder, s3://bucket/prefix/, sqs://queue, redis://host:6379/0?list=key or "
    "webhook://0.0.0.0:8080/path"
)


@dataclass(frozen=True, slots=True)
class PlaceOptions:
    """How a place is watched.

    Attributes:
        inbox: File for notifications that were posted and are not done.
        settle_s: Of a folder: how long a file must stay as it is, in seconds, where the system
            can't tell whether it is being written.
        poll_s: Of a bucket: seconds from one listing to the next.
        secret: Of a webhook: what its senders know; empty if there is none.
    """

    inbox: Path
    settle_s: float = SETTLE_S
    poll_s: float = POLL_S
    secret: str = ""


def open_place(place: str, options: PlaceOptions) -> Arrivals:
    """What a place is, by its spelling and what is on the disk; nothing is connected to.

    Raises:
        InvalidRequestError: `BAD_PLACE`: it is not a place that can be watched; `BAD_REDIS_URL`.
    """
    if "://" not in place:
        return _folder(place, options)
    try:
        url = urlsplit(place)
        _ = url.port
    except ValueError as error:
        # Without what the parser says, which may contain a part of a password.
        reason = "it is not a valid URL (check the port, and write / in a password as %2F)"
        raise _bad(place, reason) from error
    match url.scheme:
        case "s3":
            key = place.partition("://")[2].partition("/")[2]  # '?' and '#' may be part of it
            return BucketArrivals(url.netloc, key, poll_s=options.poll_s)
        case "sqs":
            return NotificationArrivals(_sqs(place, url))
        case "redis" | "rediss":
            return NotificationArrivals(_redis_list(place, url))
        case "webhook":
            return NotificationArrivals(_webhook(place, url, options))
    raise _bad(place, f"its scheme {quote(url.scheme)} is not known")


def _folder(place: str, options: PlaceOptions) -> Arrivals:
    if not Path(place).is_dir():
        raise _bad(place, "there is no such folder")
    return FolderArrivals(Path(place), settle_s=options.settle_s)


def _sqs(place: str, url: SplitResult) -> SqsSource:
    query = _query(place, url, {"account", "region"})
    queue = url.netloc or url.path
    if not queue or url.path.strip("/"):
        raise _bad(place, "it has to be sqs://queue, perhaps with ?region=... and &account=...")
    return SqsSource(queue, query.get("account"), query.get("region"))


def _redis_list(place: str, url: SplitResult) -> RedisListSource:
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    key = query.pop("list", "")
    if not key:
        raise _bad(place, "it has no ?list=, the key that MinIO was configured with")
    server = urlunsplit(url._replace(query=urlencode(query)))
    return RedisListSource(check_redis_url(server), key)


def _webhook(place: str, url: SplitResult, options: PlaceOptions) -> WebhookSource:
    if not url.hostname or url.port is None or url.username or url.query:
        raise _bad(place, "it has to be webhook://address:port/path")
    if not options.secret and not _is_local(url.hostname):
        raise _bad(
            place,
            "others can reach that address, and there is no secret: set CLIP_WORKER_WATCH_SECRET, "
            "or listen on 127.0.0.1",
        )
    endpoint = Endpoint(url.hostname, url.port, url.path or "/")
    return WebhookSource(endpoint, options.inbox, _authentication(options.secret))


def _authentication(secret: str) -> Authentication | None:
    try:
        return Authentication(secret) if secret else None
    except ValueError as error:
        raise InvalidRequestError(
            f"CLIP_WORKER_WATCH_SECRET is not valid: {error}.", BAD_PLACE
        ) from error


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == LOCAL


def _query(place: str, url: SplitResult, known: set[str]) -> dict[str, str]:
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    if unknown := sorted(query.keys() - known):
        raise _bad(place, f"{unknown[0]} is not one of {', '.join(sorted(known))}")
    return query


def _bad(place: str, reason: str) -> InvalidRequestError:
    shown = shown_uri(place) if "://" in place else quote(place)
    return InvalidRequestError(f"{shown} can't be watched: {reason}; give {EXAMPLES}.", BAD_PLACE)
