"""A pipeline over a tiny engine, whose fetches and model runs a test holds in its hand."""

from __future__ import annotations

import io
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from support.image_zoo import photo

from clip_worker.contract import Classification
from clip_worker.errors import ClipWorkerError
from worker.pipeline.error_translation import translate
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.pipeline import Pipeline
from worker.preparation.records import ImageRequest, PreparedImage
from worker.sources.reservation import Reserve, unlimited

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from clip_engine.engine import Engine

LIMIT_S = 60.0  # on a busy machine
NOW = 1_000_000.0
LABELS = ("cat", "dog", "tree")
SLOTS = 128


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    photo((50, 40), seed).save(file, "JPEG", quality=95)
    return file.getvalue()


class FakeFetcher:
    """Gives what the test put under a URI: bytes, or an error that it raises."""

    def __init__(self) -> None:
        self.pictures: dict[str, bytes | BaseException] = {}
        self.fetched: list[str] = []

    def fetch(self, uri: str, reserve: Reserve = unlimited) -> bytes:
        self.fetched.append(uri)
        picture = self.pictures[uri]
        if isinstance(picture, BaseException):
            raise picture
        reserve(len(picture))
        return picture


class ThreadsPool:
    """Prepares images as the preparation pool does, on threads of this process."""

    def __init__(self, engine: Engine, fetcher: Any) -> None:
        side = engine.preprocessor.transform.resolution
        self.images = torch.zeros((SLOTS, 3, side, side), dtype=torch.uint8)
        self.fetcher = fetcher
        self.on_prepared: Callable[[Sequence[PreparedImage]], None] = lambda _: None
        self.free = list(range(SLOTS))
        self._room = threading.Condition()
        self._engine = engine
        self._threads = ThreadPoolExecutor(4)

    def submit(self, requests: Sequence[ImageRequest]) -> None:
        for request in requests:
            self._threads.submit(self._prepare, request)

    def release(self, slots: Sequence[int]) -> None:
        with self._room:
            assert not set(slots) & set(self.free), "a slot is released once"
            self.free += slots
            self._room.notify_all()

    def close(self) -> None:
        self._threads.shutdown(wait=True)

    def _prepare(self, request: ImageRequest) -> None:
        self.on_prepared([self._prepared(request)])

    def _prepared(self, request: ImageRequest) -> PreparedImage:
        try:
            data = request.data
            if data is None:
                data = self.fetcher.fetch(request.uri, unlimited)
            pixels = self._engine.prepare(data)
        except BaseException as error:  # noqa: BLE001  # as the pool: it comes back with the image
            reported = translate(error, request.uri)
            return PreparedImage(request.key, None, reported, 0.001, 0.001)
        with self._room:
            assert self._room.wait_for(lambda: self.free, LIMIT_S)
            slot = self.free.pop()
        self.images[slot] = pixels
        return PreparedImage(request.key, slot, None, 0.001, 0.001)


class WatchedEngine:
    """The engine, with an eye on its model runs, which the test may hold or break."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.gate = threading.Event()  # holds the runs
        self.gate.set()
        self.begun = threading.Semaphore(0)  # a count of the runs that came to the gate
        self.batches: list[int] = []
        self.fail_with: BaseException | None = None

    def encode_pixels(self, pixels: Sequence[Tensor]) -> Tensor:
        self.begun.release()
        assert self.gate.wait(LIMIT_S)
        self.batches.append(len(pixels))
        if self.fail_with is not None:
            raise self.fail_with
        return self._engine.encode_pixels(pixels)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class FutureOwner:
    """Ends a future with a task's result, as its caller would read it."""

    def __init__(self) -> None:
        self.future: Future[Classification] = Future()

    def finished(self, tasks: Sequence[ImageTask]) -> None:
        [task] = tasks
        if task.error is None:
            self.future.set_result(Classification.model_validate(task.result))
        else:
            self.future.set_exception(task.error)


@dataclass(eq=False)
class FakeMessage:
    """The message of an image task."""

    name: str = "one"
    tenant: str = ""
    crashes: tuple[object, ...] = ()
    ended: bool = False
    progressed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def log_fields(self, code: str | None = None) -> dict[str, str]:
        return {"task_id": "a task", "code": code or ""}

    def progress(self) -> None:
        self.progressed.release()


class Bench:
    """A pipeline over a tiny engine."""

    def __init__(self, engine: Engine, fetcher: Any = None, **collaborators: Any) -> None:
        self.engine = WatchedEngine(engine)
        self.fetcher = fetcher or FakeFetcher()
        self.pool = ThreadsPool(engine, self.fetcher)
        self.now_s = NOW
        given = {
            "engine": self.engine,
            "pool": self.pool,
            "begin": lambda messages, _together: messages,
            "fetches": 4,
            "now": lambda: self.now_s,
        }
        self.pipeline = Pipeline(**(given | collaborators))
        self.pool.on_prepared = self.pipeline.prepared
        self.pipeline.start()

    def submit(self, picture: bytes | BaseException, **changes: Any) -> Future[Any]:
        uri = f"https://example.org/{len(self.fetcher.pictures)}.jpg"
        self.fetcher.pictures[uri] = picture
        return self.job(uri, **changes)

    def job(
        self,
        uri: str,
        *,
        message: FakeMessage | None = None,
        queue_s: float | None = None,
        **changes: Any,
    ) -> Future[Any]:
        fields = {"labels": LABELS, "templates": ("a photo of a {}.",), "k": 5} | changes
        owner = FutureOwner()
        task = ImageTask(uri, TaggingRequest(**fields), owner, message, queue_s=queue_s)
        self.pipeline.submit([task])
        return owner.future

    def error(self, picture: bytes | BaseException, **changes: Any) -> ClipWorkerError:
        error = self.submit(picture, **changes).exception(LIMIT_S)
        assert isinstance(error, ClipWorkerError), error
        assert "\n" not in error.message
        return error

    def close(self) -> None:
        self.engine.gate.set()
        self.pipeline.stop(LIMIT_S)
        self.pool.close()
