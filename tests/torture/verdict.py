"""The tables that a run ends with: what was done, what came of it, and whether that is right."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torture.accounting import (
    BY_ITSELF,
    NO_REASON,
    REASONS,
    Account,
    Evidence,
    death,
)
from torture.chaos import KILL, PARTITION, RESTART, STOP, TERM
from torture.supervisor import Life


@dataclass(frozen=True)
class Rule:
    """One line of the verdict: what was counted, what it may be at most."""

    text: str
    seen: int
    most: int
    detail: str = ""

    @property
    def holds(self) -> bool:
        return self.seen <= self.most


@dataclass(frozen=True)
class Aftermath:
    """What was seen after the last task.

    Attributes:
        needed_help: A line for each worker that did not go on by itself.
        dead: Numbers of the tasks in the dead letters; None where there is no such list.
        left_over: Messages in the queue or unacknowledged after all workers ended.
        strangers: Results of tasks that nobody sent.
    """

    needed_help: Sequence[str]
    dead: frozenset[int] | None
    left_over: int
    strangers: int


def rules(evidence: Evidence, found: Account, after: Aftermath) -> list[Rule]:
    """What must hold at the end."""
    dead = after.dead or frozenset()
    return [
        Rule("tasks lost (no final state)", len(found.lost), 0, _some(found.lost)),
        Rule("tasks with a wrong final state", len(found.wrong), 0, _wrong(evidence, found)),
        Rule("tasks whose final state changed", len(found.changed), 0, _some(found.changed)),
        Rule(
            "tasks run more than once, at most those in flight at kills and stops",
            len(found.repeated_tasks),
            found.in_flight_at_kills,
        ),
        Rule(
            "tasks run more than once for no reason",
            len(found.repeated.get(NO_REASON, ())),
            0,
            _some(found.repeated.get(NO_REASON, ())),
        ),
        Rule("workers that needed help", len(after.needed_help), 0, "; ".join(after.needed_help)),
        Rule(
            "workers that ended by themselves",
            len(found.own_ends),
            0,
            ", ".join(f"{life.pid}: {life.status}" for life in found.own_ends[:5]),
        ),
        Rule("dead letters, for poison costs no worker", len(dead), 0, _some(sorted(dead))),
        Rule("messages left over after a clean stop", after.left_over, 0),
        Rule("results of tasks that nobody sent", after.strangers, 0),
    ]


def print_rules(lines: Iterable[Rule]) -> bool:
    """Print the verdict; whether all holds."""
    rows = [("rule", "seen", "at most", "")]
    every = list(lines)
    rows += [(r.text, str(r.seen), str(r.most), "ok" if r.holds else "VIOLATED") for r in every]
    print_table(rows)
    for rule in every:
        if not rule.holds and rule.detail:
            print(f"  {rule.text}: {rule.detail}")
    return all(rule.holds for rule in every)


def print_events(evidence: Evidence, found: Account) -> None:
    """Print what was done to the workers, and what that cost."""
    times = {kind: sum(e.kind == kind for e in evidence.events) for kind in (STOP, PARTITION)}
    times[RESTART] = sum(event.kind == RESTART for event in evidence.events)
    deaths = [death(life) for life in evidence.lives]
    for reason in (KILL, TERM, BY_ITSELF):
        times[reason] = deaths.count(reason)
    rows = [("event", "times", "in flight then", "run again", "median s until it goes on")]
    rows += [
        (
            reason,
            str(times[reason]),
            str(found.in_flight.get(reason, 0)),
            str(len(found.repeated.get(reason, ()))),
            _median(_back_s(evidence, reason)),
        )
        for reason in REASONS
    ]
    print_table(rows)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a Markdown table; the first is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for n, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("| " + " | ".join(cells) + " |")
        if n == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")


def _back_s(evidence: Evidence, reason: str) -> list[float]:
    """Seconds from a disturbance's end until that worker, or its successor, goes on."""
    if reason in (STOP, PARTITION, RESTART):
        waits = [
            _first_sign_s(life, event.until_s)
            for event in evidence.events
            if event.kind == reason
            for life in evidence.lives
            if event.pid in (0, life.pid) and life.started_s < event.at_s
        ]
    else:
        waits = [_replaced_s(life, evidence) for life in evidence.lives if death(life) == reason]
    return [wait for wait in waits if wait is not None]


def _first_sign_s(life: Life, after_s: float) -> float | None:
    signs = (entry.at_s - after_s for entry in life.journal.read() if entry.at_s > after_s)
    return next(signs, None)


def _replaced_s(life: Life, evidence: Evidence) -> float | None:
    ended_s = life.ended_s or 0.0
    next_ready_s = (
        other.ready_s - ended_s
        for other in evidence.lives
        if other.slot == life.slot and other.started_s >= ended_s and other.ready_s
    )
    return min(next_ready_s, default=None)


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f}" if values else ""


def _some(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)[:10]))


def _wrong(evidence: Evidence, found: Account) -> str:
    """The kinds of the wrong ones and what they got."""
    kinds = {job.mark.number: job.mark.kind for job in evidence.jobs}
    seen = Counter(
        (kinds[n], evidence.stored[n].state, evidence.stored[n].answer) for n in found.wrong
    )
    return "; ".join(
        f"{count} {kind}: {state} {answer}" for (kind, state, answer), count in seen.most_common(5)
    )
