"""One tab's gallery: its pictures, its labels, and the answer to each picture."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from labels import FIRST, Labels

UPLOADS: Final = "redis://uploads/"


class Picture(NamedTuple):
    """A picture of a gallery.

    Attributes:
        uri: What tasks are sent with.
        claim: The URI that keeps an upload in Redis; empty for a picture on the web.
        size_bytes: Of the upload.
    """

    uri: str
    claim: str = ""
    size_bytes: int = 0

    @property
    def content(self) -> str:
        """The SHA-256 of an upload; the URI of a picture on the web, whose content is not known."""
        return self.uri.removeprefix(UPLOADS)


class Answer(NamedTuple):
    """What is known of a picture.

    Attributes:
        version: The gallery's version that it came with.
        revision: The labels' revision that it answers.
        content: `tags`, or `code` and `sentence`; as the page gets it.
    """

    version: int
    revision: int
    content: dict[str, Any]

    def is_for(self, revision: int) -> bool:
        """Whether it answers these labels; what failed would fail with all labels."""
        return self.revision == revision or "code" in self.content


@dataclass(eq=False)
class Gallery:
    """The state of one tab, and the tasks that wait for its answers.

    Attributes:
        labels: What its pictures are tagged with.
        revision: Counts changes of the labels.
        version: Counts all changes, so that streams know what is new to them.
        pictures: By the id that the page has given them.
        answers: By the same id, the latest last.
        trouble: A sentence about what holds up all answers; empty if nothing does.
        runs: Tasks that wait for answers.
        streams: How many event streams are open.
        can_search: Whether the workers are known to keep embeddings.
    """

    labels: Labels = FIRST
    revision: int = 1
    version: int = 1
    pictures: dict[str, Picture] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    trouble: str = ""
    runs: set[asyncio.Task[None]] = field(default_factory=set)
    streams: int = 0
    can_search: bool = False
    _heard_at: float = field(default_factory=time.monotonic)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def size_bytes(self) -> int:
        """Bytes of its uploads."""
        return sum(picture.size_bytes for picture in self.pictures.values())

    def put(self, picture_id: str, picture: Picture) -> None:
        """Add a picture, or replace one."""
        if not self.unanswered():
            self._heard_at = time.monotonic()
        self.pictures[picture_id] = picture
        self.answers.pop(picture_id, None)

    def remove(self, picture_id: str) -> Picture | None:
        """Remove a picture, if it is there, and return it."""
        self.answers.pop(picture_id, None)
        return self.pictures.pop(picture_id, None)

    def relabel(self, labels: Labels) -> int:
        """Change the labels, so that no picture is answered; the new revision."""
        self.labels = labels
        self.revision += 1
        self.trouble = ""
        self._heard_at = time.monotonic()
        self._change()
        return self.revision

    def answer(self, picture_id: str, revision: int, content: dict[str, Any]) -> None:
        """Note an answer, unless its picture or its labels are gone."""
        if picture_id not in self.pictures or revision != self.revision:
            return
        self._heard_at = time.monotonic()
        self.trouble = ""
        self._change()
        self.answers.pop(picture_id, None)
        self.answers[picture_id] = Answer(self.version, revision, content)

    def report(self, trouble: str) -> None:
        """Note what holds up all answers."""
        if trouble != self.trouble:
            self.trouble = trouble
            self._change()

    def offer_search(self) -> None:
        """Note that the workers keep embeddings."""
        if not self.can_search:
            self.can_search = True
            self._change()

    def unanswered(self) -> list[str]:
        """The ids of the pictures without an answer to the present labels."""
        return [each for each in self.pictures if not self._is_answered(each)]

    def silence_s(self) -> float:
        """Seconds since the last answer, while some are outstanding."""
        return time.monotonic() - self._heard_at if self.unanswered() else 0.0

    def news(self, since: int) -> dict[str, Any]:
        """What has changed since a version, as the page gets it.

        Args:
            since: A version; 0 for all that there is.
        """
        new = _newer(reversed(self.answers.items()), since)
        news = {
            "revision": self.revision,
            "trouble": self.trouble,
            "search": self.can_search,
            "answers": {
                each: {"revision": answer.revision, **answer.content} for each, answer in new
            },
        }
        return news if since else {**news, "pictures": list(self.pictures)}

    async def change(self, since: int, limit_s: float) -> bool:
        """Wait for a change after a version, but not for longer than `limit_s`."""
        if self.version == since:
            try:
                await asyncio.wait_for(self._changed.wait(), limit_s)
            except TimeoutError:
                return False
        return True

    def _is_answered(self, picture_id: str) -> bool:
        answer = self.answers.get(picture_id)
        return answer is not None and answer.is_for(self.revision)

    def _change(self) -> None:
        self.version += 1
        self._changed.set()
        self._changed = asyncio.Event()


def _newer(latest_first: Iterable[tuple[str, Answer]], since: int) -> list[tuple[str, Answer]]:
    new = []
    for picture_id, answer in latest_first:
        if answer.version <= since:
            break
        new.append((picture_id, answer))
    return new
