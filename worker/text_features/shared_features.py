"""Encodes a label once in a fleet: workers claim labels in Redis, and read what others encoded."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from worker.text_features.redis_features import field_of

if TYPE_CHECKING:
    from torch import Tensor

    from worker.text_features.redis_features import RedisFeatures

logger = logging.getLogger(__name__)

Encode = Callable[[Sequence[str]], dict[str, "Tensor"]]

WINDOW = 1000  # labels that are read in one round trip
LEASE_S = 10.0  # after which another worker encodes the labels of one that died
MOST_WAIT_S = 2 * LEASE_S  # without progress
POLL_S = 0.1
REST_S = 30.0  # in which a Redis that failed is not asked
FIRST_PROMPTS = 16
MOST_PROMPTS = 256  # of the text tower's forward pass
# A claim should take about a second: long against a round trip, short against a lease.
SHORT_S, LONG_S = 0.5, 2.0


class SharedFeatures:
    """Features that this worker and others with the same model encode once. Threads may share it.

    While Redis fails or does not answer, this worker encodes by itself.

    Args:
        store: Where the features are.
        clock: Seconds, monotonic.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        store: RedisFeatures,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._clock = clock
        self._sleep = sleep
        self._prompts = FIRST_PROMPTS  # of the next claim
        self._rests_until_s = float("-inf")
        self._is_failing = False

    def features(
        self, labels: Sequence[str], templates: tuple[str, ...], encode: Encode
    ) -> dict[str, Tensor]:
        """The features of different labels; see `clip_engine.label_cache.SharesFeatures`."""
        known: dict[str, Tensor] = {}
        if self._clock() >= self._rests_until_s:
            try:
                for start in range(0, len(labels), WINDOW):
                    self._share(labels[start : start + WINDOW], templates, encode, known)
                self._is_failing = False
            except RedisError as error:
                self._rest(error)
        own = [label for label in labels if label not in known]
        return known | (encode(own) if own else {})

    def _share(
        self,
        labels: Sequence[str],
        templates: tuple[str, ...],
        encode: Encode,
        known: dict[str, Tensor],
    ) -> None:
        """Add features to `known`; all of them, unless others take too long for theirs."""
        missing = {field_of(templates, label): label for label in labels}
        progress_s = self._clock()
        while missing and self._clock() - progress_s <= MOST_WAIT_S:
            count = len(missing)
            self._take_found(missing, known)
            if claimed := self._claim(missing, len(templates)):
                self._encode(claimed, encode, known)
            if len(missing) < count:
                progress_s = self._clock()
            else:
                self._sleep(POLL_S)

    def _take_found(self, missing: dict[bytes, str], known: dict[str, Tensor]) -> None:
        fields = list(missing)
        for field, feature in zip(fields, self._store.read(fields), strict=True):
            if feature is not None:
                known[missing.pop(field)] = feature

    def _claim(self, missing: dict[bytes, str], templates: int) -> dict[bytes, str]:
        if not missing:
            return {}
        fields, most = list(missing), max(1, self._prompts // templates)
        places = self._store.claim(fields, most, LEASE_S)
        return {fields[place]: missing.pop(fields[place]) for place in places}

    def _encode(self, claimed: dict[bytes, str], encode: Encode, known: dict[str, Tensor]) -> None:
        began_s = self._clock()
        try:
            features = encode(list(claimed.values()))
        except BaseException:
            with suppress(RedisError):  # then the leases lapse
                self._store.release(list(claimed))
            raise
        known |= features
        self._adapt(self._clock() - began_s)
        self._store.write(list(claimed), [features[label] for label in claimed.values()])

    def _adapt(self, took_s: float) -> None:
        if took_s < SHORT_S:
            self._prompts = min(2 * self._prompts, MOST_PROMPTS)
        elif took_s > LONG_S:
            self._prompts = max(1, self._prompts // 2)

    def _rest(self, error: RedisError) -> None:
        self._rests_until_s = self._clock() + REST_S
        if not self._is_failing:
            self._is_failing = True
            logger.warning(
                "The text features of labels can't be shared through Redis: %s. This worker "
                "encodes labels by itself, and asks Redis again every %.0f s.",
                error,
                REST_S,
            )
