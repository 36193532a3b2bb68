"""The backend's own processes, which send tasks of both kinds and count them."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from celery import Celery
    from celery.canvas import Signature
    from celery.result import AsyncResult

    from worker.cli.demo.images import DemoImage


class Backend:
    """What a backend sends, counted; and what has to come back.

    Args:
        app: Knows the broker, and one route.
        images: Each with its question and its answer.
    """

    def __init__(self, app: Celery, folder: Path, images: tuple[DemoImage, ...]) -> None:
        self.app = app
        self._folder = folder
        self.images = images
        self.sent: Counter[str] = Counter()

    def own(self, task: str, *args: Any) -> Signature:
        """A task of its own."""
        self.sent[f"celery backend.{task}"] += 1
        return self.app.signature(f"backend.{task}", args)

    def classify(self, image: DemoImage, *, uri_comes: bool = False) -> Signature:
        """A task of ours."""
        self.sent["clip clip.classify"] += 1
        args = () if uri_comes else (self.uri(image),)
        return self.app.signature("clip.classify", args, {"labels": image.labels, "k": 1})

    def missing(self) -> Signature:
        """A task of ours that fails."""
        self.sent["clip clip.classify"] += 1
        uri = (self._folder / "missing.jpg").as_uri()
        return self.app.signature("clip.classify", (uri, ["a", "b"]))

    def uri(self, image: DemoImage) -> str:
        """Of an image's file."""
        return (self._folder / image.file_name).as_uri()

    def result(self, of: Signature) -> AsyncResult[Any]:
        """That of a signature which goes on with another's."""
        of.set(task_id=str(uuid.uuid4()))
        return self.app.AsyncResult(of.options["task_id"])
