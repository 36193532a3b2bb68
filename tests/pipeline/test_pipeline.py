"""One picture's way through a worker: what each stage gives, and how each failure ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from support.pipeline_bench import LABELS, LIMIT_S, NOW, Bench, jpeg

from clip_engine.errors import (
    ClipEngineError,
    DeviceLostError,
    DeviceMemoryError,
    ImageError,
    InputError,
    TextTooLongError,
)
from clip_worker.errors import (
    ClipWorkerError,
    ExpiredError,
    ImageInvalidError,
    ImageUnavailableError,
    InvalidRequestError,
    ServiceError,
    TemporaryError,
)
from worker.pipeline.error_translation import translate

if TYPE_CHECKING:
    from clip_engine.engine import Engine


# --- what comes out ---


def test_a_picture_gets_the_engines_own_answer(bench: Bench, engine: Engine) -> None:
    result = bench.submit(jpeg(1), k=2, queue_s=1.5).result(LIMIT_S)
    [expected] = engine.classify([jpeg(1)], LABELS, k=2)
    assert [(p.label, p.probability, p.index) for p in result.predictions] == [
        (p.label, p.probability, p.index) for p in expected
    ]
    assert (result.model, result.model_digest) == ("tiny", "0" * 64)
    assert (result.timing.queue, result.timing.batch_size) == (1.5, 1)
    assert result.embedding is None
    assert min(result.timing.fetch, result.timing.decode, result.timing.forward) > 0


def test_the_embedding_comes_when_it_is_asked_for(bench: Bench, engine: Engine) -> None:
    result = bench.submit(jpeg(1), return_embedding=True).result(LIMIT_S)
    [feature] = engine.encode_pixels([engine.prepare(jpeg(1))])
    assert torch.equal(torch.tensor(result.embedding), feature)


def test_what_is_less_probable_than_the_threshold_is_left_out(bench: Bench) -> None:
    everything = bench.submit(jpeg(1)).result(LIMIT_S).predictions
    limit = everything[1].probability
    kept = bench.submit(jpeg(1), threshold=limit).result(LIMIT_S).predictions
    assert kept == everything[:2]
    assert bench.submit(jpeg(1), threshold=1.0).result(LIMIT_S).predictions == ()


def test_jobs_of_one_batch_have_their_own_labels_templates_and_k(
    bench: Bench, engine: Engine
) -> None:
    # given three different questions that wait for the model together
    bench.engine.gate.clear()
    first = bench.submit(jpeg(0))
    futures = [
        bench.submit(jpeg(1), labels=("a", "b"), k=1),
        bench.submit(jpeg(2), labels=("x",), templates=("{}", "a {}")),
        bench.submit(jpeg(3), labels=("p", "q", "r", "s"), k=3),
    ]
    bench.engine.gate.set()
    # then
    answers = [[p.label for p in f.result(LIMIT_S).predictions] for f in [first, *futures]]
    assert [len(answer) for answer in answers] == [3, 1, 1, 3]
    [expected] = engine.classify([jpeg(3)], ["p", "q", "r", "s"], k=3)
    assert answers[3] == [p.label for p in expected]


# --- failures, stage by stage ---


def test_a_deadline_that_has_passed_ends_the_job_before_it_is_fetched(bench: Bench) -> None:
    error = bench.error(jpeg(1), deadline=NOW - 2.5)
    assert isinstance(error, ExpiredError)
    assert (error.code, "passed 2.5 s before" in error.message) == ("EXPIRED", True)
    assert bench.fetcher.fetched == []
    assert bench.submit(jpeg(1), deadline=NOW).exception(LIMIT_S) is None


def test_a_label_that_is_too_long_costs_no_fetch(bench: Bench) -> None:
    error = bench.error(jpeg(1), labels=("cat " * 80,))
    assert (type(error), error.code) == (InvalidRequestError, "LABEL_TOO_LONG")
    assert bench.fetcher.fetched == []


def test_what_the_fetcher_says_reaches_the_caller_as_it_is(bench: Bench) -> None:
    refusal = ImageUnavailableError("There is none.", "FETCH_404")
    assert bench.error(refusal) is refusal


def test_a_bug_in_the_fetcher_is_the_services_fault(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    error = bench.error(ZeroDivisionError("by zero"))
    assert (type(error), error.code) == (ServiceError, "INTERNAL")
    assert "'https://example.org/0.jpg'" in error.message
    assert "ZeroDivisionError" in error.message
    # and the operator's log has the traceback
    assert "Traceback" in caplog.text
    assert "ZeroDivisionError: by zero" in caplog.text
    # and the caller's error has none, for it would be stored with the result
    assert (error.__cause__, error.__context__, error.__traceback__) == (None, None, None)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "EMPTY_IMAGE"),
        (b"<html>", "DECODE_UNRECOGNIZED"),
        (jpeg(1)[:600], "DECODE_TRUNCATED"),
    ],
)
def test_bytes_that_are_no_picture_are_the_pictures_fault(
    bench: Bench, data: bytes, code: str
) -> None:
    error = bench.error(data)
    assert (type(error), error.code) == (ImageInvalidError, code)
    assert "'https://example.org/0.jpg': " in error.message


def test_a_bad_picture_does_not_fail_the_jobs_around_it(bench: Bench) -> None:
    pictures = [jpeg(1), b"no picture", jpeg(2), ImageUnavailableError("gone"), jpeg(3)]
    futures = [bench.submit(picture) for picture in pictures]
    failed = [future.exception(LIMIT_S) is not None for future in futures]
    assert failed == [False, True, False, True, False]


def test_a_failed_forward_fails_each_job_of_its_batch_with_its_own_sentence(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    # given three jobs
    bench.engine.fail_with = RuntimeError("CUDA error: out of memory")
    futures = [bench.submit(jpeg(seed)) for seed in range(3)]
    errors = [future.exception(LIMIT_S) for future in futures]
    # then
    for index, error in enumerate(errors):
        assert isinstance(error, ServiceError)
        assert f"/{index}.jpg" in error.message
        assert "CUDA error: out of memory" in error.message
    # and the next batch is sound
    bench.engine.fail_with = None
    assert bench.submit(jpeg(4)).exception(LIMIT_S) is None


def test_a_model_that_overflows_is_the_services_fault(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = torch.full((8, 32), float("nan"))
    monkeypatch.setattr(bench.engine, "encode_pixels", lambda pixels: nothing[: len(pixels)])
    assert type(bench.error(jpeg(1))) is ServiceError


# --- the translation by itself ---


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ImageError("It is cut off.", "DECODE_TRUNCATED"), ImageInvalidError, "DECODE_TRUNCATED"),
        (TextTooLongError("It is too long."), InvalidRequestError, "LABEL_TOO_LONG"),
        (InputError("k is 0."), InvalidRequestError, "INVALID_REQUEST"),
        (DeviceLostError("Xid 79"), TemporaryError, "DEVICE_LOST"),
        (ValueError("a label 'after shutdown'"), ServiceError, "INTERNAL"),
        (ClipEngineError("NaN"), ServiceError, "INTERNAL"),
        (MemoryError(), TemporaryError, "OUT_OF_MEMORY"),
        (DeviceMemoryError("No room for 1."), TemporaryError, "OUT_OF_MEMORY"),
        (KeyboardInterrupt(), ServiceError, "INTERNAL"),
    ],
)
def test_each_lower_error_has_a_class_and_a_code(
    error: BaseException, kind: type[ClipWorkerError], code: str
) -> None:
    translated = translate(error, "https://example.org/cat.jpg")
    assert (type(translated), translated.code) == (kind, code)
    assert translated.__cause__ is error


def test_every_error_of_the_engine_is_translated() -> None:
    kinds = [ClipEngineError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert len(kinds) >= 8
    reported = {ImageError: ImageInvalidError, InputError: InvalidRequestError}
    reported |= {DeviceLostError: TemporaryError, DeviceMemoryError: TemporaryError}
    for kind in kinds:
        error = kind("Wrong.", "CODE") if kind is ImageError else kind("Wrong.")
        expected = next((reported[each] for each in kind.__mro__ if each in reported), ServiceError)
        assert type(translate(error, "data:,")) is expected, kind


def test_a_huge_uri_is_cut_in_the_sentence() -> None:
    assert len(translate(ValueError("x" * 10**6), "data:," + "x" * 10**6).message) < 400
