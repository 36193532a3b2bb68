"""Who may go to which host when: shares of the threads, rests, trials. No threads, no real time."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.fake_timer import FakeTimer

from worker.errors import TemporaryError
from worker.pipeline import host_limiter as hosts_module
from worker.pipeline.circuit_breaker import RestPolicy
from worker.pipeline.host_limiter import HostLimiter, Told, host_of

if TYPE_CHECKING:
    from collections.abc import Sequence

REST = RestPolicy(failures=3, first_s=1.0, factor=2.0, longest_s=8.0)


def broken(retry_after_s: float | None = None) -> TemporaryError:
    error = TemporaryError("It failed.", "FETCH_503")
    error.retry_after_s = retry_after_s
    return error


class Guest:
    """A fetch that notes what it is told."""

    def __init__(self, street: Street, host: str, patience_s: float = 1e9) -> None:
        self.street = street
        self.host = host
        self.patience_s = patience_s
        self.gone = 0
        self.willing = True
        self.errors: list[TemporaryError] = []

    def go(self) -> bool:
        assert not self.street.hosts._lock.locked(), "told under the lock"
        self.gone += self.willing
        return self.willing

    def patience_ends_s(self) -> float:
        return self.street.timer.now_s + self.patience_s

    def turn_away(self, error: TemporaryError) -> None:
        assert not self.street.hosts._lock.locked(), "told under the lock"
        self.errors.append(error)

    def enter(self) -> Guest:
        self.street.hosts.enter([(self.host, self)])
        return self

    def answered(self) -> None:
        self.street.hosts.report([(self.host, self, Told.ANSWERED)])

    def failed(self, error: TemporaryError | None = None) -> None:
        self.street.hosts.report([(self.host, self, error or broken())])

    def left(self) -> None:
        self.street.hosts.report([(self.host, self, Told.NOT_ASKED)])


class Street:
    """Hosts, and guests who enter them."""

    def __init__(self, threads: int = 32, most_a_host: int | None = None) -> None:
        self.timer = FakeTimer()
        self.hosts: HostLimiter[Guest] = HostLimiter(
            self.timer,  # type: ignore[arg-type]  # it has what is used
            self,
            threads=threads,
            most_a_host=most_a_host,
            rest=REST,
        )

    def start(self, fetches: Sequence[Guest]) -> list[Guest]:
        return [guest for guest in fetches if not guest.go()]

    def gives_up_at(self, fetch: Guest) -> float:
        return fetch.patience_ends_s()

    def turn_away(self, fetch: Guest, error: TemporaryError) -> None:
        fetch.turn_away(error)

    def enter(self, names: str, patience_s: float = 1e9) -> list[Guest]:
        """One guest for each letter, which names its host."""
        return [Guest(self, name, patience_s).enter() for name in names]

    def fail(self, name: str, times: int) -> None:
        for guest in self.enter(name * times):
            assert guest.gone
            guest.failed()


def going(guests: list[Guest]) -> str:
    return "".join(guest.host for guest in guests if guest.gone)


# --- names ---


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("https://Example.com/cat.jpg", "https://example.com"),
        ("HTTPS://example.com?cat=1", "https://example.com"),
        ("http://example.com:8080#x", "http://example.com:8080"),
        ("http://[2001:db8::1]:80/cat", "http://[2001:db8::1]:80"),
        ("s3://pets/cats/1.jpg", "s3://pets"),
        ("redis://uploads/" + "0" * 64, None),
        ("file:///data/cat.jpg", None),
        ("file:/data/cat.jpg", None),
        ("data:image/png;base64,AAAA", None),
        ("DATA://example.com/,x", None),
        ("cat.jpg", None),
    ],
)
def test_a_uris_host_is_what_fails_together(uri: str, host: str | None) -> None:
    assert host_of(uri) == host


# --- shares ---


def test_a_lone_host_gets_three_quarters_of_the_threads() -> None:
    street = Street(threads=32)
    assert going(street.enter("a" * 100)) == "a" * 24


def test_a_newcomer_goes_at_once_however_many_wait_for_a_slow_host() -> None:
    street = Street(threads=32)
    street.enter("a" * 1000)
    assert going(street.enter("bcdefgh")) == "bcdefgh"


def test_slow_hosts_leave_each_other_a_share_and_the_last_thread_to_a_newcomer() -> None:
    street = Street(threads=8)
    held = street.enter("a" * 50 + "b" * 50 + "c" * 50)
    assert Counter(going(held)) == {"a": 6, "b": 1, "c": 1}
    # when those of the first end, the threads go round
    for guest in [guest for guest in held if guest.gone][:6]:
        guest.answered()
    running = Counter(going(held)) - Counter({"a": 6})
    assert running.total() in (6, 7)
    assert max(running.values()) <= 3


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_threads_still_serve_everybody(threads: int) -> None:
    street = Street(threads=threads)
    guests = street.enter("aaabbbccc")
    for _ in range(9):
        [*under_way] = [guest for guest in guests if guest.gone == 1]
        assert 1 <= len(under_way) <= threads
        under_way[0].gone = 2
        under_way[0].answered()
    assert all(guest.gone for guest in guests)


def test_hosts_that_wait_are_served_in_turn() -> None:
    street = Street(threads=1)
    [first, *others] = street.enter("xaaaabbcc")
    order = []
    current = first
    for _ in range(8):
        current.answered()
        [current] = [guest for guest in others if guest.gone and guest not in order]
        order.append(current)
    assert "".join(guest.host for guest in order) == "abcabcaa"


def test_a_bound_a_host_holds_where_the_share_would_allow_more() -> None:
    street = Street(threads=32, most_a_host=2)
    guests = street.enter("aaaabb")
    assert going(guests) == "aabb"
    guests[0].answered()
    assert guests[2].gone


def test_a_fetch_that_is_not_made_makes_room_for_all_behind_it() -> None:
    # given so many that each told within the other would be too deep
    street = Street(threads=1)
    [first] = street.enter("a")
    waiting = [Guest(street, "a") for _ in range(5000)]
    for guest in waiting:
        guest.willing = False
        guest.enter()
    [last] = street.enter("a")
    # when
    first.answered()
    # then
    assert last.gone
    last.answered()
    assert street.hosts._free == 1
    assert not street.hosts._hosts


# --- rests ---


def test_a_host_that_fails_in_a_row_rests_and_others_go_on() -> None:
    street = Street()
    street.fail("a", REST.failures)
    held = street.enter("aab")
    assert going(held) == "b"
    assert street.hosts.resting == 2
    assert street.timer.due_in_s == [1.0]


def test_an_answer_in_between_starts_the_count_anew() -> None:
    street = Street()
    for _ in range(5):
        street.fail("a", REST.failures - 1)
        street.enter("a")[0].answered()
    assert going(street.enter("a")) == "a"
    assert street.timer.due_in_s == []


def test_after_the_rest_one_tries_and_the_others_follow_its_success() -> None:
    street = Street()
    street.fail("a", REST.failures)
    held = street.enter("aaa")
    street.timer.advance(0.999)
    assert going(held) == ""
    # when the rest ends
    street.timer.advance(0.001)
    # then one goes, and who comes meanwhile waits too
    assert going(held) == "a"
    held += street.enter("a")
    assert (going(held), street.hosts.resting) == ("a", 3)
    held[0].answered()
    assert going(held) == "aaaa"
    assert street.hosts.resting == 0
    # and the count starts anew
    for guest in held[1:3]:
        guest.failed()
    assert going(street.enter("a")) == "a"


def test_after_a_rest_those_that_wait_for_a_thread_wait_for_no_rest() -> None:
    street = Street()
    street.fail("a", REST.failures)
    held = street.enter("a" * 50)
    street.timer.advance(1.0)
    held[0].answered()
    assert len(going(held)) < 50
    assert street.hosts.resting == 0


def test_a_trial_that_fails_doubles_the_rest_up_to_the_longest() -> None:
    street = Street()
    street.fail("a", REST.failures)
    rests = []
    for _ in range(5):
        rests += street.timer.due_in_s
        [guest] = street.enter("a")
        street.timer.advance(street.timer.due_in_s[0])
        assert guest.gone
        guest.failed()
    assert rests == [1.0, 2.0, 4.0, 8.0, 8.0]
    # and an answer makes the next rest short again
    street.timer.advance(8.0)
    street.enter("a")[0].answered()
    street.fail("a", REST.failures)
    assert street.timer.due_in_s == [1.0]


def test_a_rest_is_as_long_as_the_host_asks_within_the_longest() -> None:
    for asked_s, rest_s in ((5.0, 5.0), (3600.0, 8.0), (0.1, 1.0)):
        street = Street()
        for guest in street.enter("aaa"):
            guest.failed(broken(asked_s))
        assert street.timer.due_in_s == [rest_s]


def test_when_nobody_waits_at_a_rests_end_the_next_to_come_tries() -> None:
    street = Street()
    street.fail("a", REST.failures)
    street.timer.advance(1.0)
    assert going(street.enter("aa")) == "a"


def test_a_trial_that_did_not_ask_the_host_hands_the_trial_on() -> None:
    street = Street()
    street.fail("a", REST.failures)
    first, second, third = street.enter("aaa")
    street.timer.advance(1.0)
    first.left()
    assert (second.gone, third.gone) == (1, 0)


def test_those_who_went_before_the_rest_neither_lengthen_it_nor_count() -> None:
    # given three that fail and four that went with them
    street = Street()
    guests = street.enter("a" * 7)
    for guest in guests[:3]:
        guest.failed()
    # when one of the four fails during the rest, and one during the trial
    guests[3].failed()
    assert street.timer.due_in_s == [1.0]
    trial, waiting = street.enter("aa")
    street.timer.advance(1.0)
    guests[4].failed()
    assert street.timer.due_in_s == []
    assert (trial.gone, waiting.gone) == (1, 0)
    # and an answer to one of them opens the host, so that the trial is none any more
    guests[5].answered()
    assert waiting.gone
    trial.failed()
    assert street.timer.due_in_s == []
    assert going(street.enter("a")) == "a"


def test_the_end_of_an_earlier_rest_does_not_end_a_later_one() -> None:
    # given a rest that an answer ended early, and another rest, of a host that is visited all along
    street = Street()
    guests = street.enter("a" * 5)
    for guest in guests[:3]:
        guest.failed()
    street.timer.advance(0.5)
    guests[3].answered()
    street.fail("a", REST.failures)
    assert street.timer.due_in_s == [0.5, 1.0]
    # when the first would have ended
    [held] = street.enter("a")
    street.timer.advance(0.5)
    assert not held.gone
    street.timer.advance(0.5)
    assert held.gone


# --- patience ---


def test_who_can_not_wait_for_the_rests_end_is_turned_away_with_the_last_error() -> None:
    street = Street(threads=8)
    guests = street.enter("aaa") + street.enter("a" * 10, patience_s=0.9) + street.enter("a")
    error = broken()
    for guest in guests[:2]:
        guest.failed()
    guests[2].failed(error)
    # then those that had gone are told nothing, those that wait are, and so is who comes later
    waited = [guest for guest in guests[3:13] if not guest.gone]
    assert len(waited) >= 2
    assert [guest.errors for guest in waited] == [[error]] * len(waited)
    assert guests[13].errors == []
    [late] = street.enter("a", patience_s=1.0)
    assert late.errors == [error]
    assert street.hosts.resting == 1


def test_a_rest_that_grows_too_long_turns_away_those_who_waited_through_the_first() -> None:
    street = Street()
    street.fail("a", REST.failures)
    trial, patient = street.enter("aa")
    [hasty] = street.enter("a", patience_s=1.5)
    street.timer.advance(1.0)
    trial.failed()
    assert (len(hasty.errors), len(patient.errors), street.hosts.resting) == (1, 0, 1)


# --- memory ---


def test_a_host_in_order_that_nobody_visits_is_forgotten() -> None:
    street = Street()
    for guest in street.enter("abcabc"):
        guest.answered()
    assert not street.hosts._hosts


def test_only_so_many_hosts_that_failed_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    # given room for ten, a host that rests, and one that is busy
    monkeypatch.setattr(hosts_module, "MOST_HOSTS", 10)
    street = Street()
    for _ in range(REST.failures):
        Guest(street, "resting").enter().failed()
    busy = Guest(street, "busy").enter()
    # when strangers name a hundred others
    for number in range(100):
        Guest(street, f"host{number}").enter().failed()
    # then the oldest are forgotten, but not the busy one
    assert len(street.hosts._hosts) == 10
    assert "resting" not in street.hosts._hosts
    assert not street.hosts._closed
    busy.answered()
    # and the end of the forgotten host's rest harms nothing, nor does it end one that is new
    street.timer.advance(0.9)
    for _ in range(REST.failures):
        Guest(street, "resting").enter().failed()
    [held] = [Guest(street, "resting").enter()]
    street.timer.advance(0.1)
    assert not held.gone
    street.timer.advance(0.9)
    assert held.gone


def test_the_rest_of_a_host_that_was_forgotten_ends_without_a_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hosts_module, "MOST_HOSTS", 1)
    street = Street()
    street.fail("a", REST.failures)
    street.fail("b", 1)
    assert list(street.hosts._hosts) == ["b"]
    street.timer.advance(1.0)
    assert list(street.hosts._hosts) == ["b"]


def test_threads_may_share_it() -> None:
    # given 8 threads that visit, and a random mix of reports
    street = Street(threads=4)
    ended = threading.Semaphore(0)

    class Quick(Guest):
        def go(self) -> bool:
            threading.Thread(target=self.work).start()
            return True

        def work(self) -> None:
            self.answered()
            ended.release()

    def visit(name: str) -> None:
        for _ in range(50):
            Quick(street, name).enter()

    threads = [threading.Thread(target=visit, args=(name,)) for name in "aabbccdd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # then everybody has been, and every thread is given back
    for _ in range(400):
        assert ended.acquire(timeout=20)
    assert street.hosts._free == 4
    assert not street.hosts._hosts
    assert not street.hosts._ready
