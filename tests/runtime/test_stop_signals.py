"""What a second signal means to a worker, with and without a supervisor; the rest needs processes.

See `tests/integration/test_stop_signals.py`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from celery.worker import state

from worker.runtime.stop_signals import StopSignals

TERM, INT, QUIT = signal.SIGTERM, signal.SIGINT, signal.SIGQUIT


class Orders:
    """Records the calls of a `Stopping`."""

    def __init__(self) -> None:
        self.given: list[str] = []

    def begin(self, _status: int, *, restarts: bool) -> None:
        self.given.append("restart" if restarts else "stop")

    def hurry(self) -> None:
        self.given.append("hurry")


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Celery's handlers do nothing; this process's are restored."""
    monkeypatch.setattr(state, "should_stop", None)
    numbers = (TERM, INT, QUIT, signal.SIGHUP)
    former = {number: signal.signal(number, lambda *_: None) for number in numbers}
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("supervised", "sent", "orders"),
    [
        (False, [TERM, TERM], ["stop", "hurry"]),
        (True, [TERM, TERM], ["stop"]),  # from systemd, and passed on by the supervisor
        (True, [INT, TERM], ["stop"]),
        (True, [TERM, INT], ["stop", "hurry"]),
        (True, [TERM, TERM, QUIT], ["stop", "hurry"]),
    ],
)
def test_a_second_sigterm_hurries_only_a_worker_without_a_supervisor(
    *, supervised: bool, sent: list[int], orders: list[str]
) -> None:
    stopping = Orders()
    StopSignals(stopping, wake=lambda: None, supervised=supervised).install()  # type: ignore[arg-type]

    for number in sent:
        signal.raise_signal(number)

    assert stopping.given == orders
