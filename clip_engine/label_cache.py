"""Caches text features of labels.

Axes: L labels, P templates, D embedding.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.errors import TextTooLongError
from clip_engine.prompts import fill

MOST_PROMPTS = 4096  # encoded in one call, to limit the memory for their features
DEFAULT_CAPACITY = 200_000  # label features; with 512 float32 each, 400 MB
SET_SHARE = 4  # whole lists may take a quarter of the capacity, in addition


class SharesFeatures(Protocol):
    """Features that several processes encode once; a worker's are in Redis."""

    def features(
        self,
        labels: Sequence[str],
        templates: tuple[str, ...],
        encode: Callable[[Sequence[str]], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The features of different labels: those that are there, and what `encode` returns.

        Args:
            labels: L of them.
            templates: At least one.
            encode: Computes the features of some of these labels, float32 `[D]` each.

        Raises:
            ClipEngineError: As `encode` raises it.
        """


class LabelFeatures:
    """A bounded cache from (templates, label) to the label's feature. Thread-safe.

    The feature of a label with several templates is the mean of its prompts' normalised features,
    normalised again (Radford et al. 2021, section 3.1.4). Features are cached by label, so that
    overlapping label lists share them. Whole lists are cached too, because stacking a thousand
    features takes longer than scoring them.

    Args:
        encode: Maps N prompts to normalised features, float32 `[N, D]`, on the CPU.
        capacity: Largest number of features; whole lists may hold a quarter as many in addition, or
            be a single longer list. The least recently used are evicted first.

    Attributes:
        hits: Lists that were found as a whole.
        misses: Lists that were not, and whose labels were looked up or encoded one by one.
        texts_encoded: Prompts that were encoded.
        labels_shared: Labels whose features came from other processes.
    """

    def __init__(
        self, encode: Callable[[Sequence[str]], Tensor], capacity: int = DEFAULT_CAPACITY
    ) -> None:
        self.hits = self.misses = self.texts_encoded = self.labels_shared = 0
        self._encode = encode
        self._shared: SharesFeatures | None = None
        self._capacity = capacity
        self._features: OrderedDict[tuple[tuple[str, ...], str], Tensor] = OrderedDict()
        self._lists: OrderedDict[tuple[tuple[str, ...], tuple[str, ...]], Tensor] = OrderedDict()
        self._rows = 0  # in all lists
        self._lock = threading.Lock()
        self._encoding: set[tuple[tuple[str, ...], str]] = set()  # by any thread
        self._encoded = threading.Condition(self._lock)

    def __len__(self) -> int:
        return len(self._features)

    def share(self, shared: SharesFeatures) -> None:
        """Ask other processes for the features of new labels from now on."""
        self._shared = shared

    def get(self, labels: Sequence[str], templates: tuple[str, ...]) -> Tensor:
        """Features of the labels with these templates.

        Returns:
            float32 `[L, D]`, each row of length 1, on the CPU. It is shared between calls and
            therefore an inference tensor, so that torch refuses in-place changes.

        Raises:
            TextTooLongError: A prompt has too many tokens.
        """
        key = (templates, tuple(labels))
        if (features := self.find(key[1], templates)) is not None:
            return features
        with torch.inference_mode():
            features = self._stack(labels, templates)
        self._keep(key, features)
        return features

    def find(self, labels: tuple[str, ...], templates: tuple[str, ...]) -> Tensor | None:
        """Features of a list that is cached as a whole, as from `get`; None if it isn't."""
        key = (templates, labels)
        with self._lock:
            if (features := self._lists.get(key)) is not None:
                self._lists.move_to_end(key)
                self.hits += 1
            return features

    def prepare(self, labels: Sequence[str], templates: tuple[str, ...]) -> None:
        """Encode the labels that are not cached, for a list with them that is asked for later.

        Raises:
            TextTooLongError: A prompt has too many tokens.
        """
        with torch.inference_mode():
            self._find_or_encode(labels, templates)

    def get_all(
        self, lists: Sequence[tuple[Sequence[str], tuple[str, ...]]]
    ) -> list[Tensor | Exception]:
        """Features of several label lists, with the new labels of all lists encoded together.

        Args:
            lists: The labels and templates of each.

        Returns:
            For each list what `get` returns or raises.
        """
        together: dict[tuple[str, ...], dict[str, None]] = {}
        for labels, templates in lists:
            together.setdefault(templates, {}).update(dict.fromkeys(labels))
        if len(lists) > 1:
            for templates, union in together.items():
                # A label that is too long fails only the lists that contain it, below.
                with suppress(TextTooLongError), torch.inference_mode():
                    self._find_or_encode(list(union), templates)
        return [self._get_or_error(labels, templates) for labels, templates in lists]

    def _get_or_error(
        self, labels: Sequence[str], templates: tuple[str, ...]
    ) -> Tensor | Exception:
        try:
            return self.get(labels, templates)
        except Exception as error:  # noqa: BLE001  # returned as the list's outcome
            return error

    def _stack(self, labels: Sequence[str], templates: tuple[str, ...]) -> Tensor:
        known = self._find_or_encode(labels, templates)
        return torch.stack([known[label] for label in labels])

    def _find_or_encode(
        self, labels: Sequence[str], templates: tuple[str, ...]
    ) -> dict[str, Tensor]:
        known: dict[str, Tensor] = {}
        while new := [label for label in dict.fromkeys(labels) if label not in known]:
            found, mine = self._look_up_or_reserve(new, templates)
            known |= found
            if mine:
                try:
                    known |= self._compute(mine, templates)
                finally:
                    self._release(mine, templates)
        return known

    def _look_up_or_reserve(
        self, labels: Sequence[str], templates: tuple[str, ...]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """The cached features, and the labels that the caller has to encode itself.

        A label that another thread is encoding is in neither, so that concurrent calls with the
        same new labels encode them once. If that holds for all of them, this waits until a thread
        has finished.
        """
        known, mine = {}, []
        with self._encoded:
            for label in labels:
                key = (templates, label)
                if (feature := self._features.get(key)) is not None:
                    self._features.move_to_end(key)
                    known[label] = feature
                elif key not in self._encoding:
                    mine.append(label)
            self._encoding.update((templates, label) for label in mine)
            if not known and not mine:
                self._encoded.wait()
        return known, mine

    def _release(self, labels: Sequence[str], templates: tuple[str, ...]) -> None:
        with self._encoded:
            self._encoding.difference_update((templates, label) for label in labels)
            self._encoded.notify_all()

    def _keep(self, key: tuple[tuple[str, ...], tuple[str, ...]], features: Tensor) -> None:
        with self._lock:
            self.misses += 1
            if key not in self._lists:
                self._rows += len(features)
            self._lists[key] = features
            # The newest list always stays, or each call with a longer one would stack it again.
            fewest = min(1, self._capacity)
            while self._rows > self._capacity // SET_SHARE and len(self._lists) > fewest:
                _, dropped = self._lists.popitem(last=False)
                self._rows -= len(dropped)

    def _compute(self, labels: Sequence[str], templates: tuple[str, ...]) -> dict[str, Tensor]:
        computed: dict[str, Tensor] = {}

        def encode(some: Sequence[str]) -> dict[str, Tensor]:
            features = self._compute_all(some, templates)
            computed.update(features)
            return features

        known = self._shared.features(labels, templates, encode) if self._shared else encode(labels)
        with self._lock:
            self.texts_encoded += len(computed) * len(templates)
            self.labels_shared += len(known) - len(computed)
            self._features.update({(templates, label): row for label, row in known.items()})
            while len(self._features) > self._capacity:
                self._features.popitem(last=False)
        return known

    def _compute_all(self, labels: Sequence[str], templates: tuple[str, ...]) -> dict[str, Tensor]:
        # In chunks: an ensemble's prompts for many labels would take too much memory.
        chunk = max(1, MOST_PROMPTS // len(templates))
        computed: dict[str, Tensor] = {}
        for start in range(0, len(labels), chunk):
            computed |= self._compute_chunk(labels[start : start + chunk], templates)
        return computed

    def _compute_chunk(
        self, labels: Sequence[str], templates: tuple[str, ...]
    ) -> dict[str, Tensor]:
        prompts = [fill(template, label) for label in labels for template in templates]
        features = self._encode(prompts).view(len(labels), len(templates), -1)  # [L, P, D]
        features = functional.normalize(features.mean(dim=1), dim=-1)  # [L, D]
        # Copies, because a view would keep its whole batch in memory.
        return {label: row.clone() for label, row in zip(labels, features, strict=True)}
