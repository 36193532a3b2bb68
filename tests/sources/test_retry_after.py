"""The header Retry-After, and the error that carries it."""

from __future__ import annotations

import pytest
from support.failure import failure_of
from support.fetching import fetcher
from support.scripted_server import answering, response, scripted_server

from clip_worker.errors import ImageUnavailableError, TemporaryError
from worker.sources.retry_after import retry_after_s

NOW = 784_111_000.0  # Sun, 06 Nov 1994 08:36:40 GMT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        ("999999999999", 999_999_999_999.0),
        # RFC 9110's example in its three forms, 777 s later
        ("Sun, 06 Nov 1994 08:49:37 GMT", 777.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 777.0),
        ("Sun Nov  6 08:49:37 1994", 777.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),  # in the past
        *((value, None) for value in (None, "", "soon", "-5", "1.5", "9" * 5000, "\u0661\u0662")),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999999 08:49:37 GMT", None),
    ],
)
def test_seconds_and_dates_are_read_and_anything_else_is_ignored(value, expected):
    assert retry_after_s(value, NOW) == expected


@pytest.mark.parametrize(
    ("status", "headers", "error", "expected"),
    [
        ("429 Too Many Requests", {"Retry_After": "7"}, TemporaryError, 7.0),
        ("503 Service Unavailable", {"Retry_After": "7"}, TemporaryError, 7.0),
        ("503 Service Unavailable", {}, TemporaryError, None),
        ("501 Not Implemented", {"Retry_After": "7"}, ImageUnavailableError, None),
        ("505 HTTP Version Not Supported", {"Retry_After": "7"}, ImageUnavailableError, None),
    ],
)
def test_the_header_is_kept_with_an_error_that_may_pass(status, headers, error, expected):
    with scripted_server(answering(response(status=status, **headers))) as server:
        failure = failure_of(fetcher().fetch, server.url())
    assert (type(failure), failure.code) == (error, f"FETCH_{status[:3]}")
    assert getattr(failure, "retry_after_s", None) == expected
    assert failure.args == (f"{failure.message} [{failure.code}]",)
