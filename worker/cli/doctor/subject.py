"""What is examined: the settings of a worker that would be started here, and its Redis."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from worker.cli.doctor.examined_redis import ExaminedRedis
from worker.extra import missing_extra

if TYPE_CHECKING:
    from worker.settings import Settings


class Subject:
    """One worker, before it is started.

    Args:
        redis_url: Redis of its queue; may be invalid.
        queue: Name of the queue.
        environment: None for this process's.
    """

    def __init__(
        self, redis_url: str, queue: str, environment: Mapping[str, str] | None = None
    ) -> None:
        self.redis_url = redis_url
        self.queue = queue
        self.environment = os.environ if environment is None else environment
        self.redis = ExaminedRedis(redis_url)

    @cached_property
    def missing(self) -> str | None:
        """A sentence, if only the client is installed."""
        return missing_extra("This check")

    @cached_property
    def settings(self) -> Settings | str:
        """The worker's settings, or the lines that say what is wrong with them."""
        from worker.settings import Settings, SettingsError

        try:
            return Settings.load(redis_url=self.redis_url, queue=self.queue)
        except SettingsError as error:
            return str(error)
