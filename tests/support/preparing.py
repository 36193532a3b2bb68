"""A preparation pool under test, and what came out of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from support.waiting import LIMIT_S, is_gone
from torch import Tensor

from clip_engine.images.transform import ImageTransform
from worker.preparation import (
    ImageRequest,
    PreparationPool,
    PreparationSettings,
    PreparedImage,
)

RESOLUTION = 32


def settings(**changes: Any) -> PreparationSettings:
    defaults: dict[str, Any] = {
        "transform": ImageTransform(RESOLUTION),
        "processes": 2,
        "slots": 64,
    }
    return PreparationSettings(**defaults | changes)


class Bench:
    """Keeps outcomes and their pixels, and gives slots back at once."""

    def __init__(self, prepared_by: PreparationSettings) -> None:
        self.outcomes: dict[int, PreparedImage] = {}
        self.pixels: dict[int, Tensor] = {}
        self.told_twice: list[int] = []
        self.raises: Exception | None = None  # on_prepared does, once
        self._changed = threading.Condition()
        self.pool = PreparationPool(prepared_by, self._take)

    def _take(self, prepared: Sequence[PreparedImage]) -> None:
        with self._changed:
            for each in prepared:
                if each.key in self.outcomes:
                    self.told_twice.append(each.key)
                self.outcomes[each.key] = each
                if each.slot is not None:
                    self.pixels[each.key] = self.pool.images[each.slot].clone()
            self.pool.release([each.slot for each in prepared if each.slot is not None])
            self._changed.notify_all()
        if self.raises:
            error, self.raises = self.raises, None
            raise error

    def submit(self, *pictures: bytes | str, first: int = 0) -> list[int]:
        """Submit files or URIs under keys from `first` on."""
        requests = [
            ImageRequest(key, "redis://uploads/x", picture)
            if isinstance(picture, bytes)
            else ImageRequest(key, picture)
            for key, picture in enumerate(pictures, first)
        ]
        self.pool.submit(requests)
        return [request.key for request in requests]

    def wait(self, keys: Sequence[int]) -> list[PreparedImage]:
        """The outcomes of these keys."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.outcomes.keys() >= {*keys}, LIMIT_S), (
                sorted({*keys} - self.outcomes.keys()),
                self.pool.stats(),
            )
        return [self.outcomes[key] for key in keys]

    def codes(self, keys: Sequence[int]) -> list[str | None]:
        """Of each, its error's code, or None."""
        return [getattr(each.error, "code", None) for each in self.wait(keys)]

    def processes(self) -> list[dict[str, Any]]:
        found: Any = self.pool.stats()["processes"]
        return [each for each in found if each["pid"]]

    def pids(self) -> list[int]:
        """Of the fork server and the processes."""
        server: Any = self.pool.stats()["fork_server"]
        return [server, *(each["pid"] for each in self.processes())]

    def who_decodes_now(self, uri: str) -> list[int]:
        """The processes that are decoding the image of this URI."""
        return [
            each["pid"]
            for each in self.processes()
            if uri in (each["decoding"] or "-") and not is_gone(each["pid"])
        ]

    def nothing_is_taken(self) -> bool:
        return self.pool.free_slots == self.pool.capacity and not self.pool.stats()["waiting"]


@contextlib.contextmanager
def running(prepared_by: PreparationSettings) -> Iterator[Bench]:
    """A pool whose first process is there; no slot may be missing in the end."""
    bench = Bench(prepared_by)
    bench.pool.start()
    try:
        assert bench.pool.wait_until_ready(LIMIT_S)
        yield bench
        assert bench.nothing_is_taken(), bench.pool.stats()
        assert not bench.told_twice
    finally:
        bench.pool.stop(LIMIT_S)


def status(pid: int) -> dict[str, str]:
    """What Linux says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
