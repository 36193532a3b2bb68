"""Stored results compared with those that Celery stores and reads."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from clip_worker.contract.celery_result import failure, result_key, revoked, success
from clip_worker.contract.message_reader import Envelope
from clip_worker.errors import ImageInvalidError

RESULT = {"predictions": [{"label": "Ä\n\"'", "probability": 0.25, "index": 0}], "embedding": None}
HEADERS: dict[str, Any] = {"id": "an-id", "task": "clip.classify"}


@pytest.fixture
def backend():
    app = Celery(broker="redis://localhost:1", backend="redis://localhost:1", set_as_current=False)
    yield app.backend
    app.close()


def by_celery(backend, state, result, **request: str):
    meta = backend._get_result_meta(
        backend.encode_result(result, state), state, None, SimpleNamespace(children=[], **request)
    )
    return backend.encode(meta | {"task_id": HEADERS["id"]})


def without_time(stored):
    meta = json.loads(stored)
    assert meta.pop("date_done").endswith("+00:00")
    return meta


@pytest.mark.parametrize("family", [{}, {"group": "g", "parent_id": "p"}], ids=["alone", "group"])
def test_a_success_is_stored_as_celery_stores_it(backend, family):
    envelope = Envelope("an-id", "clip.classify", HEADERS | family, {})

    ours = success(envelope, json.dumps(RESULT))

    assert without_time(ours) == without_time(by_celery(backend, "SUCCESS", RESULT, **family))


@pytest.mark.parametrize(
    ("store", "state", "error"),
    [
        (failure, "FAILURE", ImageInvalidError("It is broken.", "DECODE_BROKEN")),
        (failure, "FAILURE", KeyError("x")),
        (lambda envelope, error: revoked(envelope, *error.args), "REVOKED", TaskRevokedError("x")),
    ],
    ids=["our error", "another error", "revoked"],
)
def test_an_error_is_stored_as_celery_stores_it_and_is_read_as_itself(backend, store, state, error):
    ours = store(Envelope("an-id", "clip.classify", HEADERS, {}), error)

    assert without_time(ours) == without_time(by_celery(backend, state, error))
    read = backend.decode_result(ours)["result"]
    assert (type(read), read.args) == (type(error), error.args)


def test_the_key_is_the_one_that_celery_reads(backend):
    assert result_key("an-id").encode() == backend.get_key_for_task("an-id")
