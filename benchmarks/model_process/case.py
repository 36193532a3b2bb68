"""What the workers are asked: size of images, kind of message, number of label lists."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from celery import Celery

from benchmarks.bench.labels import label_list, own_lists
from benchmarks.bench.messages import take_template
from benchmarks.bench.names import QUEUE
from benchmarks.bench.pictures import SMALL, Size, make_pictures
from benchmarks.bench.server import Server

LABELS = 10
LISTS = 200
PICTURES_A_MESSAGE = 32  # of `clip.classify_many`
TINY = Size("64x64", 64, 64, 64)


@dataclass(frozen=True)
class Case:
    """One table.

    Attributes:
        size: Of the images, JPEGs.
        lists: How many different label lists the messages have, in turn.
        images: How many images a message has; `clip.classify_many` above 1.
        scheme: "file" or "data", of the images' URIs.
    """

    size: Size
    lists: int = 1
    pictures: int = 1
    scheme: str = "file"

    @property
    def title(self) -> str:
        """For the table."""
        task = "clip.classify" if self.pictures == 1 else f"clip.classify_many of {self.pictures}"
        lists = "one label list" if self.lists == 1 else f"{self.lists} label lists"
        return f"{self.size.name}, {self.scheme}:, {task}, {lists}"

    def templates(self, cache: Path, server: Server) -> list[bytes]:
        """All different messages of this case, as a plain Celery client writes them."""
        uris = [self._uri(path) for path in make_pictures(self.size, cache / "pictures")]
        with Celery("bench-producer", broker=server.scratch_url, set_as_current=False) as app:
            app.conf.update(task_ignore_result=False, result_backend=None)
            return [
                self._template(app, server, uris[start : start + self.pictures], labels)
                for start, labels in zip(
                    itertools.cycle(range(0, len(uris), self.pictures)),
                    self._label_lists(len(uris) // self.pictures),
                    strict=False,
                )
            ]

    def _template(
        self, app: Celery, server: Server, uris: Sequence[str], labels: list[str]
    ) -> bytes:
        name, image = (
            ("clip.classify", {"image": uris[0]})
            if self.pictures == 1
            else ("clip.classify_many", {"images": list(uris)})
        )
        app.send_task(name, kwargs={**image, "labels": labels}, queue=QUEUE)
        return take_template(server.scratch)

    def _label_lists(self, messages: int) -> list[list[str]]:
        if self.lists == 1:
            return [label_list(LABELS)] * messages
        return list(itertools.islice(own_lists(LABELS), self.lists))

    def _uri(self, path: Path) -> str:
        if self.scheme == "file":
            return path.as_uri()
        return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()


CASES = (
    Case(TINY),
    Case(TINY, lists=LISTS),
    Case(TINY, pictures=PICTURES_A_MESSAGE),
    Case(TINY, scheme="data"),
    Case(SMALL),
    Case(SMALL, lists=LISTS),
    Case(SMALL, pictures=PICTURES_A_MESSAGE),
)
QUICK_CASES = (CASES[0], CASES[2], CASES[4])
