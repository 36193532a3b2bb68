"""What a client stores in Redis besides tasks: uploads and label sets."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

from clip_worker.client.arguments import Bytes, Labels, image_bytes, listed, uri_of
from clip_worker.client.parts import ClientParts
from clip_worker.client.shrinking import shrink
from clip_worker.contract import (
    DEFAULT_SCORE,
    LabelSet,
    LabelSetCalibration,
    LabelSetVersion,
    RequestOptions,
    Score,
    parse,
)
from clip_worker.contract.label_set_names import check_new_name
from clip_worker.errors import InvalidRequestError
from clip_worker.redis.error_translation import translated
from clip_worker.redis.uploads import DEFAULT_TTL_S, UploadStore


class Storage:
    """The part of a `Client` that stores images and labels. Thread-safe.

    Args:
        url: URL of the Redis, for error messages.
        parts: Of the client.
        max_upload_bytes: The largest image that `upload` sends.
    """

    def __init__(self, url: str, parts: ClientParts, max_upload_bytes: int) -> None:
        self.url = url
        self._parts = parts
        self._redis = parts.redis
        self._max_upload_bytes = max_upload_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._parts.close()

    def upload(
        self,
        data: Bytes | os.PathLike[str],
        *,
        ttl_s: float = DEFAULT_TTL_S,
        keep: bool = False,
        shrink_to: int | None = None,
        name: str | None = None,
    ) -> str:
        """Store an image's bytes in Redis for a while, for workers that can't read your files.

        The upload is deleted when the last task that was sent with its URI has ended: send all of
        them before the first ends, or keep it.

        Args:
            data: The bytes of an image file, or its path.
            ttl_s: How long it is kept at most, in seconds; a day by default.
            keep: Whether it is kept for that long, whatever tasks use it.
            shrink_to: Largest shortest side, in pixels: a larger image is made smaller first, with
                Pillow, and sent as JPEG, or as PNG if it has transparency.
            name: How it is called in errors, logs and stores of embeddings, such as its path; the
                last 255 characters are kept. The URI contains it.

        Returns:
            A URI for `classify`. The same bytes are stored once.

        Raises:
            InvalidRequestError: It is neither bytes nor a path, or it is empty.
            ImageUnavailableError: The file can't be read, or has more than `max_upload_bytes`.
            ImageInvalidError: Pillow can't decode it, for `shrink_to`.
            ServiceError: `NO_PILLOW`: Pillow is not installed, for `shrink_to`.
            QueueUnavailableError: Redis can't be reached or is full.
        """
        encoded = prepared_upload(data, self._max_upload_bytes, ttl_s, shrink_to)
        with translated(self.url):
            return UploadStore(self._redis, ttl_s).put(encoded, keep=keep, name=name)

    def discard(self, uri: str) -> None:
        """Give up an upload whose task was not sent, for instance because the queue is full.

        It is deleted, unless another task or upload has the same bytes. An upload that is kept, or
        whose task was sent, stays.

        Raises:
            InvalidRequestError: The URI is not one that `upload` returned.
            QueueUnavailableError: Redis can't be reached.
        """
        with translated(self.url):
            UploadStore(self._redis).discard(uri_of(uri))

    def put_label_set(  # noqa: PLR0913  # each is an option of its own, and by name
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
        """Store labels under a name, for `label_set=name`; workers use a new version within 5 s.

        Content that differs from that of the newest version makes a new one, numbered 1, 2, 3 and
        so on: `animals` is the newest version, `animals@3` stays what it is. The newest 50 are
        kept.

        Args:
            name: Of the set.
            labels: Distinct labels.
            hierarchical: Whether they are paths, such as `animal > dog > beagle`. Prompts get the
                last part, and results have the most probable nodes of each level.
            calibration: What was fitted to labelled images (`clip-worker labels calibrate`).
            templates: Prompts of requests that give none of their own.
            thresholds: For each label its least score, or None: of requests with this `score` that
                give no threshold.
            score: The score that `thresholds` are for.

        Returns:
            The version: 12 hexadecimal digits that depend only on the content.

        Raises:
            InvalidRequestError: The name, the labels or another argument are invalid.
            QueueUnavailableError: Redis can't be reached.
        """
        label_set = checked_label_set(name, labels, label_set_options(locals()))
        with translated(self.url):
            self._parts.label_sets.put(name, label_set)
        return label_set.version

    def get_label_set(self, name: str) -> LabelSet:
        """The labels that `put_label_set` has stored under a name.

        Args:
            name: Of the set, for its newest version, or of a version, such as `animals@3`.

        Raises:
            InvalidRequestError: The name is invalid, or `UNKNOWN_LABEL_SET`.
            ServiceError: `BAD_LABEL_SET`: something else is stored there.
            QueueUnavailableError: Redis can't be reached.
        """
        check_set_name(name)
        with translated(self.url):
            return self._parts.label_sets.read(name)

    def list_label_sets(self) -> list[LabelSetVersion]:
        """All versions of all label sets, by name and number.

        A set that a version of clip-worker without numbers has stored is not among them until it is
        stored again.

        Raises:
            ServiceError: `BAD_LABEL_SET`: the list can't be read.
            QueueUnavailableError: Redis can't be reached.
        """
        with translated(self.url):
            return self._parts.label_sets.versions()

    def remove_label_set(self, name: str) -> None:
        """Remove a label set with all its versions, or one version.

        Args:
            name: Of the set, or of a version that is not the newest of several, as `animals@3`.

        Raises:
            InvalidRequestError: `UNKNOWN_LABEL_SET`; or it is the newest of several versions.
            QueueUnavailableError: Redis can't be reached.
        """
        check_set_name(name)
        with translated(self.url):
            self._parts.label_sets.remove(name)

    def ping(self) -> None:
        """Check that Redis answers.

        Raises:
            QueueUnavailableError: It does not answer within 5 seconds.
        """
        with translated(self.url):
            self._redis.ping()


def prepared_upload(
    data: Bytes | os.PathLike[str], max_bytes: int, ttl_s: float, shrink_to: int | None
) -> bytes:
    """An image as it is uploaded; the arguments are those of `Storage.upload`."""
    encoded = image_bytes(data, max_bytes)
    if not 0 < ttl_s < float("inf"):
        raise InvalidRequestError(f"ttl_s is {ttl_s!r}; pass a number of seconds above 0.")
    return encoded if shrink_to is None else shrink(encoded, shrink_to)


def check_set_name(name: str) -> None:
    """Check the name of a label set.

    Raises:
        InvalidRequestError: It is not a string of 1 to 200 characters.
    """
    parse(RequestOptions, {"label_set": name})


def label_set_options(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What `put_label_set` was given besides the name and the labels.

    Raises:
        InvalidRequestError: Templates or thresholds are not iterable.
    """
    given = {name: arguments[name] for name in ("hierarchical", "calibration", "score")}
    for name, code in (("templates", "BAD_TEMPLATE"), ("thresholds", "BAD_LABELS")):
        value = arguments[name]
        given[name] = None if value is None else listed(value, name, code)
    return given


def checked_label_set(name: str, labels: Labels, options: Mapping[str, Any]) -> LabelSet:
    """A label set to store; `options` are from `label_set_options`."""
    check_set_name(name)
    check_new_name(name)
    return parse(LabelSet, {"labels": listed(labels, "labels", "BAD_LABELS"), **options})
