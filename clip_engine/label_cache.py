"""Text features of labels, computed once and kept.

Axes: L labels, P templates, D embedding.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch
from torch import Tensor
from torch.nn import functional

from clip_engine.errors import TextTooLongError
from clip_engine.prompts import fill

MOST_PROMPTS = 4096  # encoded in one call, so that their features fit into memory
DEFAULT_CAPACITY = 200_000  # label features kept; 512 float32 each make 400 MB
SET_SHARE = 4  # of the capacity, the part that whole lists may take beside the single features


class LabelFeatures:
    """A bounded cache from (templates, label) to the label's feature. Threads may share it.

    The feature of a label under several templates is the mean of its prompts' normalised features,
    normalised again (Radford et al. 2021, section 3.1.4). It is cached a label at a time, so two
    tasks whose label lists overlap share what they have in common; and lists that come again are
    kept whole, for to stack a thousand features takes longer than to score them.

    Args:
        encode: From N prompts to normalised features, float32 `[N, D]`, on the CPU.
        capacity: Most features kept, and a quarter as many again in whole lists, or one list that
            is longer; the least recently used go first.
    """

    def __init__(
        self, encode: Callable[[Sequence[str]], Tensor], capacity: int = DEFAULT_CAPACITY
    ) -> None:
        self._encode = encode
        self._capacity = capacity
        self._features: OrderedDict[tuple[tuple[str, ...], str], Tensor] = OrderedDict()
        self._lists: OrderedDict[tuple[tuple[str, ...], tuple[str, ...]], Tensor] = OrderedDict()
        self._rows = 0  # in all lists
        self._lock = threading.Lock()
        self._claimed: set[tuple[tuple[str, ...], str]] = set()  # being encoded by somebody
        self._disclaimed = threading.Condition(self._lock)

    def __len__(self) -> int:
        return len(self._features)

    def get(self, labels: Sequence[str], templates: tuple[str, ...]) -> Tensor:
        """Features of the labels under the templates.

        Returns:
            float32 `[L, D]`, each row of length 1, on the CPU. Others may hold it too, so it is an
            inference tensor: torch raises if it is written to.

        Raises:
            TextTooLongError: A label in its template has too many tokens.
        """
        key = (templates, tuple(labels))
        if (features := self.find(key[1], templates)) is not None:
            return features
        with torch.inference_mode():
            features = self._stack(labels, templates)
        self._keep(key, features)
        return features

    def find(self, labels: tuple[str, ...], templates: tuple[str, ...]) -> Tensor | None:
        """Features of a list that is kept whole, as `get` gives them; None if it is not."""
        key = (templates, labels)
        with self._lock:
            if (features := self._lists.get(key)) is not None:
                self._lists.move_to_end(key)
            return features

    def get_all(
        self, lists: Sequence[tuple[Sequence[str], tuple[str, ...]]]
    ) -> list[Tensor | Exception]:
        """Features of several label lists; new labels of all of them are encoded together.

        Args:
            lists: Labels and templates of each.

        Returns:
            For each what `get` gives or raises.
        """
        together: dict[tuple[str, ...], dict[str, None]] = {}
        for labels, templates in lists:
            together.setdefault(templates, {}).update(dict.fromkeys(labels))
        if len(lists) > 1:
            for templates, union in together.items():
                # A label at fault fails its own lists below, one by one.
                with suppress(TextTooLongError), torch.inference_mode():
                    self._find_or_encode(list(union), templates)
        return [self._get_or_error(labels, templates) for labels, templates in lists]

    def _get_or_error(
        self, labels: Sequence[str], templates: tuple[str, ...]
    ) -> Tensor | Exception:
        try:
            return self.get(labels, templates)
        except Exception as error:  # noqa: BLE001  # it is the list's outcome
            return error

    def _stack(self, labels: Sequence[str], templates: tuple[str, ...]) -> Tensor:
        known = self._find_or_encode(labels, templates)
        return torch.stack([known[label] for label in labels])

    def _find_or_encode(
        self, labels: Sequence[str], templates: tuple[str, ...]
    ) -> dict[str, Tensor]:
        known: dict[str, Tensor] = {}
        while new := [label for label in dict.fromkeys(labels) if label not in known]:
            found, mine = self._look_up_or_claim(new, templates)
            known |= found
            if mine:
                try:
                    known |= self._compute(mine, templates)
                finally:
                    self._disclaim(mine, templates)
        return known

    def _look_up_or_claim(
        self, labels: Sequence[str], templates: tuple[str, ...]
    ) -> tuple[dict[str, Tensor], list[str]]:
        """Those that are kept, and those that nobody else encodes just now, for the caller to do.

        When a thousand tasks bring the same new labels, one pays: if others encode all of them, it
        waits until somebody is done.
        """
        known, mine = {}, []
        with self._disclaimed:
            for label in labels:
                key = (templates, label)
                if (feature := self._features.get(key)) is not None:
                    self._features.move_to_end(key)
                    known[label] = feature
                elif key not in self._claimed:
                    mine.append(label)
            self._claimed.update((templates, label) for label in mine)
            if not known and not mine:
                self._disclaimed.wait()
        return known, mine

    def _disclaim(self, labels: Sequence[str], templates: tuple[str, ...]) -> None:
        with self._disclaimed:
            self._claimed.difference_update((templates, label) for label in labels)
            self._disclaimed.notify_all()

    def _keep(self, key: tuple[tuple[str, ...], tuple[str, ...]], features: Tensor) -> None:
        with self._lock:
            if key not in self._lists:
                self._rows += len(features)
            self._lists[key] = features
            # The newest stays, however long it is: else each of its tasks would stack it anew.
            fewest = min(1, self._capacity)
            while self._rows > self._capacity // SET_SHARE and len(self._lists) > fewest:
                _, dropped = self._lists.popitem(last=False)
                self._rows -= len(dropped)

    def _compute(self, labels: Sequence[str], templates: tuple[str, ...]) -> dict[str, Tensor]:
        # A few at a time: an ensemble's prompts for many labels would not fit into memory.
        chunk = max(1, MOST_PROMPTS // len(templates))
        computed: dict[str, Tensor] = {}
        for start in range(0, len(labels), chunk):
            computed |= self._compute_chunk(labels[start : start + chunk], templates)
        with self._lock:
            self._features.update({(templates, label): row for label, row in computed.items()})
            while len(self._features) > self._capacity:
                self._features.popitem(last=False)
        return computed

    def _compute_chunk(
        self, labels: Sequence[str], templates: tuple[str, ...]
    ) -> dict[str, Tensor]:
        prompts = [fill(template, label) for label in labels for template in templates]
        features = self._encode(prompts).view(len(labels), len(templates), -1)  # [L, P, D]
        features = functional.normalize(features.mean(dim=1), dim=-1)  # [L, D]
        # Copies: a view would keep all rows of its batch in memory for as long as one is kept.
        return {label: row.clone() for label, row in zip(labels, features, strict=True)}
