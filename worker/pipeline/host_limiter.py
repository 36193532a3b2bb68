"""Which fetch may start now: a circuit breaker and a fair share of the threads for each host.

A host that failed several times in a row is left alone for a while: its fetches wait, on no thread,
then one of them tries, and the others follow if the host answers
(`worker.pipeline.circuit_breaker`). And no host takes all fetch threads, be it slow or only much
asked for: it may hold up to three times as many as are free, and the last free one only if it has
none. Hosts that wait are served in turn.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, Protocol, TypeVar

from worker.errors import TemporaryError
from worker.pipeline.circuit_breaker import Health, Phase, RestPolicy
from worker.pipeline.timer import Timer

MOST_HOSTS = 10_000  # remembered although nobody fetches there; strangers choose the names
_SHARE = 3  # threads of one host for each that is free

_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?://([^/?#]*))?")
_LOCAL = ("data", "file", "redis")  # schemes of what is read on this machine or from our own Redis

Fetch = TypeVar("Fetch")


def host_of(uri: str) -> str | None:
    """What fails together with the place that a URI names; None for what is no other host's.

    >>> host_of("https://Example.com/cat.jpg"), host_of("s3://pets/cat.jpg"), host_of("file:///a")
    ('https://example.com', 's3://pets', None)
    """
    match = _AUTHORITY.match(uri)
    if match is None or (scheme := match[1].lower()) in _LOCAL:
        return None
    return f"{scheme}://{(match[2] or '').lower()}"


class Told(Enum):
    """What a fetch told of its host, where that is no error."""

    ANSWERED = auto()  # it works, be its answer an image or a 404
    NOT_ASKED = auto()


class Starter(Protocol[Fetch]):
    """Starts and ends fetches. Its methods are called without a lock, but for `gives_up_at`."""

    def start(self, fetches: Sequence[Fetch]) -> Iterable[Fetch]:
        """Start fetches; those that will not be made after all."""

    def gives_up_at(self, fetch: Fetch) -> float:
        """When it would rather fail than wait on, by the timer's clock."""

    def turn_away(self, fetch: Fetch, error: TemporaryError) -> None:
        """Fail it: its host rests for longer than it can wait.

        Args:
            fetch: That entered.
            error: What the host failed with last, for another fetch perhaps.
        """


@dataclass(eq=False)
class _Host(Generic[Fetch]):
    """A host that is fetched from or waited for, or that failed not long ago."""

    name: str
    health: Health
    running: int = 0
    ready: bool = False  # whether it stands in the row of those who may be served
    trial: Fetch | None = None
    rests_until_s: float = 0.0
    error: TemporaryError | None = None  # the last
    waiting: deque[Fetch] = field(default_factory=deque)


@dataclass
class _Decided(Generic[Fetch]):
    """What is to be told once the lock is free."""

    start: list[tuple[_Host[Fetch], Fetch]] = field(default_factory=list)
    turn_away: list[tuple[TemporaryError, Fetch]] = field(default_factory=list)


