"""Attempts through the real fetcher, against servers that fail as scripted."""

from __future__ import annotations

import threading
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from support.pipeline_bench import LIMIT_S, Bench, jpeg
from support.scripted_server import answering, response, scripted_server

from clip_worker.errors import ClipWorkerError, TemporaryError
from worker.pipeline.circuit_breaker import RestPolicy
from worker.pipeline.retry import RetryPolicy
from worker.sources import Fetcher, FetchLimits, FetchPolicy

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable


LOOPBACK = FetchPolicy(allow_networks=(ip_network("127.0.0.0/8"),))
BUSY = response(status="503 Service Unavailable")


def options(timeout_s: float = 30.0, attempts: int = 5, rest: RestPolicy | None = None) -> Any:
    return {
        "fetcher": Fetcher(LOOPBACK, FetchLimits(total_s=timeout_s)),
        "retry": RetryPolicy(attempts=attempts),
        "rest": rest,
        "draw": lambda: 0.0,  # no pauses but those that a server asks for
    }


def error_of(future: Any) -> ClipWorkerError:
    error = future.exception(LIMIT_S)
    assert isinstance(error, ClipWorkerError), error
    return error


def test_a_server_that_is_busy_twice_gives_the_picture_then(make: Callable[..., Bench]) -> None:
    with scripted_server(answering(BUSY, BUSY, response(jpeg(1)))) as server:
        assert make(**options()).job(server.url("/cat.jpg")).exception(LIMIT_S) is None
        assert server.paths == ["/cat.jpg"] * 3


def test_a_server_that_times_out_twice_gives_the_picture_then(
    make: Callable[..., Bench],
) -> None:
    # given a server that holds its first two connections and says nothing
    held: list[socket.socket] = []

    def script(_head: str, connection: socket.socket) -> None:
        if len(server.heads) <= 2:
            held.append(connection)
            connection.recv(1)  # until the client has had enough
        else:
            connection.sendall(response(jpeg(1)))

    with scripted_server(script) as server:
        assert make(**options(timeout_s=0.2)).job(server.url()).exception(LIMIT_S) is None
        assert (len(server.heads), len(held)) == (3, 2)


def test_a_server_that_breaks_off_in_the_body_is_asked_again(make: Callable[..., Bench]) -> None:
    picture = jpeg(1)
    broken = response(picture[:100], length=len(picture))
    with scripted_server(answering(broken, response(picture))) as server:
        assert make(**options()).job(server.url()).exception(LIMIT_S) is None
        assert len(server.heads) == 2


def test_a_wish_to_wait_is_kept_and_one_beyond_the_bound_ends_the_job(
    make: Callable[..., Bench],
) -> None:
    soon = response(status="429 Too Many Requests", Retry_After="1")
    late = response(status="429 Too Many Requests", Retry_After="3600")
    with scripted_server(answering(soon, response(jpeg(1)))) as server:
        result = make(**options()).job(server.url()).result(LIMIT_S)
        assert result.timing.fetch >= 1.0
        assert len(server.heads) == 2
    with scripted_server(answering(late)) as server:
        error = error_of(make(**options()).job(server.url()))
        assert (type(error), error.code) == (TemporaryError, "FETCH_429")
        assert "asks to wait 3600 s" in error.message
        assert len(server.heads) == 1


def test_a_host_that_hangs_leaves_threads_for_others(make: Callable[..., Bench]) -> None:
    # given a host that answers nothing, and more of its pictures than threads
    released = threading.Event()

    def hang(_head: str, _connection: socket.socket) -> None:
        assert released.wait(LIMIT_S)

    bench = make(**options())
    with (
        scripted_server(hang) as bad,
        scripted_server(answering(response(jpeg(1)))) as good,
    ):
        held = [bench.job(bad.url(f"/{i}")) for i in range(20)]
        futures = [bench.job(good.url(f"/{i}")) for i in range(5)]
        # then the other host's are done while not one of these has ended
        assert [future.exception(LIMIT_S) for future in futures] == [None] * 5
        assert not any(future.done() for future in held)
        bench.pipeline.stop()
        released.set()
        assert {error_of(future).code for future in held} == {"STOPPING"}


def test_a_host_that_recovers_gives_all_its_pictures(make: Callable[..., Bench]) -> None:
    # given a host that fails for its first ten answers, with rests too short to be seen
    bench = make(**options(attempts=20, rest=RestPolicy(failures=3, first_s=0.01, longest_s=0.05)))
    with scripted_server(answering(*[BUSY] * 10, response(jpeg(1)))) as server:
        futures = [bench.job(server.url(f"/{i}")) for i in range(30)]
        assert [future.exception(LIMIT_S) for future in futures] == [None] * 30
        assert len(server.heads) == 40
