"""What servers write into Retry-After, and what is made of it."""

from __future__ import annotations

import pytest
from support.fetching import failure_of, fetcher
from support.scripted_server import answering, response, scripted_server

from worker.errors import ImageUnavailableError, TemporaryError
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
        # one that has passed
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        # what says nothing
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("9" * 5000, None),
        ("\u0661\u0662", None),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ("Sun, 06 Nov 99999999 08:49:37 GMT", None),
    ],
)
def test_seconds_and_dates_are_read_and_the_rest_is_nothing(
    value: str | None, expected: float | None
) -> None:
    assert retry_after_s(value, NOW) == expected


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
def test_a_servers_wish_comes_with_the_error(status: str) -> None:
    with scripted_server(answering(response(status=status, Retry_After="7"))) as server:
        failure = failure_of(fetcher().fetch, server.url())
    assert isinstance(failure, TemporaryError)
    assert failure.retry_after_s == 7.0
    assert failure.args == (failure.message, failure.code)


def test_without_a_wish_the_error_has_none() -> None:
    with scripted_server(answering(response(status="503 Service Unavailable"))) as server:
        failure = failure_of(fetcher().fetch, server.url())
    assert isinstance(failure, TemporaryError)
    assert failure.retry_after_s is None


@pytest.mark.parametrize("status", ["501 Not Implemented", "505 HTTP Version Not Supported"])
def test_what_the_server_will_never_do_is_permanent(status: str) -> None:
    with scripted_server(answering(response(status=status, Retry_After="7"))) as server:
        failure = failure_of(fetcher().fetch, server.url())
    assert type(failure) is ImageUnavailableError
    assert failure.code == f"FETCH_{status[:3]}"
