"""An image's URI may hold a signature or a password, which no error, result or log may show."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import pytest
from support.pipeline_bench import LABELS, LIMIT_S, Bench
from support.scripted_server import Script, ScriptedServer, answering, response, scripted_server
from support.secret_uris import MALFORMED, SECRET, SIGNED
from support.tiny_clip import tiny_engine

from clip_worker.contract import ClassifyManyRequest, ClassifyRequest, RequestOptions, parse
from clip_worker.contract.celery_result import failure
from clip_worker.contract.message_reader import Envelope
from clip_worker.contract.message_writer import EncodedRequest
from clip_worker.contract.results import Failure
from clip_worker.errors import ClipWorkerError, InvalidRequestError
from worker.pipeline.circuit_breaker import RestPolicy
from worker.pipeline.retry import RetryPolicy
from worker.sources import Fetcher, FetchLimits, FetchPolicy, object_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clip_engine.engine import Engine

LOOPBACK = (ip_network("127.0.0.0/8"),)
ENVELOPE = Envelope("id", "clip.classify", {}, {})


def echoing(start: str, end: str = "\r\n\r\n") -> Script:
    """A server that sends the request's target back in its answer's head."""

    def script(head: str, connection: socket.socket) -> None:
        connection.sendall(f"{start}{head.split()[1]}{end}".encode())

    return script


def silent(_head: str, connection: socket.socket) -> None:
    connection.recv(1)  # until the fetch is given up


def raising(error: BaseException) -> Callable[[str, int], list[str]]:
    def resolver(_host: str, _port: int) -> list[str]:
        raise error

    return resolver


@dataclass(frozen=True)
class Case:
    """One way in which an image fails.

    Attributes:
        code: That it ends with.
        script: What the server answers.
        uri: Of the image; `{}` stands for the server's host and port.
        policy: Of the fetcher, beside loopback.
        options: Of the fetcher.
        limits: Of the fetcher.
    """

    code: str
    script: Script = field(default=answering(response(status="404 Not Found")))
    uri: str = "http://{}/cat.jpg" + SIGNED
    policy: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)


def moved(location: str) -> Script:
    return answering(response(status="302 Found", Location=location))


CASES = {
    "404": Case("FETCH_404"),
    "503": Case("FETCH_503", answering(response(status="503 Service Unavailable"))),
    "time-out": Case("FETCH_TIMEOUT", silent, limits={"total_s": 0.2}),
    "nobody there": Case("FETCH_CONNECTION", uri=f"http://127.0.0.1:9/cat.jpg{SIGNED}"),
    "broken off": Case("FETCH_CONNECTION", answering(b"")),
    "no HTTP": Case("FETCH_CONNECTION", echoing("HTTP/1.1 2OO ")),
    "two lengths": Case("FETCH_CONNECTION", answering(response(b"x", Content_length="7"))),
    "too large": Case("FETCH_TOO_LARGE", answering(response(length=10**9))),
    "loop": Case("FETCH_TOO_MANY_REDIRECTS", moved(f"/cat.jpg{SIGNED}")),
    "away": Case("FETCH_BAD_REDIRECT", moved(f"ftp://u:{SECRET}@example.com/{SIGNED}")),
    "away with user": Case("FETCH_BAD_REDIRECT", moved(f"http://u:{SECRET}@example.com/x")),
    "away, unreadable": Case("FETCH_BAD_REDIRECT", moved(f"http://[{SECRET}/{SIGNED}")),
    "away, full-width": Case("FETCH_BAD_REDIRECT", moved(f"http://u:{SECRET}\xef\xbc\xa0a/")),
    "packed": Case("FETCH_CONTENT_ENCODING", echoing("HTTP/1.1 200 OK\r\nContent-Encoding: ")),
    "no TLS": Case(
        "FETCH_TIMEOUT", silent, uri="https://{}/cat.jpg" + SIGNED, limits={"connect_s": 0.2}
    ),
    "private": Case("FETCH_FORBIDDEN_ADDRESS", uri=f"http://10.0.0.1/cat.jpg{SIGNED}"),
    "no such host": Case(
        "FETCH_UNKNOWN_HOST",
        uri=f"http://cat.example/cat.jpg{SIGNED}",
        options={"resolver": raising(socket.gaierror(socket.EAI_NONAME, "none"))},
    ),
    "a resolver's bug": Case(
        "INTERNAL",
        uri=f"http://cat.example/cat.jpg{SIGNED}",
        options={"resolver": raising(ZeroDivisionError(f"http://cat.example/cat.jpg{SIGNED}"))},
    ),
    "a bug that tells a part": Case(
        "INTERNAL",
        uri=f"http://cat.example/cat.jpg{SIGNED}",
        options={"resolver": raising(KeyError(SECRET))},
    ),
    "odd headers": Case(
        "DECODE_UNRECOGNIZED", answering(b"HTTP/1.1 200 OK\r\nno header\r\nA: b\r\n\r\n<html>")
    ),
    "no image": Case("DECODE_UNRECOGNIZED", answering(response(b"<html>"))),
    "cut off": Case("EMPTY_IMAGE", answering(response(b""))),
    "object store": Case("FETCH_OBJECT_STORE", uri=f"s3://pets/cat.jpg{SIGNED}"),
    "file": Case("FILE_OUTSIDE_ROOTS", uri="file:///data/cat.jpg"),
    "data": Case("DECODE_UNRECOGNIZED", uri=f"data:image/png,no image, {SECRET}"),
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return tiny_engine(buckets=(8,))


@pytest.fixture
def make(engine: Engine) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def bench(case: Case, rest: RestPolicy | None = None) -> Bench:
        fetcher = Fetcher(
            FetchPolicy(allow_networks=LOOPBACK, **case.policy),
            FetchLimits(**({"max_redirects": 1} | case.limits)),
            **case.options,
        )
        made.append(
            Bench(
                engine,
                fetcher=fetcher,
                retry=RetryPolicy(attempts=2),
                rest=rest,
                draw=lambda: 0.0,
            )
        )
        return made[-1]

    yield bench
    for each in made:
        each.close()


def all_of(error: BaseException) -> str:
    """All that anybody could show of an error, with what it hangs on."""
    stored = failure(ENVELOPE, error)
    trace = "".join(traceback.format_exception(error))
    links = [error]
    while following := links[-1].__cause__ or links[-1].__context__:
        links.append(following)
    return "\n".join([stored, trace, *map(repr, links)])


def uri_of(case: Case, server: ScriptedServer) -> str:
    return case.uri.replace("{}", f"127.0.0.1:{server.port}")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_failure_of_a_picture_shows_its_secret(
    case: Case,
    make: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # given an object store whose errors quote what they were asked for
    def refuse(_scheme: str) -> Any:
        raise ConnectionError(f"GET s3://pets/cat.jpg{SIGNED}: SignatureDoesNotMatch {SECRET}")

    monkeypatch.setattr(object_store, "_file_system", refuse)
    caplog.set_level(logging.INFO)
    with scripted_server(case.script) as server:
        error = make(case).job(uri_of(case, server)).exception(LIMIT_S)
    # then
    assert isinstance(error, ClipWorkerError)
    assert error.code == case.code
    assert SECRET not in all_of(error)
    assert SECRET not in Failure.of(error).model_dump_json()
    assert SECRET not in caplog.text


def test_a_picture_whose_host_rests_is_told_without_its_secret(make: Callable[..., Bench]) -> None:
    # given a host that fails once and rests for a minute
    case = Case("FETCH_503", answering(response(status="503 Service Unavailable")))
    bench = make(case, RestPolicy(failures=1, first_s=600, longest_s=600))
    with scripted_server(case.script) as server:
        errors = [bench.job(uri_of(case, server)).exception(LIMIT_S) for _ in range(2)]
    # then
    assert [SECRET in all_of(error) for error in errors if error] == [False, False]


def test_a_picture_that_a_stopping_worker_gives_up_is_told_without_its_secret(
    make: Callable[..., Bench],
) -> None:
    came, over = threading.Event(), threading.Event()

    def script(_head: str, _connection: socket.socket) -> None:
        came.set()
        over.wait(LIMIT_S)

    bench = make(Case("STOPPING"))
    with scripted_server(script) as server:
        future = bench.job(server.url(f"/cat.jpg{SIGNED}"))
        assert came.wait(LIMIT_S)
        bench.pipeline.abandon()
        error = future.exception(LIMIT_S)
        over.set()
    assert isinstance(error, ClipWorkerError)
    assert error.code == "STOPPING"
    assert SECRET not in all_of(error)


@pytest.mark.parametrize("uri", MALFORMED)
def test_no_malformed_uri_shows_its_secret(
    uri: str, make: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    # when a worker fetches what nobody has checked
    error = make(Case("BAD_URI")).job(uri).exception(LIMIT_S)
    # then
    assert type(error) is InvalidRequestError
    assert SECRET not in all_of(error) + caplog.text


@pytest.mark.parametrize("uri", MALFORMED)
def test_a_request_that_is_refused_does_not_show_its_uris_secret(uri: str) -> None:
    wrong = [
        (ClassifyRequest, {"image": uri, "labels": []}),
        (ClassifyRequest, {"image": [uri], "labels": ["cat"]}),
        (ClassifyRequest, {"image": {uri: uri}, "labels": ["cat"]}),
        (ClassifyManyRequest, {"images": uri, "labels": ["cat"]}),
        (ClassifyManyRequest, {"images": [[uri]], "labels": ["cat"]}),
        (RequestOptions, {"labels": [], "webhook": uri}),
        (RequestOptions, {"labels": ["cat"], "webhook": [uri]}),
    ]
    for request, arguments in wrong:
        with pytest.raises(InvalidRequestError) as caught:
            parse(request, arguments)
        assert SECRET not in all_of(caught.value)


@pytest.mark.parametrize("uri", [f"https://example.com/cat.jpg{SIGNED}", *MALFORMED])
def test_what_a_message_shows_to_logs_and_flower_holds_no_secret(uri: str) -> None:
    written = EncodedRequest(parse(RequestOptions, {"labels": LABELS}))
    assert SECRET not in written.with_image(uri).shown
    assert SECRET not in written.with_images([uri] * 3).shown
    assert SECRET not in written.with_image("data:,", uri).shown
    # while the message itself has all of it
    assert SECRET in written.with_image(uri).encoded
    assert written.with_images([uri] * 3).encoded.count(SECRET) == 3 * uri.count(SECRET)
