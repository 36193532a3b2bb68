"""Has the pictures of galleries tagged by clip-worker, and keeps trying while it is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from finder import Finder
from gallery import Gallery, Picture
from limits import EXPIRES_S, MAX_LABEL_SETS, MAX_LABELS, MAX_URL_CHARS, UPLOAD_TTL_S
from sentences import LABEL_CODES, NO_WORKER, REDIS_AWAY, sentence_for

from clip_worker import (
    AsyncClient,
    ClipWorkerError,
    InvalidRequestError,
    Outcome,
    QueueUnavailableError,
    ResultTimeoutError,
    TemporaryError,
)

TAGS: Final = 5  # of a picture
CHUNK: Final = 32  # pictures of a message
PAUSE_S: Final = 1.0  # after Redis was away
AGAIN: Final = frozenset({"EXPIRED", "QUEUE_UNAVAILABLE", "UPLOAD_STORE"})


class Tagger:
    """Uploads pictures, and asks for their tags.

    Args:
        clip: What sends the tasks.
        finder: Is asked whether pictures can be searched, once a worker has answered.
    """

    def __init__(self, clip: AsyncClient, finder: Finder) -> None:
        self._clip = clip
        self._finder = finder

    async def upload(self, data: bytes) -> Picture:
        """Keep a picture in Redis for as long as the gallery has it, within `UPLOAD_TTL_S`.

        Raises:
            InvalidRequestError: It is empty.
            QueueUnavailableError: Redis can't be reached, or is full.
        """
        claim = await self._clip.upload(data, ttl_s=UPLOAD_TTL_S)
        # A task that is sent with the claim would end it; without it, the gallery does.
        return Picture(claim.partition("#")[0], claim, len(data))

    async def label_sets(self) -> dict[str, tuple[str, ...]]:
        """The stored label sets that are small enough to be shown, and their labels."""
        found: dict[str, tuple[str, ...]] = {}
        with contextlib.suppress(ClipWorkerError):  # then there are the suggestions
            names = dict.fromkeys(each.name for each in await self._clip.list_label_sets())
            for name in [*names][:MAX_LABEL_SETS]:
                with contextlib.suppress(InvalidRequestError):  # removed meanwhile
                    found[name] = (await self._clip.get_label_set(name)).labels
        return {name: labels for name, labels in found.items() if len(labels) <= MAX_LABELS}

    def tag(self, gallery: Gallery, picture_ids: Sequence[str]) -> None:
        """Begin to tag pictures with the gallery's labels."""
        run = asyncio.create_task(self._run(gallery, picture_ids))
        gallery.runs.add(run)
        run.add_done_callback(gallery.runs.discard)

    def tag_again(self, gallery: Gallery) -> None:
        """Begin to tag all pictures without an answer, and leave off what was begun before."""
        cancel(gallery)
        self.tag(gallery, gallery.unanswered())

    async def explain(self, gallery: Gallery) -> None:
        """Find out why no answers come, and send again what Redis may have lost."""
        if not gallery.runs:  # the labels are at fault
            return
        try:
            await self._clip.ping()
        except QueueUnavailableError:
            gallery.report(REDIS_AWAY)
        else:
            if gallery.trouble == REDIS_AWAY:
                self.tag_again(gallery)
            gallery.report(NO_WORKER)

    async def discard(self, picture: Picture) -> None:
        """Delete a picture's upload unless others use it; if Redis is away it expires."""
        if picture.claim:
            with contextlib.suppress(TemporaryError):
                await self._clip.discard(picture.claim)

    async def end(self, gallery: Gallery) -> None:
        """Leave off what was begun for a gallery, and delete its uploads."""
        cancel(gallery)
        for picture in gallery.pictures.values():
            await self.discard(picture)

    async def _run(self, gallery: Gallery, picture_ids: Sequence[str]) -> None:
        """Tag pictures until each has an answer."""
        wanted = {*picture_ids}
        while left := [each for each in gallery.unanswered() if each in wanted]:
            try:
                wanted = {*await self._ask(gallery, left)}
            except InvalidRequestError as error:
                gallery.report(sentence_for(error.code))
                return
            except ResultTimeoutError:
                gallery.report(NO_WORKER)
            except TemporaryError as error:
                gallery.report(sentence_for(error.code))
            if wanted:
                await asyncio.sleep(PAUSE_S)
        if await self._finder.is_possible():
            gallery.offer_search()

    async def _ask(self, gallery: Gallery, picture_ids: list[str]) -> list[str]:
        """Tag pictures once; the ids of those to ask for again."""
        revision, again = gallery.revision, []
        uris = [gallery.pictures[each].uri for each in picture_ids]
        outcomes = self._clip.classify_many(
            uris,
            chunk=CHUNK,
            k=TAGS,
            timeout=EXPIRES_S,
            expires_s=EXPIRES_S,
            **gallery.labels.options(),
        )
        async with contextlib.aclosing(outcomes):
            async for position, outcome in outcomes:
                if outcome.error and outcome.error.code in AGAIN:
                    again.append(picture_ids[position])
                else:
                    _note(gallery, picture_ids[position], revision, outcome)
        return again


def cancel(gallery: Gallery) -> None:
    """Leave off what was begun for a gallery."""
    for run in gallery.runs:
        run.cancel()


def web_picture(url: str) -> Picture:
    """A picture on the web, which the worker fetches.

    Raises:
        InvalidRequestError: It is not an http or https URL: a worker reads files and buckets, too.
    """
    if not url.lower().startswith(("https://", "http://")) or len(url) > MAX_URL_CHARS:
        raise InvalidRequestError("Only https:// and http:// are permitted.", "BAD_URI")
    return Picture(url)


def problem(error: ClipWorkerError) -> dict[str, str]:
    """An error as the page gets it."""
    return {"code": error.code, "sentence": sentence_for(error.code)}


def _note(gallery: Gallery, picture_id: str, revision: int, outcome: Outcome) -> None:
    if outcome.result:
        tags = [[each.label, each.probability] for each in outcome.result.predictions]
        gallery.answer(picture_id, revision, {"tags": tags})
    elif outcome.error and outcome.error.code in LABEL_CODES:
        gallery.report(sentence_for(outcome.error.code))
    elif outcome.error:
        code = outcome.error.code
        gallery.answer(picture_id, revision, {"code": code, "sentence": sentence_for(code)})
