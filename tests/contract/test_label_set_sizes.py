"""Label sets that are too large to be parsed."""

from __future__ import annotations

import pytest

from clip_worker.contract import label_sets
from clip_worker.contract.label_sets import LabelSet
from clip_worker.errors import InvalidRequestError
from clip_worker.redis import label_set_commands
from clip_worker.redis.label_set_commands import NUMBER_BYTES, put_call

SMALL = LabelSet(labels=("cat", "dog"))


def test_what_is_too_large_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    stored = SMALL.to_json().encode()
    monkeypatch.setattr(label_sets, "MOST_BYTES", len(stored))
    # then
    assert LabelSet.from_json(stored) == SMALL
    with pytest.raises(ValueError, match=f"it has {len(stored) + 1} bytes, more than"):
        LabelSet.from_json(stored + b" ")


def test_what_could_not_be_read_is_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    size = len(SMALL.to_json())
    monkeypatch.setattr(label_set_commands, "MOST_BYTES", size + NUMBER_BYTES)
    # then
    put_call("pets", SMALL)
    with pytest.raises(InvalidRequestError, match=r"'pets' has .* bytes as JSON") as caught:
        put_call("pets", LabelSet(labels=("cat", "dogs")))
    assert caught.value.code == "TOO_MANY_LABELS"
