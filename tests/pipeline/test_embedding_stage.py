"""Stored embeddings in the pipeline: what they spare, and that the store never holds tasks up."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support.fake_timer import FakeTimer
from support.pipeline_bench import LIMIT_S, Bench, FakeMessage, jpeg
from support.waiting import wait_until

from clip_worker.errors import TemporaryError
from worker.embeddings.store import Embedding, Space
from worker.metrics.instruments import Instruments
from worker.pipeline.embedding_stage import EmbeddingStage
from worker.pipeline.embedding_writer import MOST_WAITING
from worker.pipeline.upload_stage import UploadStage
from worker.preparation.records import FetchedImage, PreparedImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from clip_engine.engine import Engine
    from worker.preparation.records import ImageRequest

SPACE = Space("0" * 64, "test", 4)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class FakeStore:
    """A store in memory, which a test may hold or break."""

    def __init__(self) -> None:
        self.stored: dict[str, Embedding] = {}
        self.reads = 0
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None

    def get(self, space: Space, contents: Sequence[str]) -> Mapping[str, Any]:
        assert space is SPACE
        self.reads += 1
        assert self.go.wait(LIMIT_S)
        if self.error:
            raise self.error
        return {each: self.stored[each].feature for each in contents if each in self.stored}

    def put(self, space: Space, embeddings: Sequence[Embedding]) -> None:
        assert space is SPACE
        assert self.go.wait(LIMIT_S)
        if self.error:
            raise self.error
        self.stored |= {each.content: each for each in embeddings}

    def close(self) -> None:
        pass


class Keeping(Bench):
    """A pipeline with a store, whose pool asks as preparation processes do."""

    def __init__(self, engine: Engine, timer: Any = None, **options: Any) -> None:
        self.store, self.instruments = FakeStore(), Instruments()
        self.files: dict[str, bytes] = {}
        self.begun: list[list[Any]] = []

        def uploads(**given: Any) -> UploadStage:
            return UploadStage(self, max_bytes=10**6, most_bytes=10**6, **given)

        def begin(messages: Sequence[Any], _together: int | None) -> Sequence[Any]:
            self.begun.append(list(messages))
            return messages

        super().__init__(
            engine,
            instruments=self.instruments,
            uploads=uploads,
            begin=begin,
            timer=timer,
            embeddings=lambda **given: EmbeddingStage(self.store, SPACE, **given),  # type: ignore[arg-type]  # a part of one
            **options,
        )
        self.answers: dict[int, bool] = {}
        self.answered = threading.Condition()
        self.pool.answer = self._answer  # type: ignore[attr-defined]  # which most benches lack
        self._prepare, self.pool._prepare = self.pool._prepare, self._ask_first  # type: ignore[method-assign]

    def get_small(self, uris: Sequence[str]) -> list[bytes | Exception | None]:
        return [self.files[uri] for uri in uris]

    def get(self, uri: str, max_bytes: int) -> bytes:
        raise AssertionError(uri, max_bytes)

    def counts(self, name: str) -> dict[str, float]:
        found = {
            outcome: self.instruments.registry.get_sample_value(
                f"clip_worker_{name}_total", {"outcome": outcome}
            )
            for outcome in ("hit", "miss", "skipped", "written", "dropped")
        }
        return {outcome: value for outcome, value in found.items() if value}

    def _ask_first(self, request: ImageRequest) -> None:
        if request.data is None:
            picture = self.fetcher.pictures[request.uri]
            assert isinstance(picture, bytes)
            self.pipeline.fetched([FetchedImage(request.key, digest(picture))])
            with self.answered:
                assert self.answered.wait_for(lambda: request.key in self.answers, LIMIT_S)
                is_wanted = self.answers.pop(request.key)
            if not is_wanted:
                self.pool.on_prepared([PreparedImage(request.key, None, None, 0.001)])
                return
        self._prepare(request)

    def _answer(self, keys: Sequence[int], *, is_wanted: bool) -> None:
        with self.answered:
            self.answers |= dict.fromkeys(keys, is_wanted)
            self.answered.notify_all()


@pytest.fixture
def keeping(make: Callable[..., Keeping]) -> Keeping:
    return make(Keeping)


def wait_for_writes(bench: Keeping, count: int) -> None:
    wait_until(lambda: bench.counts("embeddings_stored").get("written") == count)


def test_an_image_whose_embedding_is_stored_is_not_encoded_again(keeping: Keeping) -> None:
    first = keeping.submit(jpeg(1), return_embedding=True).result(LIMIT_S)
    wait_for_writes(keeping, 1)
    message = FakeMessage()
    again = keeping.submit(jpeg(1), return_embedding=True, message=message).result(LIMIT_S)

    assert (first.embedding_from, again.embedding_from) == (None, "store")
    assert again.predictions == first.predictions
    assert again.embedding == pytest.approx(first.embedding)
    assert (again.timing.forward, again.timing.decode, again.timing.batch_size) == (0.0, 0.0, 0)
    assert keeping.engine.batches == [1]
    assert keeping.begun[-1] == [message]  # if scoring crashes the worker, it is to blame
    assert keeping.counts("embedding_lookups") == {"miss": 1, "hit": 1}
    value = keeping.instruments.registry.get_sample_value
    assert value("clip_worker_stage_seconds_count", {"stage": "forward"}) == 1
    assert value("clip_worker_stage_seconds_count", {"stage": "fetch"}) == 2


def test_what_is_stored_has_the_hash_of_the_file_and_no_secrets(keeping: Keeping) -> None:
    uri = "https://me:secret@example.org/cat.jpg?signature=secret"
    keeping.fetcher.pictures[uri] = jpeg(2)
    keeping.job(uri).result(LIMIT_S)
    wait_for_writes(keeping, 1)
    [stored] = keeping.store.stored.values()
    assert stored.content == digest(jpeg(2))
    assert "secret" not in stored.image


def test_an_upload_is_looked_up_before_it_is_read(keeping: Keeping) -> None:
    keeping.submit(jpeg(1)).result(LIMIT_S)
    wait_for_writes(keeping, 1)
    result = keeping.job(f"redis://uploads/{digest(jpeg(1))}#claim").result(LIMIT_S)
    assert result.embedding_from == "store"


@pytest.mark.parametrize("is_genuine", [True, False])
def test_an_upload_is_stored_only_if_it_is_what_its_name_says(
    keeping: Keeping,
    is_genuine: bool,  # noqa: FBT001  # pytest gives it by name
) -> None:
    name = f"redis://uploads/{digest(jpeg(1 if is_genuine else 2))}"
    keeping.files[name] = jpeg(1)
    assert keeping.job(name).result(LIMIT_S).embedding_from is None
    keeping.submit(jpeg(3)).result(LIMIT_S)
    wait_until(lambda: digest(jpeg(3)) in keeping.store.stored)
    assert (digest(jpeg(1)) in keeping.store.stored) == is_genuine
    assert digest(jpeg(2)) not in keeping.store.stored


def test_several_tasks_share_one_lookup(keeping: Keeping) -> None:
    keeping.submit(jpeg(1)).result(LIMIT_S)
    wait_for_writes(keeping, 1)
    keeping.store.go.clear()
    uri = next(iter(keeping.fetcher.pictures))
    futures = [keeping.job(uri, k=n) for n in (1, 2, 3)]
    keeping.store.go.set()
    found = [future.result(LIMIT_S) for future in futures]
    assert [len(each.predictions) for each in found] == [1, 2, 3]
    assert keeping.engine.batches == [1]


def test_a_message_that_crashed_a_worker_is_not_looked_up(keeping: Keeping) -> None:
    keeping.submit(jpeg(1)).result(LIMIT_S)
    wait_for_writes(keeping, 1)
    suspect = FakeMessage(crashes=("once",))
    result = keeping.submit(jpeg(1), message=suspect).result(LIMIT_S)
    assert result.embedding_from is None
    assert len(keeping.engine.batches) == 2


def test_a_slow_store_is_waited_for_one_second_and_then_not_asked(
    make: Callable[..., Keeping], caplog: pytest.LogCaptureFixture
) -> None:
    timer = FakeTimer()
    keeping = make(Keeping, timer=timer)
    keeping.store.go.clear()
    first = keeping.submit(jpeg(1))
    wait_until(lambda: keeping.store.reads == 1)
    timer.advance(0.9)
    assert not first.done()
    timer.advance(0.2)
    assert first.result(LIMIT_S).embedding_from is None
    # then the others are not held up at all
    others = [keeping.submit(jpeg(n)) for n in range(2, 6)]
    assert all(other.result(LIMIT_S).predictions for other in others)
    assert keeping.counts("embedding_lookups") == {"skipped": 5}
    assert caplog.text.count("until the embedding store answers") == 1
    # and after a rest it is tried again
    keeping.store.go.set()
    timer.advance(1.5)
    keeping.submit(jpeg(9)).result(LIMIT_S)
    wait_until(lambda: keeping.counts("embedding_lookups") == {"skipped": 5, "miss": 1})


def test_a_store_that_fails_costs_no_task_and_what_it_lacks_is_counted(
    make: Callable[..., Keeping], caplog: pytest.LogCaptureFixture
) -> None:
    keeping = make(Keeping, timer=FakeTimer())
    keeping.store.error = TemporaryError("It is away.", "EMBEDDING_STORE")
    futures = [keeping.submit(jpeg(n)) for n in range(8)]
    assert all(future.result(LIMIT_S).predictions for future in futures)
    wait_until(lambda: keeping.counts("embeddings_stored") == {"dropped": 8})
    assert keeping.counts("embedding_lookups") == {"skipped": 8}
    assert caplog.text.count("No embeddings are read") == 1
    assert caplog.text.count("No embeddings are written") == 1


def test_what_does_not_fit_into_the_queue_of_writes_is_dropped(
    keeping: Keeping, engine: Engine
) -> None:
    keeping.store.go.clear()
    task: Any = type("Task", (), {"content": "0" * 64, "image": "data:,x"})()
    features = engine.encode_pixels([engine.prepare(jpeg(1))])
    writer = keeping.pipeline._embeddings._writer  # type: ignore[union-attr]
    for _ in range(MOST_WAITING + 1000):
        writer.put([task], features)
    dropped = keeping.counts("embeddings_stored")["dropped"]
    assert 1000 - 512 <= dropped <= 1000  # up to 512 are being written
    keeping.store.go.set()
    wait_until(
        lambda: keeping.counts("embeddings_stored").get("written") == MOST_WAITING + 1000 - dropped
    )


def test_a_feature_that_is_not_finite_is_not_stored(keeping: Keeping, engine: Engine) -> None:
    task: Any = type("Task", (), {"content": "0" * 64, "image": "data:,x"})()
    features = engine.encode_pixels([engine.prepare(jpeg(1))])
    writer = keeping.pipeline._embeddings._writer  # type: ignore[union-attr]
    writer.put([task], features * np.nan)
    keeping.submit(jpeg(1)).result(LIMIT_S)
    wait_for_writes(keeping, 1)
    assert list(keeping.store.stored) == [digest(jpeg(1))]
