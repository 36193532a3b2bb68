"""Labels are encoded once by all workers together, and by each for itself while Redis fails."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import torch
from redis.exceptions import ConnectionError as RedisConnectionError
from support.fake_clock import FakeClock
from support.text_features import CountedEncoder, feature_of
from support.waiting import LIMIT_S

from clip_engine.errors import TextTooLongError
from clip_engine.label_cache import LabelFeatures
from clip_worker.contract.keys import text_features_key
from worker.text_features.redis_features import field_of
from worker.text_features.shared_features import LEASE_S, MOST_WAIT_S, REST_S, SharedFeatures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis import Redis
    from torch import Tensor

    from worker.text_features.redis_features import RedisFeatures

pytestmark = pytest.mark.integration

TEMPLATES = ("a {}",)
LABELS = [f"label {number}" for number in range(1000)]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(50.0)


@pytest.fixture
def shared(store: RedisFeatures, clock: FakeClock) -> SharedFeatures:
    return SharedFeatures(store, clock, clock.sleep)


def check(features: dict[str, Tensor], labels: Sequence[str]) -> None:
    assert features.keys() == set(labels)
    assert all(torch.equal(features[label], feature_of(label)) for label in labels)


def test_eight_cold_workers_encode_each_label_once(store: RedisFeatures) -> None:
    encoders = [CountedEncoder() for _ in range(8)]
    together = threading.Barrier(len(encoders), timeout=LIMIT_S)

    def work(encoder: CountedEncoder) -> dict[str, Tensor]:
        together.wait()
        return SharedFeatures(store).features(LABELS, TEMPLATES, encoder)

    with ThreadPoolExecutor(len(encoders)) as pool:
        for features in pool.map(work, encoders, timeout=LIMIT_S):
            check(features, LABELS)
    encoded = [label for encoder in encoders for label in encoder.encoded]
    assert sorted(encoded) == sorted(LABELS)


def test_claims_grow_while_they_are_quick(shared: SharedFeatures) -> None:
    encoder = CountedEncoder()
    check(shared.features(LABELS, TEMPLATES, encoder), LABELS)
    assert [len(call) for call in encoder.calls] == [16, 32, 64, 128, 256, 256, 248]


def test_claims_shrink_while_they_are_slow(shared: SharedFeatures, clock: FakeClock) -> None:
    encoder = CountedEncoder()

    def slow(labels: Sequence[str]) -> dict[str, Tensor]:
        clock.sleep(len(labels))
        return encoder(labels)

    check(shared.features(LABELS[:40], TEMPLATES, slow), LABELS[:40])
    assert [len(call) for call in encoder.calls][:5] == [16, 8, 4, 2, 2]


def test_an_ensemble_counts_as_its_prompts(shared: SharedFeatures) -> None:
    encoder = CountedEncoder()
    templates = tuple(f"{number} {{}}" for number in range(8))
    shared.features(LABELS[:10], templates, encoder)
    assert [len(call) for call in encoder.calls] == [2, 4, 4]


def test_labels_of_a_worker_that_died_are_encoded_when_its_lease_has_lapsed(
    store: RedisFeatures, clock: FakeClock
) -> None:
    # given labels that are claimed and never written
    [claimed] = store.claim([field_of(TEMPLATES, "cat")], 1, LEASE_S)
    assert claimed == 0
    # when
    encoder, slept = CountedEncoder(), []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.sleep(seconds)
        if sum(slept) >= LEASE_S:  # Redis has a clock of its own: as if it had lapsed there, too
            store.release([field_of(TEMPLATES, "cat")])

    features = SharedFeatures(store, clock, sleep).features(["cat", "dog"], TEMPLATES, encoder)
    # then what others may encode was not held up
    check(features, ["cat", "dog"])
    assert encoder.calls == [["dog"], ["cat"]]


def test_a_worker_does_not_wait_for_ever(
    store: RedisFeatures,
    shared: SharedFeatures,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "claim", lambda *_: [])  # all is claimed by others, again and again
    began_s = clock()
    encoder = CountedEncoder()
    check(shared.features(["cat"], TEMPLATES, encoder), ["cat"])
    assert encoder.calls == [["cat"]]
    assert MOST_WAIT_S <= clock() - began_s < MOST_WAIT_S + 1


def test_a_label_that_cant_be_encoded_is_left_to_others(
    store: RedisFeatures, shared: SharedFeatures
) -> None:
    def refuse(_: Sequence[str]) -> dict[str, Tensor]:
        raise TextTooLongError("The text has 90 tokens.")

    with pytest.raises(TextTooLongError):
        shared.features(["long", "cat"], TEMPLATES, refuse)
    fields = [field_of(TEMPLATES, label) for label in ("long", "cat")]
    assert store.claim(fields, 2, LEASE_S) == [0, 1]


def test_what_is_damaged_in_redis_is_encoded_again(shared: SharedFeatures, redis: Redis) -> None:
    shared.features(["cat", "dog"], TEMPLATES, CountedEncoder())
    redis.hset(text_features_key("model"), field_of(TEMPLATES, "cat"), b"?" * 32)
    encoder = CountedEncoder()
    check(shared.features(["cat", "dog"], TEMPLATES, encoder), ["cat", "dog"])
    assert encoder.calls == [["cat"]]


def test_the_labels_of_a_long_list_are_read_in_parts(
    shared: SharedFeatures, store: RedisFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = [f"label {number}" for number in range(2500)]
    shared.features(labels, TEMPLATES, CountedEncoder())
    read: list[int] = []
    usual = store.read

    def counted(fields: Sequence[bytes]) -> Any:
        read.append(len(fields))
        return usual(fields)

    monkeypatch.setattr(store, "read", counted)
    check(shared.features(labels, TEMPLATES, CountedEncoder()), labels)
    assert read == [1000, 1000, 500]


class Broken:
    """A store whose Redis is away from a certain call on."""

    def __init__(self, store: RedisFeatures, good_calls: int) -> None:
        self._store = store
        self.left = good_calls
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        self.asked += 1
        self.left -= 1
        if self.left < 0:
            raise RedisConnectionError("Error 111 connecting to redis:6379")
        return getattr(self._store, name)


@pytest.mark.parametrize("good_calls", range(6))
def test_without_redis_a_worker_encodes_by_itself_and_says_so_once(
    store: RedisFeatures, clock: FakeClock, caplog: pytest.LogCaptureFixture, good_calls: int
) -> None:
    broken: Any = Broken(store, good_calls)
    shared, encoder = SharedFeatures(broken, clock, clock.sleep), CountedEncoder()
    check(shared.features(LABELS[:40], TEMPLATES, encoder), LABELS[:40])
    assert sorted(encoder.encoded) == sorted(LABELS[:40])
    # and it is not asked again for a while
    asked = broken.asked
    shared.features(["new"], TEMPLATES, encoder)
    assert broken.asked == asked
    clock.sleep(REST_S)
    shared.features(["newer"], TEMPLATES, encoder)
    assert broken.asked == asked + 1
    [record] = caplog.records
    assert "can't be shared through Redis: Error 111" in record.message


def test_after_redis_has_come_back_features_are_shared_and_the_next_failure_is_told(
    store: RedisFeatures, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    broken: Any = Broken(store, 0)
    shared = SharedFeatures(broken, clock, clock.sleep)
    for label, good_calls in (("a", 0), ("b", 99), ("c", 0)):
        broken.left = good_calls
        shared.features([label], TEMPLATES, CountedEncoder())
        clock.sleep(REST_S)
    assert store.read([field_of(TEMPLATES, label) for label in "abc"])[1] is not None
    assert len(caplog.records) == 2


def test_a_label_cache_counts_what_it_encodes_and_what_it_finds(store: RedisFeatures) -> None:
    def encode(prompts: Sequence[str]) -> Tensor:
        return torch.stack([feature_of(prompt) for prompt in prompts])

    caches = [LabelFeatures(encode) for _ in range(2)]
    for cache in caches:
        cache.share(SharedFeatures(store))
    templates = ("a {}", "the {}")
    first, second = (cache.get(["cat", "dog"], templates) for cache in caches)
    assert torch.equal(first, second)
    assert torch.equal(first, LabelFeatures(encode).get(["cat", "dog"], templates))
    assert [(cache.texts_encoded, cache.labels_shared) for cache in caches] == [(4, 0), (0, 2)]
    # and what is cached in the process is not asked for
    caches[1].get(["dog"], templates)
    assert caches[1].labels_shared == 2
