"""Workers under a supervisor, with processes, signals and time that are made up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from support.fake_clock import FakeClock

from worker.cli.supervisor.supervisor import Supervisor


@dataclass
class FakeWorker:
    pid: int
    code: int | None = None
    is_ready: bool = False
    has_sent: bool = False
    is_closed: bool = False
    signals: list[int] = field(default_factory=list)

    @property
    def descriptors(self) -> list[int]:
        return [] if self.is_ready else [self.pid]

    def read(self) -> None:
        self.is_ready = self.has_sent

    def returncode(self) -> int | None:
        return self.code

    def send_signal(self, number: int) -> None:
        self.signals.append(number)

    def close(self) -> None:
        self.is_closed = True


class Machine:
    """Workers in the order in which they were started, and what happens to them step by step."""

    def __init__(self, count: int, *, has_terminal: bool = False) -> None:
        self.started: list[FakeWorker] = []
        self.numbers: list[int] = []  # that they were started with
        self.said: list[str] = []
        self.clock = FakeClock()
        self.supervisor = Supervisor(
            count,
            start=self._start,
            say=self.said.append,
            wait=self._wait,
            clock=self.clock,
            has_terminal=has_terminal,
        )
        self._steps: list[Callable[[], int | None]] = []
        self._pause_s: float | None = None

    def run(self, *steps: Callable[[], int | None]) -> int:
        """The exit status, after these steps; fails where the supervisor ends before or later."""
        self._steps = list(steps)
        status = self.supervisor.run()
        assert not self._steps
        assert all(worker.is_closed for worker in self.started)
        return status

    def _start(self, number: int) -> FakeWorker:
        self.numbers.append(number)
        self.started.append(FakeWorker(len(self.started)))
        return self.started[-1]

    def _wait(self, descriptors, timeout_s):
        self._pause_s = timeout_s
        number = self._steps.pop(0)()
        sent = [worker.pid for worker in self.started if worker.has_sent]
        return [number] if number else [], [each for each in descriptors if each in sent]

    # --- steps ---

    def ready(self, *indices: int) -> Callable[[], None]:
        def step() -> None:
            for index in indices:
                self.started[index].has_sent = True

        return step

    def ends(self, *codes: tuple[int, int]) -> Callable[[], None]:
        def step() -> None:
            for index, code in codes:
                self.started[index].code = code

        return step

    def pause(self, expected_s: float) -> Callable[[], None]:
        def step() -> None:
            assert self._pause_s == expected_s
            self.clock.now_s += expected_s

        return step

    def passes(self, seconds: float) -> Callable[[], None]:
        def step() -> None:
            self.clock.now_s += seconds

        return step

    def signal(self, number: int) -> Callable[[], int]:
        return lambda: number

    def check(self, started: int) -> Callable[[], None]:
        def step() -> None:
            assert len(self.started) == started

        return step
