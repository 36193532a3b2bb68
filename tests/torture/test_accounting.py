"""The account of a torture run, on small runs written down by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from torture.accounting import (
    BY_ITSELF,
    NO_REASON,
    Account,
    Evidence,
    account,
    is_right,
)
from torture.chaos import KILL, PARTITION, RESTART, STOP, TERM, Event
from torture.journal import JournalReader
from torture.mark import Mark
from torture.monitor import FinalState
from torture.supervisor import Life
from torture.verdict import Aftermath, rules
from torture.workload import BROKEN, SEGFAULT, SOUND, Expected, Job

KINDS = {0: SOUND, 1: SOUND, 2: SOUND, 7: SEGFAULT, 8: BROKEN}
RIGHT = {
    SOUND: ("SUCCESS", "red circle", 0.9),
    SEGFAULT: ("FAILURE", "DECODE_CRASHED", 0.0),
    BROKEN: ("FAILURE", "DECODE_BROKEN", 0.0),
}


class Story:
    """A run that is written line by line."""

    def __init__(self, folder: Path, *numbers: int) -> None:
        self.jobs = [job(number) for number in numbers]
        self.events: list[Event] = []
        self.lives: list[Life] = []
        self.states: dict[int, list[FinalState]] = {}
        self.runners = 2
        self._folder = folder

    def worker(
        self,
        pid: int,
        runs: Mapping[int, float],
        end: tuple[float, int, str] | None = None,
        what: str = "run",
    ) -> None:
        """A process that began tasks at these times, and its end: when, status, cause."""
        lines = [f"{what} {number} {at_s}\n" for number, at_s in runs.items()]
        path = self._folder / f"{len(self.lives)}.journal"
        path.write_text("".join(lines))
        life = Life(0, pid, 0.0, JournalReader(path))
        if end:
            life.ended_s, life.status, life.cause = end
        self.lives.append(life)

    def stored(self, number: int, at_s: float, *state: object) -> None:
        what = state or RIGHT[KINDS[number]]
        self.states.setdefault(number, []).append(FinalState(*what, at_s))  # type: ignore[arg-type]

    @property
    def evidence(self) -> Evidence:
        last = {number: states[-1] for number, states in self.states.items()}
        return Evidence(self.jobs, self.states, last, self.lives, self.events, runners=self.runners)

    @property
    def account(self) -> Account:
        return account(self.evidence)


def job(number: int) -> Job:
    state, answer, probability = RIGHT[KINDS[number]]
    return Job(Mark(number, KINDS[number]), "", (), Expected(state, answer[:7], probability)
               if state == "FAILURE" else Expected(state, answer, probability))  # fmt: skip


@pytest.fixture
def story(tmp_path):
    return Story(tmp_path, 0, 1, 2)


def test_a_quiet_run_has_nothing_to_report(story):
    story.worker(10, {0: 1.0, 1: 1.1, 2: 1.2}, (9.0, 0, "term"))
    for number in range(3):
        story.stored(number, 2.0)
    found = story.account
    assert (found.lost, found.wrong, found.changed, found.stored_again) == ([], [], [], [])
    assert (found.repeated, found.own_ends) == ({}, [])
    assert found.in_flight == {TERM: 0}


def test_what_has_no_result_is_lost_and_what_has_another_is_wrong(story):
    story.stored(0, 1.0)
    story.stored(1, 1.0, "SUCCESS", "blue square", 0.9)
    found = story.account
    assert (found.lost, found.wrong) == ([2], [1])


def test_a_final_state_that_was_another_before_has_changed(story):
    story.stored(0, 1.0, "FAILURE", "INTERNAL", 0.0)
    story.stored(0, 2.0)
    story.stored(1, 1.0)
    story.stored(1, 2.0)
    found = story.account
    assert (found.changed, found.stored_again) == ([0], [1])


def test_a_task_in_flight_at_a_kill_may_run_again(story):
    # given 0 done, 1 begun, 2 not begun at the kill
    story.worker(10, {0: 1.0, 1: 2.0}, (3.0, -9, "kill"))
    story.stored(0, 1.5)
    story.worker(11, {1: 5.0, 2: 6.0})
    found = story.account
    assert found.repeated == {KILL: {1}}
    assert found.in_flight == {KILL: 1}
    assert found.in_flight_at_kills == 1


KILLED = (3.0, -9, "kill")


@pytest.mark.parametrize("begun_s", [1.0, 2.01])  # the process goes on for a moment after the note
@pytest.mark.parametrize("kind", [STOP, PARTITION, RESTART])
def test_a_repeat_after_a_disturbance_is_put_down_to_it(story, kind, begun_s):
    story.worker(10, {0: begun_s})
    story.worker(11, {0: 20.0})
    story.events.append(Event(kind, 2.0, 0 if kind == RESTART else 10, 15.0))
    found = story.account
    assert found.repeated == {kind: {0}}
    assert found.in_flight == {kind: 1}
    assert found.in_flight_at_kills == (1 if kind == STOP else 0)


@pytest.mark.parametrize(
    ("events", "runs", "others", "end", "stored"),
    [
        pytest.param([], {0: 1.0}, {0: 5.0}, KILLED, {0: 1.5}, id="it was done before the kill"),
        pytest.param([], {0: 1.0}, {0: 2.0}, None, {}, id="the first worker lives"),
        pytest.param([], {0: 1.0}, {0: 2.0}, KILLED, {}, id="it runs before the kill"),
        pytest.param(
            *([Event(PARTITION, 2.0, 11, 15.0)], {0: 1.0}, {0: 20.0}, None, {}),
            id="the partition was another worker's",
        ),
        pytest.param(  # awake for as long as a batch may take that was about to run
            *([Event(STOP, 2.0, 10, 15.0)], {0: 20.01}, {0: 25.0}, None, {}),
            id="it was begun after the stop",
        ),
    ],
)
def test_a_repeat_has_no_reason_where(story, events, runs, others, end, stored):
    story.events += events
    story.worker(10, runs, end)
    story.worker(11, others)
    for number, at_s in stored.items():
        story.stored(number, at_s)
    assert story.account.repeated == {NO_REASON: {0}}


AWAKE = {0: 14.1, 1: 14.1, 2: 14.2}  # runs of a worker that was stopped until 14.0


@pytest.mark.parametrize(
    ("runners", "runs", "others", "end", "repeated"),
    [
        pytest.param(
            *(2, {0: 14.1}, {0: 12.0}, None, {STOP: {0}}),
            id="may run what its threads were about to",
        ),
        pytest.param(
            *(2, AWAKE, dict.fromkeys(range(3), 12.0), None, {STOP: {0, 1}, NO_REASON: {2}}),
            id="may not run all that it held",
        ),
        pytest.param(
            *(1, AWAKE, dict.fromkeys(range(3), 2.0), KILLED, {KILL: {0, 1, 2}}),
            id="may take over what died meanwhile",
        ),
    ],
)
def test_who_wakes_up(story, runners, runs, others, end, repeated):
    story.runners = runners
    story.events.append(Event(STOP, 1.0, 10, 14.0))
    story.worker(10, runs)
    story.worker(11, others, end)
    assert story.account.repeated == repeated


def test_who_wakes_up_may_run_what_it_then_takes_again(story):
    # given two tasks that a woken process ran at once; its result of one of them was accepted
    story.events.append(Event(STOP, 1.0, 10, 5.0))
    story.worker(10, {0: 5.1, 1: 5.1})
    story.worker(11, {0: 6.0, 1: 6.0})
    story.stored(0, 6.5)
    story.stored(1, 5.5)
    assert story.account.repeated == {STOP: {0}, NO_REASON: {1}}
    assert story.account.in_flight_at_kills == 1


def test_a_worker_that_dies_without_poison_ended_by_itself(story):
    story.worker(10, {0: 1.0}, (2.0, 1, ""))
    found = story.account
    assert [life.pid for life in found.own_ends] == [10]
    assert found.in_flight == {BY_ITSELF: 1}
    assert found.in_flight_at_kills == 0


@pytest.mark.parametrize(
    ("journal", "runs", "end", "by_itself"),
    [
        pytest.param("run", {}, (2.0, 1, "term"), True, id="after SIGTERM, with a wrong status"),
        pytest.param("run", {}, (2.0, -15, "term"), False, id="by SIGTERM, before it was ready"),
        pytest.param("ready", {-1: 1.0}, (2.0, -15, "term"), True, id="as any program by SIGTERM"),
    ],
)
def test_who_did_not_end_in_order_ended_by_itself(story, journal, runs, end, by_itself):
    story.worker(10, runs, end, what=journal)
    assert [life.pid for life in story.account.own_ends] == [10] * by_itself


@pytest.mark.parametrize(
    ("final", "expected", "right"),
    [
        (("SUCCESS", "red", 0.5), ("SUCCESS", "red", 0.5004), True),
        (("SUCCESS", "red", 0.5), ("SUCCESS", "red", 0.6), False),
        (("SUCCESS", "red", 0.5), ("SUCCESS", "blue", 0.5), False),
        (("FAILURE", "DECODE_TRUNCATED", 0.0), ("FAILURE", "DECODE_", 0.0), True),
        (("FAILURE", "INTERNAL", 0.0), ("FAILURE", "DECODE_", 0.0), False),
        (("FAILURE", "POISON", 0.0), ("SUCCESS", "red", 0.5), False),
    ],
)
def test_a_final_state_is_right_if_state_answer_and_probability_are(final, expected, *, right):
    assert is_right(FinalState(*final), Expected(*expected)) is right


def violated(story, **after):
    quiet: dict[str, object] = {
        "needed_help": [], "dead": frozenset(), "left_over": 0, "strangers": 0,
    }  # fmt: skip
    aftermath = Aftermath(**(quiet | after))  # type: ignore[arg-type]
    return [rule.text for rule in rules(story.evidence, story.account, aftermath) if not rule.holds]


@pytest.mark.parametrize(
    ("after", "text"),
    [
        ({"dead": frozenset({1})}, "dead letters, for poison costs no worker"),
        ({"needed_help": ["1 stood still"]}, "workers that needed help"),
        ({"left_over": 1}, "messages left over after a clean stop"),
        ({"strangers": 1}, "results of tasks that nobody sent"),
    ],
)
def test_each_fault_of_the_aftermath_is_a_violation(story, after, text):
    for number in range(3):
        story.stored(number, 1.0)
    assert violated(story) == []
    assert violated(story, **after) == [text]


def test_more_repeats_than_in_flight_at_the_kills_are_a_violation(story):
    for number in range(3):
        story.stored(number, 1.0)
    story.worker(10, {0: 2.0}, (3.0, 0, "term"))
    story.worker(11, {0: 5.0})
    texts: Sequence[str] = violated(story)
    assert "tasks run more than once, at most those in flight at kills and stops" in texts
