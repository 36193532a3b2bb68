"""Who may fetch from which host now: rests for hosts that fail, a fair share for each.

A host that failed several times in a row is left alone for a while: its jobs wait, on no thread,
then one of them tries, and the others follow if the host answers
(`worker.pipeline.circuit_breaker`). And no host takes all fetch threads, be it slow or only much
asked for: it may hold up to three times as many as are free, and the last free one only if it has
none. Hosts that wait are served in turn.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from worker.errors import TemporaryError
from worker.pipeline.circuit_breaker import Health, Phase, RestPolicy
from worker.pipeline.timer import Timer

MOST_HOSTS = 10_000  # remembered although nobody is there; strangers choose the names
_SHARE = 3  # threads of one host for each that is free

_AUTHORITY = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(?://([^/?#]*))?")


def host_of(uri: str) -> str | None:
    """What fails together with the place that a URI names; None for `data:`, which can't.

    >>> host_of("https://Example.com/cat.jpg"), host_of("s3://pets/cat.jpg"), host_of("file:///a")
    ('https://example.com', 's3://pets', 'file://')
    """
    match = _AUTHORITY.match(uri)
    if match is None or (scheme := match[1].lower()) == "data":
        return None
    return f"{scheme}://{(match[2] or '').lower()}"


class Visitor(Protocol):
    """Somebody who wants to fetch from a host. All but `patience_ends_s` may take locks."""

    def go(self) -> bool:
        """Start fetching on a thread; False if it will not, and report nothing."""

    def patience_ends_s(self) -> float:
        """When it would rather fail than wait on, as the timer's clock reads."""

    def turn_away(self, error: TemporaryError) -> None:
        """Fail: the host rests for longer than the visitor's patience lasts.

        Args:
            error: What the host failed with last, for somebody else perhaps.
        """


@dataclass(eq=False)
class _Host:
    """A host that somebody visits or waits for, or that failed not long ago."""

    name: str
    health: Health
    running: int = 0
    ready: bool = False  # whether it stands in the row of those who may be served
    trial: Visitor | None = None
    rests_until_s: float = 0.0
    error: TemporaryError | None = None  # the last
    waiting: deque[Visitor] = field(default_factory=deque)


@dataclass
class _Told:
    """Visitors who are to be told something once the lock is free."""

    go: list[tuple[_Host, Visitor]] = field(default_factory=list)
    turned_away: list[tuple[TemporaryError, Visitor]] = field(default_factory=list)


