"""The error tree: codes, sentences, and the way through Celery's JSON to another process."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.exceptions import NotRegistered, TaskRevokedError
from kombu.exceptions import OperationalError
from redis.exceptions import (
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import MasterNotFoundError

from clip_engine import errors as engine_errors
from clip_worker import errors
from clip_worker.client.result_error import result_error
from clip_worker.errors import (
    ClipWorkerError,
    ExpiredError,
    ImageInvalidError,
    QueueUnavailableError,
    ServiceError,
    TemporaryError,
)
from clip_worker.redis.error_translation import translated
from worker.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
URL = "redis://:secret@localhost:6379/0"
SENTENCE = "The image 'naïve 🐈 \\ \"x\"' is\tno image: give one of ours."
DECODER = """
import json, sys
from celery import Celery
import clip_worker.errors

backend = Celery("reader", backend="cache+memory://", set_as_current=False).backend
for line in sys.stdin:
    error = backend.exception_to_python(backend.decode_result(line)["result"])
    print(json.dumps([type(error).__module__, type(error).__qualname__, error.message, error.code,
                      str(error), list(error.args)]))
"""


def tree(root: type[BaseException]) -> Iterator[type[Any]]:
    """A class and all below it that have been imported."""
    yield root
    for kind in root.__subclasses__():
        yield from tree(kind)


# What a task can't raise never crosses the queue.
LOCAL = ("worker.cli.demo.redis_server", "worker.cli.")
CLASSES = [
    kind
    for kind in tree(ClipWorkerError)
    if kind.__module__.startswith(("worker.", "clip_worker."))
    and not kind.__module__.startswith(LOCAL)
]


def test_the_tree_is_walked_beyond_its_own_module() -> None:
    assert SettingsError in CLASSES
    assert len(CLASSES) >= 10


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_is_made_of_a_sentence_and_a_code(kind: type[ClipWorkerError]) -> None:
    error = kind("A sentence.", "A_CODE")
    assert (error.message, error.code, str(error)) == ("A sentence.", "A_CODE", "A sentence.")
    assert error.args == ("A sentence. [A_CODE]",)
    for again in (kind(*error.args), pickle.loads(pickle.dumps(error))):
        assert (again.message, again.code, again.args) == ("A sentence.", "A_CODE", error.args)


@pytest.mark.parametrize("kind", CLASSES)
def test_without_a_code_an_error_has_its_classes_own(kind: type[ClipWorkerError]) -> None:
    assert kind("A sentence.").code == kind.default_code
    assert kind.default_code.isupper()


def test_the_docstrings_draw_the_whole_tree() -> None:
    for module, root in (
        (errors, ClipWorkerError),
        (engine_errors, engine_errors.ClipEngineError),
    ):
        for kind in tree(root):
            if kind.__module__ == module.__name__:
                assert kind.__name__ in str(module.__doc__), kind


def test_every_error_reaches_another_process_through_celerys_json() -> None:
    # given a failure of every class that a task can raise, encoded as a worker stores it
    backend = Celery("writer", backend="cache+memory://", set_as_current=False).backend
    made = [
        error
        for kind in CLASSES
        if kind is not SettingsError  # ends a worker's start
        for error in (kind(SENTENCE), kind(SENTENCE, "CODE_OF_ITS_OWN"), kind(""))
    ]
    stored = [
        json.dumps({"status": "FAILURE", "result": backend.prepare_exception(error, "json")})
        for error in made
    ]
    # when a process that has only imported the client decodes them
    finished = subprocess.run(
        [sys.executable, "-c", DECODER],
        input="\n".join(stored),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    # then each is what it was
    rebuilt = [json.loads(line) for line in finished.stdout.splitlines()]
    assert rebuilt == [
        [
            type(error).__module__,
            type(error).__qualname__,
            error.message,
            error.code,
            str(error),
            list(error.args),
        ]
        for error in made
    ]


# --- what the client makes of lower errors ---


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OperationalError("Connection refused"), "Connection refused"),
        (RedisConnectionError("Error 111.\nSecond line"), "Error 111. Start it"),
        (OutOfMemoryError("used memory > 'maxmemory'"), "its memory is full (maxmemory)"),
        (ReadOnlyError("You can't write"), "it is a replica"),
        (ResponseError("MISCONF Redis is configured to save"), "it can't write to its disk"),
        (BusyLoadingError("Redis is loading"), "it is still loading its data"),
        (ConnectionResetError("reset by peer"), "reset by peer"),
        (
            MasterNotFoundError("No master found for 'm' : <redis.client.Redis(...)> - refused"),
            "No master found for 'm'. Start it",
        ),
        (TimeoutError(), "TimeoutError"),
        (RedisError(""), "RedisError"),
    ],
)
def test_a_redis_that_fails_is_named_without_its_password(error: Exception, words: str) -> None:
    with pytest.raises(QueueUnavailableError) as caught, translated(URL):
        raise error
    assert words in caught.value.message
    assert "redis://:***@localhost:6379/0" in caught.value.message
    assert "secret" not in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.__cause__ is error


def test_our_own_stores_failures_get_the_url_too() -> None:
    refused = TemporaryError("The upload can't be stored.")
    refused.__cause__ = RedisConnectionError("refused")
    with pytest.raises(QueueUnavailableError, match=r"redis://:\*\*\*@localhost"), translated(URL):
        raise refused


def test_a_temporary_error_of_another_kind_stays_as_it_is() -> None:
    timed_out = TemporaryError("The server is slow.", "FETCH_TIMEOUT")
    with pytest.raises(TemporaryError) as caught, translated(URL):
        raise timed_out
    assert caught.value is timed_out


def test_what_is_not_redis_passes_through() -> None:
    with pytest.raises(ZeroDivisionError), translated(URL):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "kind", "code", "words"),
    [
        (TaskRevokedError("expired"), ExpiredError, "REVOKED", "abc was revoked or expired"),
        (KeyError("x"), ServiceError, "INTERNAL", "failed with KeyError"),
        (NotRegistered("clip.classify"), ServiceError, "NOT_REGISTERED", "(CLIP_WORKER_QUEUE)"),
        (MemoryError(), ServiceError, "INTERNAL", "failed with MemoryError"),
    ],
)
def test_what_a_task_failed_with_is_translated(
    error: Exception, kind: type[ClipWorkerError], code: str, words: str
) -> None:
    translated_error = result_error(error, "abc")
    assert (type(translated_error), translated_error.code) == (kind, code)
    assert words in translated_error.message


def test_the_workers_own_error_is_handed_on_as_it_is() -> None:
    error = ImageInvalidError("It is cut off.", "DECODE_TRUNCATED")
    assert result_error(error, "abc") is error
