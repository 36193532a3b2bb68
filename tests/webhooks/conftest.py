"""What the tests of webhooks share: an outbox in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from support.queue_state import KEYS
from support.webhook_post import POST

from worker.webhooks.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.webhooks.post import WebhookPost


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    """A client of an empty Redis."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def outbox(server: redis.Redis) -> Outbox:
    return Outbox(server, KEYS)


@pytest.fixture
def put(server: redis.Redis) -> Callable[..., None]:
    """Puts a post into the outbox, due at a Unix time."""

    def put(event_id: str, due: float = 0.0, post: WebhookPost = POST) -> None:
        server.hset(KEYS.webhook_posts, event_id, post.encode())
        server.zadd(KEYS.webhooks, {event_id: due})

    return put
