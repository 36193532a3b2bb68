"""What we store is what Celery would have stored, and what its clients read."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.exceptions import TaskRevokedError

from worker.contract.celery_result import failure, result_key, revoked, success
from worker.contract.message_reader import Envelope
from worker.errors import ImageInvalidError

if TYPE_CHECKING:
    from collections.abc import Callable

RESULT = {"predictions": [{"label": "Ä\n\"'", "probability": 0.25, "index": 0}], "embedding": None}
HEADERS: dict[str, Any] = {"id": "an-id", "task": "clip.classify"}


@pytest.fixture
def backend() -> Any:
    app = Celery(broker="redis://localhost:1", backend="redis://localhost:1", set_as_current=False)
    yield app.backend
    app.close()


def _of_celery(backend: Any, state: str, result: object, **request: str) -> dict[str, Any]:
    meta = backend._get_result_meta(
        backend.encode_result(result, state), state, None, SimpleNamespace(children=[], **request)
    )
    decoded = json.loads(backend.encode(meta | {"task_id": HEADERS["id"]}))
    assert isinstance(decoded, dict)
    return decoded


def _without_time(stored: str | dict[str, Any]) -> dict[str, Any]:
    meta = json.loads(stored) if isinstance(stored, str) else dict(stored)
    assert meta.pop("date_done").endswith("+00:00")
    return meta  # type: ignore[no-any-return]  # json


@pytest.mark.parametrize(
    ("headers", "request_fields"),
    [
        ({}, {}),
        ({"group": "g", "parent_id": "p"}, {"group": "g", "parent_id": "p"}),
    ],
    ids=["alone", "in a group"],
)
def test_a_success_is_stored_as_celery_stores_it(
    backend: Any, headers: dict[str, str], request_fields: dict[str, str]
) -> None:
    envelope = Envelope("an-id", "clip.classify", HEADERS | headers, {})

    ours = success(envelope, json.dumps(RESULT))

    assert _without_time(ours) == _without_time(
        _of_celery(backend, "SUCCESS", RESULT, **request_fields)
    )


@pytest.mark.parametrize(
    ("stored", "state", "error"),
    [
        (
            lambda envelope: failure(envelope, ImageInvalidError("It is broken.", "DECODE_BROKEN")),
            "FAILURE",
            ImageInvalidError("It is broken.", "DECODE_BROKEN"),
        ),
        (lambda envelope: failure(envelope, KeyError("x")), "FAILURE", KeyError("x")),
        (lambda envelope: revoked(envelope, "expired"), "REVOKED", TaskRevokedError("expired")),
    ],
    ids=["our error", "another error", "revoked"],
)
def test_an_error_is_stored_as_celery_stores_it_and_comes_back_as_itself(
    backend: Any, stored: Callable[[Envelope], str], state: str, error: Exception
) -> None:
    ours = stored(Envelope("an-id", "clip.classify", HEADERS, {}))

    assert _without_time(ours) == _without_time(_of_celery(backend, state, error))
    read = backend.decode_result(ours)["result"]
    assert type(read) is type(error)
    assert read.args == error.args


def test_the_key_is_where_celerys_clients_look(backend: Any) -> None:
    assert result_key("an-id").encode() == backend.get_key_for_task("an-id")