class Hosts:
    """Lets visitors go when their host's health and share allow it. Threads may share it.

    A visitor enters, is told to `go`, and then reports once: `answered`, `failed` or `left`.

    Args:
        timer: Ends the rests.
        threads: Fetches at the same time, of all hosts.
        most_a_host: Fetches at the same time of one host; None for the share alone.
        rest: When a host is given a rest.
    """

    def __init__(
        self,
        timer: Timer,
        *,
        threads: int,
        most_a_host: int | None = None,
        rest: RestPolicy | None = None,
    ) -> None:
        self._timer = timer
        self._free = threads
        self._most_a_host = most_a_host or threads
        self._rest = rest or RestPolicy()
        self._hosts: OrderedDict[str, _Host] = OrderedDict()  # the last one visited at the end
        self._ready: deque[_Host] = deque()
        self._closed: set[_Host] = set()  # all whose phase is not OPEN
        self._lock = threading.Lock()

    @property
    def resting(self) -> int:
        """Visitors that wait for the end of a rest, or of the trial after it."""
        with self._lock:
            return sum(len(host.waiting) for host in self._closed)

    def enter(self, name: str, visitor: Visitor) -> None:
        """Take a visitor, who is told to go at once or later, or turned away."""
        told = _Told()
        with self._lock:
            host = self._known(name)
            if host.health.phase is Phase.RESTING:
                self._keep_waiting(host, [visitor], told)
            else:
                host.waiting.append(visitor)
            self._admit(host, told)
        self._tell(told)

    def answered(self, name: str, visitor: Visitor) -> None:
        """Hear that the host works, be its answer a picture or a 404."""
        told = _Told()
        with self._lock:
            host, _ = self._returned(name, visitor)
            host.health.answered()
            # Where another than the trial got the answer, the trial is one no more.
            host.trial = None
            self._closed.discard(host)
            self._admit(host, told)
        self._tell(told)

    def failed(self, name: str, visitor: Visitor, error: TemporaryError) -> None:
        """Hear that the host failed the visitor for now."""
        told = _Told()
        with self._lock:
            host, trial = self._returned(name, visitor)
            host.error = error
            if rest_s := host.health.failed(error, trial=trial):
                self._begin_rest(host, rest_s, told)
            self._admit(host, told)
        self._tell(told)

    def left(self, name: str, visitor: Visitor) -> None:
        """Hear that the visitor did not ask the host after all."""
        told = _Told()
        with self._lock:
            host, trial = self._returned(name, visitor)
            host.health.left(trial=trial)
            self._admit(host, told)
        self._tell(told)

    def _known(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(name, Health(self._rest))
        return host

    def _returned(self, name: str, visitor: Visitor) -> tuple[_Host, bool]:
        """Give the visitor's thread back; tell its host, and whether it was the trial."""
        host = self._hosts[name]
        host.running -= 1
        self._free += 1
        trial = host.trial is visitor
        if trial:
            host.trial = None
        return host, trial

    def _begin_rest(self, host: _Host, rest_s: float, told: _Told) -> None:
        rest = host.health.rests
        self._closed.add(host)
        host.rests_until_s = self._timer.clock() + rest_s
        self._timer.call_after(rest_s, lambda: self._end_rest(host, rest))
        waiting = list(host.waiting)
        host.waiting.clear()
        self._keep_waiting(host, waiting, told)

    def _keep_waiting(self, host: _Host, visitors: Iterable[Visitor], told: _Told) -> None:
        """Keep those who can wait for the rest's end, turn the others away."""
        assert host.error is not None, "a host rests only after it has failed"
        for visitor in visitors:
            if visitor.patience_ends_s() > host.rests_until_s:
                host.waiting.append(visitor)
            else:
                told.turned_away.append((host.error, visitor))

    def _end_rest(self, host: _Host, rest: int) -> None:
        told = _Told()
        with self._lock:
            if self._hosts.get(host.name) is host:  # it may have been forgotten
                host.health.rested(rest)
                self._admit(host, told)
        self._tell(told)

    def _admit(self, changed: _Host, told: _Told) -> None:
        """Let go whoever may, after something has changed for a host."""
        self._line_up(changed)
        blocked = 0
        while self._free and blocked < len(self._ready):
            host = self._ready.popleft()
            host.ready = False
            if not self._has_share(host):
                blocked += 1
            elif host.waiting and host.health.may_go:
                blocked = 0
                told.go.append((host, self._next(host)))
            self._line_up(host)
        self._forget(changed)

    def _line_up(self, host: _Host) -> None:
        if host.waiting and host.health.may_go and not host.ready:
            host.ready = True
            self._ready.append(host)

    def _has_share(self, host: _Host) -> bool:
        if host.running == 0:
            return True
        return self._free > 1 and host.running < min(self._most_a_host, _SHARE * self._free)

    def _next(self, host: _Host) -> Visitor:
        visitor = host.waiting.popleft()
        host.running += 1
        self._free -= 1
        if host.health.gone():
            host.trial = visitor
        return visitor

    def _forget(self, host: _Host) -> None:
        """Keep only hosts that matter, and of those that nobody visits not too many."""
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

    def _tell(self, told: _Told) -> None:
        """Tell visitors what was decided about them, without the lock: they may do anything."""
        for error, visitor in told.turned_away:
            visitor.turn_away(error)
        going = told.go
        while refused := [(host, visitor) for host, visitor in going if not visitor.go()]:
            again = _Told()
            with self._lock:
                for host, visitor in refused:
                    _, trial = self._returned(host.name, visitor)
                    host.health.left(trial=trial)
                    self._admit(host, again)
            going = again.go
