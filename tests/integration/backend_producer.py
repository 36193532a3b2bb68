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

    from clip_engine.demo.pictures import DemoPicture


class Backend:
    """What a backend sends, counted; and what has to come back.

    Args:
        app: Knows the broker, and one route.
        pictures: Each with its question and its answer.
    """

    def __init__(self, app: Celery, folder: Path, pictures: list[DemoPicture]) -> None:
        self.app = app
        self._folder = folder
        self.pictures = pictures
        self.sent: Counter[str] = Counter()

    def own(self, task: str, *args: Any) -> Signature:
        """A task of its own."""
        self.sent[f"celery backend.{task}"] += 1
        return self.app.signature(f"backend.{task}", args)

    def classify(self, picture: DemoPicture, *, uri_comes: bool = False) -> Signature:
        """A task of ours."""
        self.sent["clip clip.classify"] += 1
        args = () if uri_comes else (self.uri(picture),)
        return self.app.signature("clip.classify", args, {"labels": picture.labels, "k": 1})

    def missing(self) -> Signature:
        """A task of ours that fails."""
        self.sent["clip clip.classify"] += 1
        uri = (self._folder / "missing.jpg").as_uri()
        return self.app.signature("clip.classify", (uri, ["a", "b"]))

    def uri(self, picture: DemoPicture) -> str:
        """Of a picture's file."""
        return (self._folder / picture.file_name).as_uri()

    def result(self, of: Signature) -> AsyncResult[Any]:
        """That of a signature which goes on with another's."""
        of.set(task_id=str(uuid.uuid4()))
        return self.app.AsyncResult(of.options["task_id"])
