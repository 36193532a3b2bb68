"""Builds what posts to webhooks, from a worker's settings, and says which tasks have one."""

from __future__ import annotations

import logging
import ssl
from typing import TYPE_CHECKING

from clip_worker.contract import CLASSIFY, CLASSIFY_MANY
from clip_worker.contract.webhooks import validate_webhook
from clip_worker.errors import InvalidRequestError, ServiceError
from worker.delivery.throttled_warning import ThrottledWarning
from worker.sources import FetchPolicy
from worker.sources.http_connection import Dialer
from worker.sources.ssrf_guard import AddressGuard
from worker.webhooks.poster import WebhookPoster
from worker.webhooks.schedule import RetrySchedule
from worker.webhooks.sender import WebhookSender

if TYPE_CHECKING:
    from worker.delivery.delivery import Delivery
    from worker.settings import Settings

logger = logging.getLogger(__name__)

CONNECT_S = 5.0  # to one address, and again for its TLS handshake


def build_poster(settings: Settings, worker: str) -> WebhookPoster | None:
    """What posts to webhooks; None without a secret to sign with."""
    if not settings.webhook_secret:
        return None
    policy = FetchPolicy(
        allow_networks=settings.allow_networks, allow_private=settings.allow_private
    )
    sender = WebhookSender(
        settings.webhook_keys,
        AddressGuard(policy),
        Dialer(ssl.create_default_context(), CONNECT_S),
        settings.webhook_timeout_s,
    )
    schedule = RetrySchedule(
        attempts=settings.webhook_attempts,
        first_s=settings.webhook_retry_s,
        total_s=settings.webhook_total_s,
    )
    return WebhookPoster(
        sender.send,
        schedule,
        timeout_s=settings.webhook_timeout_s,
        insist=ThrottledWarning(logger, "Webhooks that were posted can't be noted").insist,
        worker=worker,
    )


def webhook_of(delivery: Delivery) -> str:
    """The webhook that one of our tasks names; empty if it names none, or not a valid one."""
    webhook = delivery.arguments.kwargs.get("webhook")
    if not isinstance(webhook, str) or delivery.envelope.task not in (CLASSIFY, CLASSIFY_MANY):
        return ""
    try:
        return validate_webhook(webhook)
    except InvalidRequestError:  # its task fails with that
        return ""


def check_webhook(webhook: str | None, delivery: Delivery | None, settings: Settings) -> None:
    """Refuse a request with a webhook where this worker would not post to it.

    Args:
        webhook: The request's webhook.
        delivery: The message; None on kombu's transport.
        settings: Of this worker.

    Raises:
        ServiceError: `WEBHOOKS_DISABLED`.
    """
    if webhook is None:
        return
    if not settings.webhook_secret:
        raise ServiceError(
            "The request has a webhook, but this worker has no secret to sign with; set "
            "CLIP_WORKER_WEBHOOK_SECRET on the workers, or send the request without webhook.",
            "WEBHOOKS_DISABLED",
        )
    if delivery is None:
        raise ServiceError(
            "The request has a webhook, but this worker uses kombu's transport, which has none; "
            "use Redis 6.2 or later and CLIP_WORKER_QUEUE_PATH=auto, or send the request without "
            "webhook.",
            "WEBHOOKS_DISABLED",
        )
