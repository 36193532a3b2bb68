"""Which fetch may start now: a circuit breaker and a fair share of the threads for each host.

Fetches from a host that rests wait on no thread (`worker.pipeline.circuit_breaker`). And no host
takes all fetch threads, be it slow or popular: it may hold up to three times as many as are free,
and the last free one only if it has none. Hosts that wait are served in turn.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from clip_worker.errors import TemporaryError
from worker.pipeline.circuit_breaker import CircuitBreaker, RestPolicy
from worker.pipeline.image_task import ImageTask, sharers

if TYPE_CHECKING:
    from worker.pipeline.timer import Timer

MOST_HOSTS = 1000  # remembered because they failed; anybody may make up names
_SHARE = 3  # threads of one host for each that is free

_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?://([^/?#]*))?")
_LOCAL = ("data", "file", "redis")  # schemes of what this machine or our own Redis holds


def host_of(uri: str) -> str | None:
    """Scheme and authority of a URI; None for what is read locally.

    >>> host_of("https://Example.com/cat.jpg"), host_of("s3://pets/cat.jpg"), host_of("file:///a")
    ('https://example.com', 's3://pets', None)
    """
    match = _AUTHORITY.match(uri)
    if match is None or (scheme := match[1].lower()) in _LOCAL:
        return None
    return f"{scheme}://{(match[2] or '').lower()}"


class Answer(Enum):
    """What a fetch says about its host, if that is not a `TemporaryError`."""

    ANSWERED = auto()  # it works, be the answer an image or a 404
    NOT_ASKED = auto()


Outcome = TemporaryError | Answer


class Fetches(Protocol):
    """Makes the fetches; `worker.pipeline.fetch_stage` does."""

    def start(self, tasks: Sequence[ImageTask]) -> None:
        """Start to fetch."""

    def is_wanted(self, task: ImageTask) -> bool:
        """Whether it is still worth fetching; called under a lock."""

    def gives_up_at(self, task: ImageTask) -> float:
        """Until when it can wait, by the timer's clock; called under a lock."""

    def drop(self, task: ImageTask, error: TemporaryError | None) -> None:
        """End a task that will not be fetched.

        Args:
            task: That entered.
            error: The last failure of its host, which rests for longer than the task can wait;
                None if it is not wanted any more.
        """


@dataclass(eq=False)
class _Host:
    name: str
    breaker: CircuitBreaker
    running: int = 0
    waiting: deque[ImageTask] = field(default_factory=deque)


@dataclass
class _Decision:
    """Calls to make once the lock is released."""

    start: list[ImageTask] = field(default_factory=list)
    drop: list[tuple[ImageTask, TemporaryError | None]] = field(default_factory=list)


