"""What a client for coroutines stores in Redis besides tasks: uploads and label sets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from clip_worker.client.arguments import Bytes, Labels, listed, uri_of
from clip_worker.client.async_submission import has_many_labels
from clip_worker.client.storage import (
    check_set_name,
    checked_label_set,
    label_set_options,
    prepared_upload,
)
from clip_worker.contract import (
    DEFAULT_SCORE,
    LabelSet,
    LabelSetCalibration,
    LabelSetVersion,
    Score,
)
from clip_worker.contract.keys import LABEL_SETS
from clip_worker.redis.error_translation import translated
from clip_worker.redis.label_set_commands import (
    ScriptCall,
    check_removed,
    listed_versions,
    put_call,
    remove_calls,
)
from clip_worker.redis.label_sets import KEY_PREFIX, read_label_set, reading
from clip_worker.redis.uploads import DEFAULT_TTL_S, discard_command, put_commands

if TYPE_CHECKING:
    from clip_worker.client.async_parts import AsyncParts

SMALL_BYTES = 256 * 1024  # what is larger is hashed in a thread; this much takes 1 ms


class AsyncStorage:
    """The part of an `AsyncClient` that stores images and labels.

    Args:
        url: URL of the Redis, for error messages.
        parts: Of the client.
        max_upload_bytes: The largest image that `upload` sends.
    """

    def __init__(self, url: str, parts: AsyncParts, max_upload_bytes: int) -> None:
        self.url = url
        self._parts = parts
        self._max_upload_bytes = max_upload_bytes

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections and end the background tasks.

        Raises:
            RuntimeError: The client is used in another event loop.
        """
        await self._parts.aclose()

    async def upload(
        self,
        data: Bytes | os.PathLike[str],
        *,
        ttl_s: float = DEFAULT_TTL_S,
        keep: bool = False,
        shrink_to: int | None = None,
        name: str | None = None,
    ) -> str:
        """Store an image's bytes in Redis for a while; see `Client.upload`.

        A file is read in a thread, as is a large image hashed, or made smaller.

        Raises:
            InvalidRequestError: It is neither bytes nor a path, or it is empty.
            ImageUnavailableError: The file can't be read, or has more than `max_upload_bytes`.
            ImageInvalidError: Pillow can't decode it, for `shrink_to`.
            ServiceError: `NO_PILLOW`: Pillow is not installed, for `shrink_to`.
            QueueUnavailableError: Redis can't be reached or is full.
        """
        prepare = partial(self._prepared, data, ttl_s, shrink_to, keep=keep, name=name)
        is_quick = isinstance(data, Bytes) and len(data) <= SMALL_BYTES and shrink_to is None
        uri, commands = prepare() if is_quick else await asyncio.to_thread(prepare)
        with translated(self.url):
            await self._parts.commands.pipeline(commands)
        return uri

    async def discard(self, uri: str) -> None:
        """Give up an upload whose task was not sent; see `Client.discard`.

        Raises:
            InvalidRequestError: The URI is not one that `upload` returned.
            QueueUnavailableError: Redis can't be reached.
        """
        command = discard_command(uri_of(uri))
        with translated(self.url):
            await self._parts.commands(*command)

    def _prepared(
        self,
        data: Bytes | os.PathLike[str],
        ttl_s: float,
        shrink_to: int | None,
        *,
        keep: bool,
        name: str | None,
    ) -> tuple[str, list[tuple[Any, ...]]]:
        encoded = prepared_upload(data, self._max_upload_bytes, ttl_s, shrink_to)
        return put_commands(encoded, ttl_s, keep=keep, name=name)

    async def put_label_set(  # noqa: PLR0913  # each is an option of its own, and by name
        self,
        name: str,
        labels: Labels,
        *,
        hierarchical: bool = False,
        calibration: LabelSetCalibration | None = None,
        templates: Iterable[str] | None = None,
        thresholds: Iterable[float | None] | None = None,
        score: Score = DEFAULT_SCORE,
    ) -> str:
        """Store labels under a name, for `label_set=name`; see `Client.put_label_set`.

        Raises:
            InvalidRequestError: The name, the labels or another argument are invalid.
            QueueUnavailableError: Redis can't be reached.
        """
        options, given = label_set_options(locals()), listed(labels, "labels", "BAD_LABELS")
        encode = partial(_encoded, name, given, options)
        many = has_many_labels({"labels": given})
        version, call = await asyncio.to_thread(encode) if many else encode()
        with translated(self.url):
            await self._parts.commands.run(*call)
        return version

    async def get_label_set(self, name: str) -> LabelSet:
        """The labels that are stored under a name; see `Client.get_label_set`.

        Raises:
            InvalidRequestError: The name is invalid, or `UNKNOWN_LABEL_SET`.
            ServiceError: `BAD_LABEL_SET`: something else is stored there.
            QueueUnavailableError: Redis can't be reached.
        """
        check_set_name(name)
        with translated(self.url), reading(name):
            stored = await self._parts.commands("GET", KEY_PREFIX + name)
        read = partial(read_label_set, name, stored)
        is_small = stored is None or len(stored) <= SMALL_BYTES
        return read() if is_small else await asyncio.to_thread(read)

    async def list_label_sets(self) -> list[LabelSetVersion]:
        """All versions of all label sets; see `Client.list_label_sets`.

        Raises:
            ServiceError: `BAD_LABEL_SET`: the list can't be read.
            QueueUnavailableError: Redis can't be reached.
        """
        with translated(self.url):
            found = await self._parts.commands("HGETALL", LABEL_SETS)
        return listed_versions(dict(zip(found[::2], found[1::2], strict=True)))

    async def remove_label_set(self, name: str) -> None:
        """Remove a label set, or one of its versions; see `Client.remove_label_set`.

        Raises:
            InvalidRequestError: `UNKNOWN_LABEL_SET`; or it is the newest of several versions.
            QueueUnavailableError: Redis can't be reached.
        """
        check_set_name(name)
        replies: list[int] = []
        with translated(self.url):
            for call in remove_calls(name):
                if not any(replies):
                    replies.append(await self._parts.commands.run(*call))
        check_removed(name, replies)

    async def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            QueueUnavailableError: It does not answer within 5 seconds.
        """
        with translated(self.url):
            await self._parts.commands("PING")


def _encoded(name: str, labels: Labels, options: Mapping[str, Any]) -> tuple[str, ScriptCall]:
    """A label set's version, and the call that stores it."""
    label_set = checked_label_set(name, labels, options)
    return label_set.version, put_call(name, label_set)
