"""A pipeline over a tiny engine, whose fetches and model runs a test holds in its hand."""

from __future__ import annotations

import io
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from support.image_zoo import photo

from worker.errors import ClipWorkerError
from worker.pipeline.batcher import Batcher
from worker.pipeline.pipeline import Job, Pipeline
from worker.pipeline.thread_pool import Crew
from worker.sources.reservation import Reserve, unlimited

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from clip_engine.engine import Engine
    from worker.pipeline.gate import Go, Refuse

LIMIT_S = 20.0
NOW = 1_000_000.0
LABELS = ("cat", "dog", "tree")


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


class Bench:
    """A pipeline over a tiny engine, with an eye on its model runs."""

    def __init__(self, engine: Engine, **collaborators: Any) -> None:
        self.engine = engine
        self.fetcher = FakeFetcher()
        self.fail_with: BaseException | None = None
        self.gate = threading.Event()  # holds the model's runs
        self.gate.set()
        self.begun = threading.Semaphore(0)  # a count of the runs that came to the gate
        self.batches: list[int] = []
        self.now_s = NOW
        self.batcher: Batcher[Tensor, Tensor] = Batcher(self._run, max_batch=8)
        self.pools = (Crew(4, "fetch"), Crew(2, "decode"))
        given = {
            "engine": engine,
            "fetcher": self.fetcher,
            "batcher": self.batcher,
            "fetch_pool": self.pools[0],
            "decode_pool": self.pools[1],
            "now": lambda: self.now_s,
        }
        self.pipeline = Pipeline(**(given | collaborators))
        self.batcher.start()

    def _run(self, pixels: Sequence[Tensor]) -> Sequence[Tensor]:
        self.begun.release()
        assert self.gate.wait(LIMIT_S)
        self.batches.append(len(pixels))
        if self.fail_with is not None:
            raise self.fail_with
        return self.engine.encode_pixels(pixels).unbind()

    def submit(self, picture: bytes | BaseException, **changes: Any) -> Future[Any]:
        uri = f"https://example.org/{len(self.fetcher.pictures)}.jpg"
        self.fetcher.pictures[uri] = picture
        return self.job(uri, **changes)

    def job(self, uri: str, **changes: Any) -> Future[Any]:
        fields = {"labels": LABELS, "templates": ("a photo of a {}.",), "k": 5} | changes
        return self.pipeline.submit(Job(image=uri, **fields))

    def error(self, picture: bytes | BaseException, **changes: Any) -> ClipWorkerError:
        error = self.submit(picture, **changes).exception(LIMIT_S)
        assert isinstance(error, ClipWorkerError), error
        assert "\n" not in error.message
        return error

    def close(self) -> None:
        self.gate.set()
        self.pipeline.stop()
        self.batcher.stop(LIMIT_S)
        for pool in self.pools:
            pool.shutdown(wait=True)


class HoldingGate:
    """Holds every job until the test says what becomes of it."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[Job, Go, Refuse]] = {}
        self.turned_away: dict[str, ClipWorkerError] = {}  # when they are to begin
        self.left: list[str] = []
        self.open = False  # whether it holds no more
        self.came = threading.Semaphore(0)
        self.went = threading.Semaphore(0)

    def enter(self, job: Job, go: Go, refuse: Refuse) -> None:
        if self.open:
            go()
        else:
            self.held[str(job.ticket)] = (job, go, refuse)
            self.came.release()

    def check(self, job: Job) -> None:
        if error := self.turned_away.get(str(job.ticket)):
            raise error

    def leave(self, job: Job) -> None:
        self.left.append(str(job.ticket))
        self.went.release()
