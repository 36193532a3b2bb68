"""Tasks that ask for the same image at the same time: it is fetched, decoded and encoded once."""

from __future__ import annotations

import base64
import hashlib
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_timer import FakeTimer
from support.pipeline_bench import (
    LABELS,
    LIMIT_S,
    NOW,
    SLOTS,
    Bench,
    FakeFetcher,
    FakeMessage,
    jpeg,
)
from support.waiting import wait_until

from clip_worker.errors import ClipWorkerError, ExpiredError, ImageUnavailableError, TemporaryError
from worker.metrics.instruments import Instruments
from worker.pipeline.circuit_breaker import RestPolicy
from worker.pipeline.image_task import ImageTask, TaggingRequest
from worker.pipeline.retry import RetryPolicy
from worker.pipeline.single_flight import image_of, take_times
from worker.pipeline.upload_stage import UploadStage
from worker.preparation.records import PreparedImage
from worker.sources.reservation import Reserve, unlimited

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from clip_engine.engine import Engine

OWNER: Any = None
URI = "https://example.org/cat.jpg"
TEMPLATES = ("a photo of a {}.",)  # of the bench
TEN = [(*LABELS, f"label {n}") for n in range(10)]


class HeldFetcher(FakeFetcher):
    """Fetches wait until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures = {URI: jpeg(1)}
        self.go = threading.Event()
        self.errors: list[BaseException] = []

    def fetch(self, uri: str, reserve: Reserve = unlimited) -> bytes:
        self.fetched.append(uri)
        assert self.go.wait(LIMIT_S)
        if self.errors:
            raise self.errors.pop(0)
        picture = self.pictures[uri]
        assert isinstance(picture, bytes)
        reserve(len(picture))
        return picture


class Held(Bench):
    """A pipeline whose fetches are held, and which counts."""

    def __init__(self, engine: Engine, **options: Any) -> None:
        self.held = HeldFetcher()
        self.instruments = Instruments()
        self.begun: list[list[Any]] = []
        self.revoked: set[Any] = set()
        given = {"begin": self._begin, "instruments": self.instruments}
        super().__init__(engine, self.held, **(given | options))

    def _begin(self, messages: Sequence[Any], _together: int | None) -> list[Any]:
        self.begun.append(list(messages))
        return [each for each in messages if each not in self.revoked]

    def ask(self, *requests: dict[str, Any]) -> list[Future[Any]]:
        """Ask about one image, one task after the other, the first one being fetched."""
        for request in requests:  # features that are cached take no detour over a thread
            self.engine.labels.get(request.get("labels", LABELS), TEMPLATES)
        futures = [self.job(URI, **requests[0])]
        wait_until(lambda: self.held.fetched)
        return futures + [self.job(URI, **request) for request in requests[1:]]

    @property
    def images(self) -> int:
        """That went through the model."""
        return sum(self.engine.batches)

    def close(self) -> None:
        self.held.go.set()
        super().close()


@pytest.fixture
def held(make: Callable[..., Held]) -> Held:
    return make(Held)


def code(future: Future[Any]) -> str:
    error = future.exception(LIMIT_S)
    assert isinstance(error, ClipWorkerError), error
    return error.code


def test_ten_tasks_on_one_picture_are_one_fetch_one_forward_pass_and_ten_answers(
    held: Held, engine: Engine
) -> None:
    messages = [FakeMessage(str(n)) for n in range(10)]
    futures = held.ask(*({"labels": TEN[n], "k": n + 1, "message": messages[n]} for n in range(10)))
    assert held.pipeline.in_flight == 10
    held.held.go.set()

    for n, future in enumerate(futures):
        result = future.result(LIMIT_S)
        [expected] = engine.classify([jpeg(1)], TEN[n], k=n + 1)
        assert [p.label for p in result.predictions] == [p.label for p in expected]
        assert result.predictions[0].probability == pytest.approx(expected[0].probability)
        assert result.timing.batch_size == 1
    assert held.held.fetched == [URI]
    assert held.engine.batches == [1]
    assert held.begun == [messages]  # one of them would be blamed alone
    assert all(message.progressed.acquire(blocking=False) for message in messages)
    assert held.instruments.images == 10
    assert held.instruments.batches == (1, 1.0)
    assert len(held.pool.free) == SLOTS


def test_images_that_are_shared_and_others_run_in_one_batch(held: Held, engine: Engine) -> None:
    held.held.pictures["https://example.org/dog.jpg"] = jpeg(2)
    held.held.go.set()
    held.engine.gate.clear()
    blocker = held.job(URI)  # occupies the runner
    assert held.engine.begun.acquire(timeout=LIMIT_S)
    uris = [URI, "https://example.org/dog.jpg", URI, "https://example.org/dog.jpg", URI]
    futures = [held.job(uri, return_embedding=True) for uri in uris]
    wait_until(lambda: len(held.held.fetched) == 3)
    held.engine.gate.set()
    blocker.result(LIMIT_S)

    found = [future.result(LIMIT_S).embedding for future in futures]

    cat, dog = engine.encode_pixels([engine.prepare(jpeg(n)) for n in (1, 2)]).tolist()
    for embedding, expected in zip(found, [cat, dog, cat, dog, cat], strict=True):
        assert embedding == pytest.approx(expected, abs=1e-6)
    assert held.images == 3


def test_what_has_been_answered_is_not_shared(held: Held) -> None:
    held.held.go.set()
    for _ in range(3):
        held.job(URI).result(LIMIT_S)
    assert held.held.fetched == [URI] * 3


def test_an_expired_leader_leaves_its_image_to_its_followers(held: Held) -> None:
    leader, follower = held.ask({"deadline": NOW + 5}, {})
    held.now_s = NOW + 6
    held.held.go.set()
    assert code(leader) == "EXPIRED"
    assert follower.result(LIMIT_S).predictions
    assert held.held.fetched == [URI]


def test_deadlines_are_seen_while_the_image_is_fetched(make: Callable[..., Held]) -> None:
    timer = FakeTimer()
    held = make(Held, timer=timer)
    leader, early, late = held.ask({"deadline": NOW + 5}, {"deadline": NOW + 5}, {})
    timer.advance(1.0)
    assert not leader.done()
    held.now_s = NOW + 6
    timer.advance(1.0)
    assert [code(leader), code(early)] == ["EXPIRED"] * 2
    held.held.go.set()
    assert late.result(LIMIT_S).predictions
    timer.advance(2.0)
    assert not timer.due_in_s  # nothing is looked at once nothing is shared


@pytest.mark.parametrize("position", [0, 1])
def test_a_revoked_task_ends_alone(held: Held, position: int) -> None:
    messages = [FakeMessage("a"), FakeMessage("b")]
    futures = held.ask(*({"message": message} for message in messages))
    messages[position].ended = True
    held.revoked.add(messages[position])
    held.held.go.set()
    assert code(futures[position]) == "REVOKED"
    assert futures[1 - position].result(LIMIT_S).predictions
    assert held.images == 1


def test_a_leader_whose_message_is_anothers_is_requeued_alone(held: Held) -> None:
    messages = [FakeMessage("a"), FakeMessage("b")]
    leader, follower = held.ask(*({"message": message} for message in messages))
    held.revoked.add(messages[0])
    held.held.go.set()
    assert code(leader) == "STOPPING"
    assert follower.result(LIMIT_S).predictions


def test_an_image_of_which_nobody_waits_is_not_encoded(held: Held) -> None:
    futures = held.ask({"deadline": NOW + 5}, {"deadline": NOW + 5})
    held.now_s = NOW + 6
    held.held.go.set()
    assert [code(future) for future in futures] == ["EXPIRED"] * 2
    held.now_s = NOW
    assert held.job(URI).result(LIMIT_S).predictions
    assert held.images == 1


def test_after_all_were_abandoned_the_same_image_is_asked_for_anew(held: Held) -> None:
    futures = held.ask({}, {})
    held.pipeline.abandon()
    assert [code(future) for future in futures] == ["STOPPING"] * 2
    again = held.job(URI)  # joins what is still being fetched, or fetches
    held.held.go.set()
    assert again.result(LIMIT_S).predictions


def test_the_failure_of_an_image_fails_all_and_is_retried_once_for_all(
    make: Callable[..., Held],
) -> None:
    held = make(Held, draw=lambda: 0.0, retry=RetryPolicy(attempts=2))
    busy = TemporaryError("Busy.", "FETCH_503")
    held.held.errors = [busy, ImageUnavailableError("Gone.", "FETCH_404")]
    futures = held.ask({}, {}, {})
    held.held.go.set()
    assert [code(future) for future in futures] == ["FETCH_404"] * 3
    assert held.held.fetched == [URI] * 2
    assert held.instruments.fetch_retries == 1


def test_a_failed_forward_pass_fails_all(held: Held) -> None:
    held.engine.fail_with = RuntimeError("no")
    futures = held.ask({}, {})
    held.held.go.set()
    assert [code(future) for future in futures] == ["INTERNAL"] * 2


def test_those_that_wait_for_a_retry_or_a_host_all_count_as_resting(
    make: Callable[..., Held],
) -> None:
    timer = FakeTimer()
    rest = RestPolicy(failures=2, first_s=100.0, longest_s=100.0)
    held = make(Held, timer=timer, rest=rest, draw=lambda: 1.0)
    held.held.errors = [TemporaryError("Busy.", "FETCH_503")] * 2
    futures = held.ask({}, {}, {})
    held.held.go.set()
    wait_until(lambda: held.pipeline.resting == 3)
    timer.advance(1.0)  # the second attempt fails, too
    wait_until(lambda: len(held.held.fetched) == 2 and held.pipeline.hosts_resting == 1)
    wait_until(lambda: held.pipeline.resting == 3)
    timer.advance(1.0)
    assert held.pipeline.resting == 3  # for their host now
    timer.advance(100.0)
    assert all(future.result(LIMIT_S).predictions for future in futures)


def test_a_follower_may_wait_for_longer_than_the_pool_was_told(held: Held) -> None:
    prepared = held.pool.on_prepared
    keys: list[int] = []

    def expire_first(images: Sequence[PreparedImage]) -> None:
        if not keys:
            keys.append(images[0].key)
            held.pool.release([images[0].slot or 0])
            images = [PreparedImage(images[0].key, None, ExpiredError("Too late."))]
        prepared(images)

    held.pool.on_prepared = expire_first
    leader, follower = held.ask({"deadline": NOW + 5}, {})
    held.now_s = NOW + 6
    held.held.go.set()
    assert follower.result(LIMIT_S).predictions
    assert code(leader) == "EXPIRED"
    assert held.held.fetched == [URI] * 2


def test_tasks_of_messages_that_crashed_workers_share_nothing(held: Held) -> None:
    suspects = [FakeMessage(name, crashes=("once",)) for name in "ab"]
    held.held.go.set()
    futures = [held.job(URI, message=message) for message in suspects]
    assert all(future.result(LIMIT_S).predictions for future in futures)
    assert len(held.held.fetched) == 2
    alone = [messages for messages in held.begun if messages]
    assert all(len(messages) == 1 for messages in alone)


def test_data_uris_are_shared_too(held: Held) -> None:
    uri = "data:image/jpeg;base64," + base64.b64encode(jpeg(3)).decode()
    held.held.pictures[uri] = jpeg(3)
    futures = [held.job(uri) for _ in range(3)]
    held.held.go.set()
    assert all(future.result(LIMIT_S).predictions for future in futures)
    assert held.held.fetched == [uri]


class Uploads:
    """A store with one upload, which it gives once `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.read: list[str] = []

    def get_small(self, uris: Sequence[str]) -> list[bytes | Exception | None]:
        assert self.go.wait(LIMIT_S)
        self.read += uris
        return [jpeg(4)] * len(uris)

    def get(self, uri: str, max_bytes: int) -> bytes:
        raise AssertionError(uri, max_bytes)


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_an_upload_is_read_once_and_kept_until_its_last_task_has_ended(
    make: Callable[..., Held], first_to_end: int
) -> None:
    store = Uploads()
    stages: list[UploadStage] = []

    def uploads(**given: Any) -> UploadStage:
        stages.append(UploadStage(store, max_bytes=10**6, most_bytes=10**6, **given))
        return stages[0]

    held = make(Held, uploads=uploads)
    plain = "redis://uploads/" + hashlib.sha256(jpeg(4)).hexdigest()
    deadlines: list[float | None] = [None, None]
    deadlines[first_to_end] = NOW + 5
    futures = [
        held.job(f"{plain}#claim{n}", deadline=deadline) for n, deadline in enumerate(deadlines)
    ]
    held.engine.gate.clear()
    store.go.set()
    held.held.go.set()
    assert held.engine.begun.acquire(timeout=LIMIT_S)
    assert stages[0].held_bytes == len(jpeg(4))
    held.engine.gate.set()
    assert all(future.result(LIMIT_S).predictions for future in futures)
    assert len(store.read) == 1
    wait_until(lambda: stages[0].held_bytes == 0)


def test_an_upload_that_nobody_waits_for_any_more_is_let_go(make: Callable[..., Held]) -> None:
    store = Uploads()
    stages: list[UploadStage] = []

    def uploads(**given: Any) -> UploadStage:
        stages.append(UploadStage(store, max_bytes=10**6, most_bytes=10**6, **given))
        return stages[0]

    held = make(Held, uploads=uploads)
    future = held.job("redis://uploads/" + 64 * "a")
    held.pipeline.abandon()
    store.go.set()
    assert code(future) == "STOPPING"
    wait_until(lambda: store.read)
    wait_until(lambda: stages[0].held_bytes == 0)


def test_images_are_the_same_if_their_uris_are_apart_from_an_uploads_claim() -> None:
    def image(uri: str) -> str:
        request = TaggingRequest(LABELS, ("{}",), 1)
        return image_of(ImageTask(uri, request, OWNER))

    upload = "redis://uploads/" + 64 * "0"
    assert image(f"{upload}#a") == image(f"{upload}#b") == image(upload)
    assert image(f"{upload}/cat.jpg#a") == image(upload)
    different = {f"{URI}?size=1", f"{URI}?size=2", f"{URI}#a", URI.upper(), URI}
    assert len({image(uri) for uri in different}) == len(different)


@pytest.mark.parametrize(
    ("joined_s", "prepared_s", "fetch_s", "decode_s"),
    [
        (10.0, 15.0, 3.0, 2.0),
        (12.5, 15.0, 0.5, 2.0),
        (14.0, 15.0, 0.0, 1.0),
        (16.0, 16.0, 0.0, 0.0),
    ],
)
def test_a_followers_times_are_those_that_it_waited_for(
    joined_s: float, prepared_s: float, fetch_s: float, decode_s: float
) -> None:
    # given: fetched from 10 to 13, decoded until 15
    request = TaggingRequest(LABELS, ("{}",), 1)
    task: Any = partial(ImageTask, URI, request, OWNER)
    leader, follower = task(prepared_s=15.0, fetch_s=3.0, decode_s=2.0), task(since_s=joined_s)
    take_times(follower, leader)
    assert follower.prepared_s == prepared_s
    assert (follower.fetch_s, follower.decode_s) == pytest.approx((fetch_s, decode_s))
