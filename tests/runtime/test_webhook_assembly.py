"""Which requests with a webhook a worker refuses, and what it builds to post to the others."""

from __future__ import annotations

import pytest
from support.failure import failure_of
from support.webhook_receiver import SECRET

from worker.delivery.delivery import Delivery
from worker.delivery.redis_queue import Lease
from worker.runtime.webhook_assembly import build_poster, check_webhook
from worker.settings import Settings

URL = "https://example.com/hook"
SIGNING = Settings(webhook_secret=(SECRET,))
DELIVERY = Delivery(Lease(None, 0.0), "tag", (), b"")  # type: ignore[arg-type]  # of no queue


@pytest.mark.parametrize(
    ("settings", "delivery", "remedy"),
    [
        (Settings(), DELIVERY, "set CLIP_WORKER_WEBHOOK_SECRET on the workers"),
        (Settings(), None, "set CLIP_WORKER_WEBHOOK_SECRET on the workers"),
        (SIGNING, None, "use Redis 6.2 or later and CLIP_WORKER_QUEUE_PATH=auto"),
    ],
    ids=["no secret", "neither", "kombu's transport"],
)
def test_a_webhook_that_would_not_be_posted_to_is_refused_with_the_remedy(
    settings: Settings, delivery: Delivery | None, remedy: str
) -> None:
    failure = failure_of(check_webhook, URL, delivery, settings)
    assert failure.code == "WEBHOOKS_DISABLED"
    assert remedy in failure.message
    check_webhook(None, delivery, settings)


def test_with_a_secret_a_webhook_is_posted_to() -> None:
    check_webhook(URL, DELIVERY, SIGNING)
    poster = build_poster(SIGNING, "w")
    assert poster is not None
    assert poster.stats() == {"waiting": 0, "posted": 0, "retried": 0, "failed": 0}
    assert build_poster(Settings(), "w") is None
