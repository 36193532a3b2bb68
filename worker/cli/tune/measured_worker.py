"""A worker without Redis, in the process in which `tune` measures one configuration."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from clip_engine.scoring.logits import logits, probabilities
from clip_engine.scoring.options import SOFTMAX
from clip_worker.errors import ServiceError
from worker.cli.tune import owners, resources
from worker.cli.tune.agreement import TOP
from worker.cli.tune.measurement import Collected, Facts, Round
from worker.metrics.instruments import Instruments
from worker.pipeline.image_task import TaggingRequest
from worker.runtime import gc_tuning
from worker.runtime.assembly import assemble, named_in_errors
from worker.runtime.cores import cores
from worker.runtime.device import VISIBLE, mig_list
from worker.runtime.state import POOL_START_S, load_model

if TYPE_CHECKING:
    from worker.settings import Settings

LEAST_SINGLE = 5  # images whose latency is taken
IDLE_S = 60.0
_POLL_S = 0.005


class _Usage(NamedTuple):
    """Seconds so far: of this worker's processes, of all programs together, and of the clock."""

    own_s: float | None
    busy_s: float | None
    wall_s: float


class MeasuredWorker:
    """The model, the preparation processes and the pipeline, as a worker assembles them.

    Args:
        settings: Of the worker.
        labels: Of every request.
        templates: Of every request.
        images: URIs of the sample.

    Raises:
        ServiceError: The model can't be loaded.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        labels: Sequence[str],
        templates: Sequence[str],
        images: Sequence[str],
    ) -> None:
        self._images = list(images)
        self._request = TaggingRequest(tuple(labels), tuple(templates), k=TOP)
        loaded = load_model(settings, None)
        # The same images are used again and again, and each is to be decoded and encoded.
        again = {"single_flight": False, "embedding_store": None}
        self._settings = loaded.settings.model_copy(update=again)
        self._device = loaded.device
        self._engine, self._batches_at_once = loaded.engine, loaded.batches_at_once
        self._pool, self._pipeline = assemble(
            self._settings,
            self._engine,
            batches_at_once=self._batches_at_once,
            begin=lambda messages, _most: messages,
            device_lost=_end,
            instruments=Instruments(),
            traces=None,
        )
        self._pool.start()
        if loaded.warm_up is None:
            with named_in_errors(settings):
                self._engine.warm()
        self._pipeline.start()
        if not self._pool.wait_until_ready(POOL_START_S):
            raise ServiceError(f"No preparation process was ready within {POOL_START_S:g} s.")
        gc_tuning.settle(settings.gc_threshold)

    def facts(self) -> Facts:
        """What the worker made of its settings."""
        settings, on_gpu = self._settings, self._device.name != "cpu"
        return Facts(
            device=self._device.name,
            same_device=_same_device(settings.device, self._device.name),
            gpu=torch.cuda.get_device_name(self._device.name) if on_gpu else None,
            gpus=torch.cuda.device_count() if on_gpu else 0,
            cores=cores(),
            model=self._engine.identity.name,
            digest=self._engine.identity.digest,
            precision=self._engine.model.precision,
            max_batch=self._engine.max_batch,
            replicas=self._batches_at_once,
            preparation_processes=settings.preparation_processes or cores(settings.workers),
            workers=settings.workers or 1,
        )

    def collect(self, seconds: float, count: int, path: str) -> Collected:
        """Encode at most `count` images of the sample and write their probabilities as `.npy`.

        The file has float32 `[N, L]`, without the images that can't be read, which are left out of
        all further measurements.

        Args:
            seconds: For how long more images are begun.
            count: The most.
            path: Of the file.
        """
        found = owners.features(
            self._pipeline,
            self._images[:count],
            self._request,
            seconds=seconds,
            in_flight=self._in_flight,
        )
        readable = sorted(found.embeddings)
        if readable:
            encoded = torch.tensor([found.embeddings[index] for index in readable])
            np.save(path, self._probabilities(encoded).numpy())
        self._images = [
            image for index, image in enumerate(self._images) if index not in found.failed
        ]
        return Collected(found.count, found.failed)

    def latency(self, seconds: float) -> list[float]:
        """Seconds that single images take, ascending."""
        return owners.one_by_one(
            self._pipeline, self._images, self._request, seconds=seconds, least=LEAST_SINGLE
        )

    def round(self, seconds: float) -> Round:
        """The rate with a full queue, and what it costs."""
        used: list[_Usage] = []
        counted: list[int] = []
        memory: list[int | None] = []

        def ends(images: int) -> None:
            used.append(self._usage())
            counted.append(images)
            memory.append(resources.peak_bytes(self._others()))

        rate = owners.full_queue(
            self._pipeline,
            self._images,
            self._request,
            seconds=seconds,
            in_flight=self._in_flight,
            begins=lambda: used.append(self._usage()),
            ends=ends,
        )
        self._wait_until_idle()
        own_s, busy_s, wall_s = (
            None if before is None or after is None else after - before
            for before, after in zip(*used, strict=True)
        )
        assert wall_s
        return Round(
            images=rate.images,
            seconds=rate.seconds,
            cpu_s=None if own_s is None else own_s / counted[0],
            memory_bytes=memory[0],
            gpu_bytes=self._gpu_bytes(),
            others=None if own_s is None or busy_s is None else (busy_s - own_s) / wall_s,
        )

    @property
    def _in_flight(self) -> int:
        """Twice what there are slots for, so that the queue is never empty."""
        return 2 * self._pool.capacity

    @torch.inference_mode()
    def _probabilities(self, encoded: torch.Tensor) -> torch.Tensor:
        """Softmax `[N, L]` of features `[N, D]`."""
        lists = self._engine.text_lists(self._request.labels, self._request.templates, SOFTMAX)
        text = self._engine.text_features([self._engine.labels.get(*each) for each in lists])
        return probabilities(logits(self._engine.model, encoded, text, SOFTMAX), SOFTMAX).labels

    def _wait_until_idle(self) -> None:
        """Until the batches that run have ended and nothing is prepared any more."""
        until = time.monotonic() + IDLE_S
        while self._pool.free_slots < self._pool.capacity or self._pool.stats()["waiting"]:
            if time.monotonic() > until:
                raise ServiceError(f"The worker was not idle {IDLE_S:g} s after a round.")
            time.sleep(_POLL_S)

    def _usage(self) -> _Usage:
        return _Usage(resources.cpu_s(self._others()), resources.busy_s(), time.monotonic())

    def _others(self) -> list[int]:
        """Process ids of the fork server and the preparation processes."""
        stats = self._pool.stats()
        processes = [each["pid"] for each in stats["processes"]]  # type: ignore[attr-defined]
        return [pid for pid in (stats["fork_server"], *processes) if isinstance(pid, int) and pid]

    def _gpu_bytes(self) -> int | None:
        if self._device.name == "cpu":
            return None
        return torch.cuda.max_memory_reserved(self._device.name)


def _same_device(wanted: str, found: str) -> str:
    """With `auto` and `cuda` the next worker would get the next GPU."""
    if ":" in wanted:
        return wanted
    visible = os.environ.get(VISIBLE, "")
    return f"cuda:{visible}" if mig_list(visible) else found


def _end(error: BaseException) -> None:
    """After the device was lost: what this process has measured since is worth nothing."""
    print(f"The device failed: {error}", flush=True)  # noqa: T201  # to the log
    os._exit(1)
