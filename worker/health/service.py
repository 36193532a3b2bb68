"""The health of this process, with what watches and tells it; started before anything else."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from clip_worker.errors import ServiceError
from worker.health import paths
from worker.health.health import Condition, Health
from worker.health.http_server import Answer, HttpServer
from worker.health.redis_watch import RedisWatch

if TYPE_CHECKING:
    from worker.settings import Settings


def hand_over(service: HealthService, sender: Any, **_: object) -> None:
    """Leave a service that has been started to a Celery worker; for its signal `worker_init`."""
    sender.clip_worker_health = service


def health_service(sender: Any) -> HealthService | None:
    """The service that was handed over to a Celery worker, if one was."""
    service: HealthService | None = getattr(sender, "clip_worker_health", None)
    return service


class HealthService:
    """Watches Redis, and serves the metrics port if one is set.

    Args:
        settings: Of this worker.
        workers: How many workers the supervisor of this one runs; 1 without a supervisor.

    Attributes:
        health: What is told.
        port: The metrics port; None for none.
        registry: What `/metrics` shows; collectors may be added at any time.
    """

    def __init__(self, settings: Settings, *, workers: int = 1) -> None:
        self.health = Health()
        self.registry = CollectorRegistry()
        self._workers = workers
        urls = dict.fromkeys((settings.redis_url, settings.results_url))
        self._watch = RedisWatch(urls, self.health)
        self.port, self._address = settings.metrics_port, settings.metrics_address
        self._server = self.port and HttpServer(
            self._address, self.port, self._routes(), {paths.METRICS: self._metrics}
        )
        self._is_started = False

    def start(self) -> None:
        """Start both, unless that was done.

        Raises:
            ServiceError: `METRICS_PORT`: the port can't be opened; one sentence.
        """
        if self._is_started:
            return
        self._is_started = True
        if self._server:
            try:
                self._server.start()
            except OSError as error:
                raise ServiceError(self._refusal(error), "METRICS_PORT") from error
        self._watch.start()

    def stop(self) -> None:
        """End both."""
        self._watch.stop()
        if self._server:
            self._server.stop()

    def _routes(self) -> dict[str, Callable[[], Answer]]:
        return {
            paths.LIVE: lambda: self._answer(lambda condition: condition.is_live),
            paths.READY: lambda: self._answer(lambda condition: condition.is_ready),
        }

    def _answer(self, is_well: Callable[[Condition], bool]) -> Answer:
        condition = self.health.condition()
        status = HTTPStatus.OK if is_well(condition) else HTTPStatus.SERVICE_UNAVAILABLE
        body = {
            "state": condition.state,
            "sentence": condition.sentence,
            "workers": self._workers,
        }
        return Answer(status, json.dumps(body).encode() + b"\n")

    def _metrics(self) -> Answer:
        return Answer(HTTPStatus.OK, generate_latest(self.registry), CONTENT_TYPE_LATEST)

    def _refusal(self, error: OSError) -> str:
        # `socket` adds the address to some reasons; host names that don't resolve have no errno.
        reason = os.strerror(number) if (number := error.errno or 0) > 0 else error.strerror
        return (
            f"The metrics port {self.port} of {self._address} can't be opened: {reason}. "
            "Set CLIP_WORKER_METRICS_PORT to a free port and CLIP_WORKER_METRICS_ADDRESS to an "
            "address of this machine, or unset both."
        )