class HostLimiter(Generic[Fetch]):
    """Starts fetches when their host's health and share allow it. Threads may share it.

    A fetch enters, is started, and is then reported once.

    Args:
        timer: Ends the rests.
        starter: Starts the fetches.
        threads: Fetches at the same time, of all hosts.
        most_a_host: Fetches at the same time of one host; None for the share alone.
        rest: When a host is given a rest.
    """

    def __init__(
        self,
        timer: Timer,
        starter: Starter[Fetch],
        *,
        threads: int,
        most_a_host: int | None = None,
        rest: RestPolicy | None = None,
    ) -> None:
        self._timer = timer
        self._starter = starter
        self._free = threads
        self._most_a_host = most_a_host or threads
        self._rest = rest or RestPolicy()
        self._hosts: OrderedDict[str, _Host[Fetch]] = OrderedDict()  # the last one used at the end
        self._ready: deque[_Host[Fetch]] = deque()
        self._closed: set[_Host[Fetch]] = set()  # all whose phase is not OPEN
        self._lock = threading.Lock()

    @property
    def resting(self) -> int:
        """Fetches that wait for the end of a rest, or of the trial after it."""
        with self._lock:
            return sum(len(host.waiting) for host in self._closed)

    def enter(self, fetches: Iterable[tuple[str, Fetch]]) -> None:
        """Take fetches with the names of their hosts; they start at once or later, or fail."""
        decided: _Decided[Fetch] = _Decided()
        with self._lock:
            for name, fetch in fetches:
                host = self._known(name)
                if host.health.phase is Phase.RESTING:
                    self._keep_waiting(host, [fetch], decided)
                else:
                    host.waiting.append(fetch)
                self._admit(host, decided)
        self._tell(decided)

    def report(self, outcomes: Iterable[tuple[str, Fetch, TemporaryError | Told]]) -> None:
        """Hear what fetches that were started told of their hosts."""
        self._tell(self._take(outcomes))

    def _take(
        self, outcomes: Iterable[tuple[str, Fetch, TemporaryError | Told]]
    ) -> _Decided[Fetch]:
        decided: _Decided[Fetch] = _Decided()
        with self._lock:
            for name, fetch, told in outcomes:
                host, trial = self._returned(name, fetch)
                if isinstance(told, TemporaryError):
                    host.error = told
                    if rest_s := host.health.failed(told, trial=trial):
                        self._begin_rest(host, rest_s, decided)
                elif told is Told.ANSWERED:
                    host.health.answered()
                    # Where another than the trial got the answer, the trial is one no more.
                    host.trial = None
                    self._closed.discard(host)
                else:
                    host.health.left(trial=trial)
                self._admit(host, decided)
        return decided

    def _known(self, name: str) -> _Host[Fetch]:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name, Health(self._rest))
        return host

    def _returned(self, name: str, fetch: Fetch) -> tuple[_Host[Fetch], bool]:
        """Give the fetch's thread back; its host, and whether it was the trial."""
        host = self._hosts[name]
        host.running -= 1
        self._free += 1
        trial = host.trial is fetch
        if trial:
            host.trial = None
        return host, trial

    def _begin_rest(self, host: _Host[Fetch], rest_s: float, decided: _Decided[Fetch]) -> None:
        rest = host.health.rests
        self._closed.add(host)
        host.rests_until_s = self._timer.clock() + rest_s
        self._timer.call_after(rest_s, lambda: self._end_rest(host, rest))
        waiting = list(host.waiting)
        host.waiting.clear()
        self._keep_waiting(host, waiting, decided)

    def _keep_waiting(
        self, host: _Host[Fetch], fetches: Iterable[Fetch], decided: _Decided[Fetch]
    ) -> None:
        """Keep those that can wait for the rest's end, turn the others away."""
        assert host.error is not None, "a host rests only after it has failed"
        for fetch in fetches:
            if self._starter.gives_up_at(fetch) > host.rests_until_s:
                host.waiting.append(fetch)
            else:
                decided.turn_away.append((host.error, fetch))

    def _end_rest(self, host: _Host[Fetch], rest: int) -> None:
        decided: _Decided[Fetch] = _Decided()
        with self._lock:
            if self._hosts.get(host.name) is host:  # it may have been forgotten
                host.health.rested(rest)
                self._admit(host, decided)
        self._tell(decided)

    def _admit(self, changed: _Host[Fetch], decided: _Decided[Fetch]) -> None:
        """Start whatever may, after something has changed for a host."""
        self._line_up(changed)
        blocked = 0
        while self._free and blocked < len(self._ready):
            host = self._ready.popleft()
            host.ready = False
            if not self._has_share(host):
                blocked += 1
            elif host.waiting and host.health.may_go:
                blocked = 0
                decided.start.append((host, self._next(host)))
            self._line_up(host)
        self._forget(changed)

    def _line_up(self, host: _Host[Fetch]) -> None:
        if host.waiting and host.health.may_go and not host.ready:
            host.ready = True
            self._ready.append(host)

    def _has_share(self, host: _Host[Fetch]) -> bool:
        if host.running == 0:
            return True
        return self._free > 1 and host.running < min(self._most_a_host, _SHARE * self._free)

    def _next(self, host: _Host[Fetch]) -> Fetch:
        fetch = host.waiting.popleft()
        host.running += 1
        self._free -= 1
        if host.health.gone():
            host.trial = fetch
        return fetch

    def _forget(self, host: _Host[Fetch]) -> None:
        """Keep only hosts that matter, and of those that nobody fetches from not too many."""
        if host.running or host.waiting:
            return
        if host.health.spotless:
            self._hosts.pop(host.name, None)
            return
        self._hosts.move_to_end(host.name)
        if len(self._hosts) > MOST_HOSTS:
            idle = (each for each in self._hosts.values() if not (each.running or each.waiting))
            oldest = next(idle)
            self._closed.discard(oldest)
            del self._hosts[oldest.name]

    def _tell(self, decided: _Decided[Fetch]) -> None:
        """Tell what was decided, without the lock: who is told may do anything."""
        while decided.start or decided.turn_away:
            for error, fetch in decided.turn_away:
                self._starter.turn_away(fetch, error)
            hosts = {id(fetch): host.name for host, fetch in decided.start}
            refused = self._starter.start([fetch for _, fetch in decided.start]) if hosts else ()
            # These make room for others: in turn, not one call inside the other.
            decided = self._take([(hosts[id(f)], f, Told.NOT_ASKED) for f in refused])
