"""Builds what a client consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from clip_worker.client.arguments import name_of
from clip_worker.client.publisher import Publisher
from clip_worker.client.push_plan import PushPlan, QueueLimit
from clip_worker.client.result_reader import ResultReader
from clip_worker.client.sign_tasks import parsed_keys
from clip_worker.client.submission import Submission
from clip_worker.client.subscription import MOST_IDLE, MOST_SUBSCRIPTIONS
from clip_worker.client.task_encoder import TaskEncoder
from clip_worker.contract.keys import QueueKeys
from clip_worker.redis.celery_app import RedisCelery, client_app
from clip_worker.redis.dead_letters import DeadLetters
from clip_worker.redis.label_sets import LabelSets
from clip_worker.redis.url import check_redis_url, connect

if TYPE_CHECKING:
    from redis import Redis


@dataclass(frozen=True)
class ClientParts:
    """The collaborators of a `Client`.

    Attributes:
        app: A Celery application with the same queue and result backend.
        redis: The Redis with the queue.
        submission: Sends requests.
        results: Reads results.
        label_sets: Stores label sets.
        dead_letters: Of the queue.
    """

    app: RedisCelery
    redis: Redis
    submission: Submission
    results: ResultReader
    label_sets: LabelSets
    dead_letters: DeadLetters

    @classmethod
    def build(  # noqa: PLR0913, PLR0917  # as for the client
        cls,
        url: str,
        result_url: str | None,
        queue: str,
        limit: QueueLimit | None,
        result_ttl_s: float,
        signing_keys: str | None,
    ) -> ClientParts:
        """The parts of a client, which connect when they are first used; see `Client`."""
        url, results_url = check_redis_url(url), check_redis_url(result_url or url)
        name_of("queue", queue)
        signing = () if signing_keys is None else parsed_keys(signing_keys)
        app = client_app(url, results_url, queue)
        redis = connect(url)
        results = redis if results_url == url else connect(results_url)
        subscribed = connect(results_url, most=MOST_SUBSCRIPTIONS + MOST_IDLE)
        keys = QueueKeys(queue)
        return cls(
            app,
            redis,
            Submission(
                TaskEncoder(queue, next(iter(signing), None)),
                Publisher(redis, PushPlan(url, queue, limit, once_s=result_ttl_s)),
            ),
            ResultReader(results, subscribed, results_url, app, result_ttl_s, sent=(redis, keys)),
            LabelSets(redis),
            DeadLetters(
                redis,
                url,
                queue,
                None if results is redis else results,
                signing,
            ),
        )

    def close(self) -> None:
        """Close all connections."""
        self.results.close()
        self.redis.close()
