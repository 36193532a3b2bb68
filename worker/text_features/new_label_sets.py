"""Encodes the labels of sets that were stored a moment ago, while the worker has nothing to do."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from clip_engine.errors import ClipEngineError
from clip_worker.contract.keys import NEW_LABEL_SETS
from clip_worker.contract.label_set_names import split_version
from clip_worker.errors import ClipWorkerError

if TYPE_CHECKING:
    from redis import Redis

    from clip_engine.label_cache import LabelFeatures
    from clip_engine.scoring.text_features import TextList

logger = logging.getLogger(__name__)

EVERY_S = 2.0
BUSY_PAUSE_S = 0.2
STOP_S = 1.0  # for labels that are being encoded
CHUNK_PROMPTS = 32  # a task that arrives meanwhile waits for no more


class NewLabelSets:
    """One thread, `new-label-sets`. A worker that is busy leaves it to others, or does it later.

    Args:
        redis: A client of its own; it is closed in the end.
        features: The label cache, which asks Redis for what other workers have encoded.
        lists: Gives the texts that requests with the newest version of a label set need.
        is_idle: Whether the worker has nothing to do.
        every_s: Seconds between two looks at Redis.
    """

    def __init__(
        self,
        redis: Redis,
        features: LabelFeatures,
        *,
        lists: Callable[[str], Sequence[TextList]],
        is_idle: Callable[[], bool],
        every_s: float = EVERY_S,
    ) -> None:
        self._redis = redis
        self._features = features
        self._lists = lists
        self._is_idle = is_idle
        self._every_s = every_s
        self._seen = "0"  # the last entry of the stream that was read
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="new-label-sets", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End the thread, for at most so long."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def look(self) -> None:
        """Encode what is new, if the worker is idle.

        Raises:
            RedisError: As redis-py raises it.
        """
        if self._is_idle():
            for name in self._new_names():
                try:
                    self._prepare(name)
                except (ClipWorkerError, ClipEngineError) as error:
                    # Whoever asks for the set is told; it may have been removed meanwhile.
                    logger.debug("The label set %r is not encoded ahead: %s", name, error)

    def _new_names(self) -> Sequence[str]:
        """The sets of which there are new versions, the newest first."""
        reply: Any = self._redis.xread({NEW_LABEL_SETS: self._seen})
        names: dict[str, None] = {}
        for _, entries in reply.items() if isinstance(reply, dict) else reply:
            for entry, fields in entries:
                self._seen = entry.decode()
                name, _ = split_version(fields.get(b"name", b"").decode(errors="replace"))
                names[name] = None
        return list(reversed(names))

    def _prepare(self, name: str) -> None:
        for labels, templates in self._lists(name):
            size = max(1, CHUNK_PROMPTS // len(templates))
            chunks = [labels[start : start + size] for start in range(0, len(labels), size)]
            # Idle workers begin at different places, so that they don't wait for each other.
            random.shuffle(chunks)
            for chunk in chunks:
                while not self._is_idle():
                    if self._stopping.wait(BUSY_PAUSE_S):
                        return
                if self._stopping.is_set():
                    return
                self._features.prepare(chunk, templates)
            self._features.get(labels, templates)

    def _serve(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.look()
            except RedisError as error:  # the heartbeat warns of that
                logger.debug("Can't read which label sets are new: %s", error)
            except Exception:
                logger.exception("The labels of a new label set can't be encoded ahead")
        self._redis.close()
