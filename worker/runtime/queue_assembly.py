"""Builds the queue consumer of a worker from its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery.app.task import Context
from celery.worker import state

from clip_worker.contract import CLASSIFY, CLASSIFY_MANY
from clip_worker.contract.keys import QueueKeys, upload_key
from clip_worker.contract.requests import asked_ttl_s
from clip_worker.contract.search import SEARCH
from clip_worker.contract.signatures import SignatureCheck
from clip_worker.contract.uri import find_uploads
from clip_worker.redis.url import connect
from worker.celery import app
from worker.delivery.policy import DeliveryPolicy
from worker.delivery.prefetch import Prefetch
from worker.delivery.queue_consumer import QueueConsumer
from worker.delivery.redis_queue import RedisQueue
from worker.metrics.instruments import Instruments
from worker.runtime.webhook_assembly import webhook_of
from worker.webhooks.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.delivery.delivery import Delivery, Uses
    from worker.settings import Settings
    from worker.tracing.traces import Traces
    from worker.webhooks.poster import WebhookPoster

LEAST_CEILING = 1024
FLOOR_A_REPLICA = 4


def build_queue_consumer(  # noqa: PLR0913  # what a process is given at its start, by name
    settings: Settings,
    *,
    queues: Sequence[str],
    worker: str,
    replicas: int,
    watch: Callable[[], None],
    polled: Callable[[], None] = lambda: None,
    instruments: Instruments | None = None,
    traces: Traces | None = None,
    poster: WebhookPoster | None = None,
) -> QueueConsumer:
    """A consumer that has not been started.

    Args:
        settings: Of this worker.
        queues: Names of the queues to take from, which share the room evenly.
        worker: This worker's name.
        replicas: Batches that run at the same time.
        watch: Called about twice a second, on the heartbeat's thread.
        polled: Called about twice a second or more often, on the poller's thread.
        instruments: Count what happens.
        traces: Trace tasks; None if nobody wants that.
        poster: Posts to webhooks; None where that is not possible.
    """
    counting = instruments or Instruments()

    def open_queue(name: str) -> RedisQueue:
        redis, keys = connect(settings.redis_url), QueueKeys(name)
        return RedisQueue(
            redis,
            keys,
            lease_s=settings.lease_s,
            result_ttl_s=settings.result_ttl_s,
            most_message_bytes=settings.max_message_bytes,
            posts_due=poster.add(Outbox(redis, keys)) if poster else lambda: None,
            answered=counting.redis_answered,
        )

    return QueueConsumer(
        queues=queues,
        open_queue=open_queue,
        prefetch=Prefetch(
            floor=FLOOR_A_REPLICA * replicas,
            ceiling=settings.concurrency or max(LEAST_CEILING, 8 * settings.largest_batch),
            initial=2 * settings.largest_batch,
            batch=settings.largest_batch,
        ),
        lease_s=settings.lease_s,
        policy=_policy(settings, posts_webhooks=poster is not None),
        watch=watch,
        polled=polled,
        instruments=counting,
        traces=traces,
        worker=worker,
    )


def tell_dependents(delivery: Delivery, error: BaseException) -> None:
    """Let Celery call a task's errbacks, and end its chord and the rest of its chain.

    Raises:
        Exception: Whatever Celery's backend raises.
    """
    embed = delivery.arguments.embed
    if any(embed.values()):
        request = Context(delivery.envelope.headers, **embed)
        app.backend.mark_as_failure(delivery.id, error, request=request)


def images_of(delivery: Delivery) -> int:
    """How many images a message asks about, as far as it can be read."""
    return max(1, len(_images(delivery))) if delivery.envelope.task == CLASSIFY_MANY else 1


def uploads_of(delivery: Delivery) -> Uses:
    """The uploads among a task's images: their keys, with the task and the URI's claim as users."""
    return [
        (upload_key(upload.digest), user)
        for upload in find_uploads(_images(delivery))
        for user in (delivery.id, upload.claim)
        if user
    ]


def _images(delivery: Delivery) -> Sequence[object]:
    """The images of one of our tasks, unchecked."""
    task, (args, kwargs, _) = delivery.envelope.task, delivery.arguments
    if task == SEARCH:
        return (kwargs.get("image"),)
    if task == CLASSIFY:
        return (kwargs.get("image", args[0] if args else None),)
    images = kwargs.get("images", args[0] if args else None) if task == CLASSIFY_MANY else None
    return images if isinstance(images, list) else ()


def result_ttl_of(delivery: Delivery) -> int | None:
    """How long one of our tasks asks for its result to be kept, in seconds; None if it does not."""
    is_ours = delivery.envelope.task in (CLASSIFY, CLASSIFY_MANY)
    return asked_ttl_s(delivery.arguments.kwargs) if is_ours else None


def _signatures(settings: Settings) -> SignatureCheck | None:
    keys = settings.parsed_signing_keys
    return SignatureCheck(keys, settings.signing_max_age_s) if keys else None


def _policy(settings: Settings, *, posts_webhooks: bool) -> DeliveryPolicy:
    return DeliveryPolicy(
        tasks=(CLASSIFY, CLASSIFY_MANY),
        max_deliveries=settings.max_deliveries,
        task_timeout_s=settings.task_timeout_s,
        size_of=images_of,
        revoked=state.revoked,
        # One script ends a task, so its result has to lie where its message lies.
        everything_in_celery=settings.results_url != settings.redis_url,
        tell_dependents=tell_dependents,
        uses_of=uploads_of,
        result_ttl_of=result_ttl_of,
        signatures=_signatures(settings),
        webhook_of=webhook_of if posts_webhooks else lambda _delivery: "",
        is_registered=app.tasks.__contains__,
        task_of=app.tasks.get,
    )
