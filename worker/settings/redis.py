"""Settings of Redis and the queue."""

from __future__ import annotations

from typing import Literal

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import BaseSettings

from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.contract.text import decoded
from clip_worker.redis.url import DEFAULT_REDIS_URL, redis_url_remedy
from worker.variables import ENV_PREFIX


class RedisSettings(BaseSettings):
    """Redis and the queue."""

    redis_url: str = Field(
        DEFAULT_REDIS_URL,
        validation_alias=AliasChoices(ENV_PREFIX + "REDIS_URL", "CELERY_BROKER_URL"),
        description="the broker, and results unless `CLIP_WORKER_RESULT_URL` is set; Celery's "
        "`CELERY_BROKER_URL` counts if this is unset",
    )
    result_url: str | None = Field(
        None,
        description="another Redis for results; all tasks then take the slower way through Celery",
        json_schema_extra={"unset": "the broker"},
    )
    queue: str = Field(DEFAULT_QUEUE, min_length=1, description="queue that tasks are taken from")
    result_ttl_s: float = Field(
        86_400.0,
        gt=0,
        description="how long a result is kept, unless its request asks for less (`result_ttl_s`)",
    )
    queue_path: Literal["auto", "batch", "stock"] = Field(
        "auto",
        description="`auto`: clip-worker's own queue path, or kombu's transport if Redis is too "
        "old; `batch`: its own path only; `stock`: kombu's transport",
    )
    lease_s: float = Field(
        10.0,
        ge=1,
        le=3600,
        description="time without a heartbeat after which a worker's messages run again",
    )
    max_deliveries: int = Field(
        4,
        ge=1,
        le=100,
        description="crashes of workers after which a message becomes a dead letter",
    )
    remote_control: bool = Field(
        default=True, description="whether `celery inspect` and `revoke` work"
    )
    visibility_timeout_s: float = Field(
        600.0,
        gt=0,
        description="kombu's transport only: as `lease_s`; must be more than `task_timeout_s`",
    )

    @property
    def results_url(self) -> str:
        """Where results go."""
        return self.result_url or self.redis_url

    @field_validator("redis_url", "result_url", "queue", mode="before")
    @classmethod
    def _decode(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = decoded(value)
        if text is None:
            raise ValueError("give text in UTF-8")
        return text

    @field_validator("redis_url", "result_url")
    @classmethod
    def _check_redis_url(cls, url: str | None) -> str | None:
        if url is not None and (remedy := redis_url_remedy(url)):
            raise ValueError(remedy)
        return url