class HostLimiter:
    """Starts fetches when their host's breaker and share allow it. Threads may share it.

    A task enters, is started, and is then reported once; or it is dropped.

    Args:
        timer: Ends the rests.
        fetches: Makes them.
        threads: Fetches at the same time, from all hosts.
        most_a_host: Fetches at the same time from one host; None for the share alone.
        rest: When a host rests.
    """

    def __init__(
        self,
        timer: Timer,
        fetches: Fetches,
        *,
        threads: int,
        most_a_host: int | None = None,
        rest: RestPolicy | None = None,
    ) -> None:
        self._timer = timer
        self._fetches = fetches
        self._free = threads
        self._most_a_host = most_a_host or threads
        self._rest = rest or RestPolicy()
        self._hosts: OrderedDict[str, _Host] = OrderedDict()  # the last one used at the end
        self._ready: OrderedDict[_Host, None] = OrderedDict()  # may start a fetch, in turn
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Hosts that are remembered."""
        return len(self._hosts)

    @property
    def resting(self) -> int:
        """Tasks whose fetch waits for the end of a rest, or of the trial after it."""
        with self._lock:
            hosts = self._hosts.values()
            waiting = [
                task for host in hosts if not host.breaker.is_closed for task in host.waiting
            ]
            return sum(len(sharers(task)) for task in waiting)

    @property
    def resting_hosts(self) -> int:
        """Hosts that rest, or are tried after a rest."""
        with self._lock:
            return sum(not host.breaker.is_closed for host in self._hosts.values())

    def enter(self, tasks: Iterable[ImageTask]) -> None:
        """Take tasks that are to be fetched from their `host`."""
        decision = _Decision()
        with self._lock:
            for task in tasks:
                host = self._host(task)
                self._let_wait(host, [task], decision)
                self._start_next(host, decision)
        self._carry_out(decision)

    def report(self, outcomes: Iterable[tuple[ImageTask, Outcome]]) -> None:
        """Take what fetches that were started say about their hosts."""
        decision = _Decision()
        with self._lock:
            for task, outcome in outcomes:
                host = self._host(task)
                host.running -= 1
                self._free += 1
                if isinstance(outcome, TemporaryError):
                    rest_s = host.breaker.failed(task, outcome, self._timer.clock())
                    if rest_s:
                        self._begin_rest(host, rest_s, decision)
                elif outcome is Answer.ANSWERED:
                    host.breaker.answered()
                else:
                    host.breaker.not_asked(task)
                self._start_next(host, decision)
        self._carry_out(decision)

    def _host(self, task: ImageTask) -> _Host:
        name = str(task.host)
        if (host := self._hosts.get(name)) is None:
            host = self._hosts[name] = _Host(name, CircuitBreaker(self._rest))
        return host

    def _begin_rest(self, host: _Host, rest_s: float, decision: _Decision) -> None:
        self._timer.call_after(rest_s, lambda: self._end_rest(host.name))
        waiting = list(host.waiting)
        host.waiting.clear()
        self._let_wait(host, waiting, decision)

    def _end_rest(self, name: str) -> None:
        decision = _Decision()
        with self._lock:
            if host := self._hosts.get(name):  # it may have been forgotten
                self._start_next(host, decision)
        self._carry_out(decision)

    def _let_wait(self, host: _Host, tasks: Iterable[ImageTask], decision: _Decision) -> None:
        """Let tasks wait for their turn, but drop those that can't wait for a rest to end."""
        rests_until_s = host.breaker.rests_until_s
        is_resting = self._timer.clock() < rests_until_s and not host.breaker.is_closed
        for task in tasks:
            if is_resting and self._fetches.gives_up_at(task) <= rests_until_s:
                decision.drop.append((task, host.breaker.error))
            else:
                host.waiting.append(task)

    def _start_next(self, changed: _Host, decision: _Decision) -> None:
        """Start what may start, after something has changed for a host."""
        self._line_up(changed)
        blocked = 0
        while self._free and blocked < len(self._ready):
            host, _ = self._ready.popitem(last=False)
            if not self._has_share(host):
                blocked += 1
            elif self._may_start(host):
                blocked = 0
                self._start(host, decision)
            self._line_up(host)
        self._forget(changed)

    def _line_up(self, host: _Host) -> None:
        if self._may_start(host):
            self._ready.setdefault(host)

    def _may_start(self, host: _Host) -> bool:
        return bool(host.waiting) and host.breaker.allows(self._timer.clock())

    def _has_share(self, host: _Host) -> bool:
        if host.running == 0:
            return True
        return self._free > 1 and host.running < min(self._most_a_host, _SHARE * self._free)

    def _start(self, host: _Host, decision: _Decision) -> None:
        task = host.waiting.popleft()
        if not self._fetches.is_wanted(task):
            decision.drop.append((task, None))
            return
        host.running += 1
        self._free -= 1
        host.breaker.started(task)
        decision.start.append(task)

    def _forget(self, host: _Host) -> None:
        """Keep only hosts that matter, and not too many of those that failed."""
        if host.running or host.waiting:
            return
        if not host.breaker.has_failed:
            self._hosts.pop(host.name, None)
            return
        self._hosts.move_to_end(host.name)
        if len(self._hosts) > MOST_HOSTS:
            idle = (each for each in self._hosts.values() if not (each.running or each.waiting))
            del self._hosts[next(idle).name]

    def _carry_out(self, decision: _Decision) -> None:
        """Make the calls without the lock, since they may do anything."""
        for task, error in decision.drop:
            self._fetches.drop(task, error)
        if decision.start:
            self._fetches.start(decision.start)
