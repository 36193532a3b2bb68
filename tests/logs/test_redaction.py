"""No line of the log has a secret or the body of a message."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from celery.worker.consumer.consumer import (
    CONNECTION_RETRY,
    INVALID_TASK_ERROR,
    MESSAGE_DECODE_ERROR,
    UNKNOWN_FORMAT,
    UNKNOWN_TASK_ERROR,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from worker.logs.redaction import Redaction, secrets_of
from worker.settings import Settings

BODY = '{"image": "https://me:hunter2@example.com/cat.jpg"}'


def shown(
    message: str,
    *arguments: object,
    name: str = "worker.x",
    exc_info: Any = None,
    secrets: tuple[str, ...] = (),
    level: int = logging.ERROR,
) -> str:
    """A record as a handler with the filter writes it."""
    record = logging.LogRecord(name, level, "x.py", 1, message, arguments, exc_info)
    assert Redaction(secrets).filter(record)
    return logging.Formatter().format(record)


def test_a_secret_is_masked_in_messages_arguments_and_tracebacks():
    error = ValueError("of pa%2Fss and pa/ss")
    raised = (ValueError, error, None)
    text = shown("pa/ss, %s", "pa/ss", exc_info=raised, secrets=("pa%2Fss", "pa/ss"))

    assert text == "***, ***\nValueError: of *** and ***"


def test_secrets_are_all_passwords_and_keys_of_the_settings():
    key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    settings = Settings.load(
        redis_url="rediss://me:bro%40ker@h:1/0",
        result_url="sentinel://:senti@a:1;sentinel://b:2/0?master=mymaster",
        mirror="https://u:mirror@m.example/clip",
        webhook_secret=key,
    )

    assert set(secrets_of(settings)) >= {"bro%40ker", "bro@ker", "senti", "mirror", key}


@pytest.mark.parametrize("error", [RedisConnectionError("refused pa/ss"), OSError("refused pa/ss")])
def test_a_lost_connection_is_one_line_of_celerys_and_no_traceback(error: Exception):
    name, secrets, raised = (
        "celery.worker.consumer.consumer",
        ("pa/ss",),
        (type(error), error, None),
    )
    text = shown(
        CONNECTION_RETRY, name=name, exc_info=raised, secrets=secrets, level=logging.WARNING
    )

    assert text == f"{CONNECTION_RETRY} (refused ***)"


def test_the_traceback_of_a_bug_stays():
    error = ZeroDivisionError("x")
    text = shown("Oops", name="celery.worker", exc_info=(type(error), error, None))

    assert text == "Oops\nZeroDivisionError: x"


def test_without_secrets_nothing_is_masked():
    assert secrets_of(Settings.load(redis_url="redis://h/0")) == ()
    assert shown("abc %s", 1) == "abc 1"


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        (UNKNOWN_FORMAT, (BODY,)),
        (UNKNOWN_TASK_ERROR, ("no.task", BODY, {"argsrepr": BODY}, {})),
        (INVALID_TASK_ERROR, ("wrong", BODY)),
        (MESSAGE_DECODE_ERROR, ("no JSON", "text", "utf-8", {"argsrepr": BODY}, BODY)),
    ],
)
def test_celery_quotes_no_message(message, arguments):
    text = shown(message, *arguments, name="celery.worker.consumer.consumer")

    assert "hunter2" not in text
    assert text


def test_a_wrong_number_of_arguments_is_left_to_the_handler():
    record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "%s %s", (1,), None)

    assert Redaction(("secret",)).filter(record)
