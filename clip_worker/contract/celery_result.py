"""Encodes results and failures as Celery's Redis backend stores them.

Celery's own encoder takes longer than everything else about a small task. This one writes the same
bytes (`tests/contract/test_celery_result.py` compares them with Celery's).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from celery import states

from clip_worker.contract.keys import RESULT_PREFIX

if TYPE_CHECKING:
    from clip_worker.contract.message_reader import Envelope


def result_key(task_id: str) -> str:
    """The key that Celery's clients read a task's result from."""
    return RESULT_PREFIX + task_id


def success(envelope: Envelope, result_json: str) -> str:
    """The stored result of a task that succeeded.

    Args:
        envelope: The task's message.
        result_json: Its result as JSON.
    """
    return _stored(envelope, states.SUCCESS, result_json)


def failure(envelope: Envelope, error: BaseException) -> str:
    """The stored result of a task that raised an exception."""
    return _stored(envelope, states.FAILURE, _exception(error))


def revoked(envelope: Envelope, reason: str) -> str:
    """The stored result of a task that was revoked or has expired."""
    error = {
        "exc_type": "TaskRevokedError",
        "exc_message": [reason],
        "exc_module": "celery.exceptions",
    }
    return _stored(envelope, states.REVOKED, json.dumps(error))


def _stored(envelope: Envelope, state: str, result_json: str) -> str:
    now = datetime.now(UTC).isoformat()
    headers, family = envelope.headers, ""
    if group := headers.get("group"):
        family += f', "group_id": {json.dumps(group)}'
    if parent := headers.get("parent_id"):
        family += f', "parent_id": {json.dumps(parent)}'
    return (
        f'{{"status": "{state}", "result": {result_json}, "traceback": null, "children": [], '
        f'"date_done": "{now}"{family}, "task_id": {json.dumps(envelope.id)}}}'
    )


def _exception(error: BaseException) -> str:
    kind = type(error)
    return json.dumps(
        {
            "exc_type": kind.__qualname__,
            "exc_message": [_serialisable(part) for part in error.args],
            "exc_module": kind.__module__,
        }
    )


def _serialisable(part: object) -> object:
    return part if isinstance(part, str | int | float | bool | None) else repr(part)
