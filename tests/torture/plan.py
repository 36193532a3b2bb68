"""What a torture run does, and what it shows."""

from __future__ import annotations

from dataclasses import dataclass

from torture.accounting import Account, Evidence
from torture.verdict import Rule, print_events, print_rules
from torture.workload import Shares

DEFAULT_SHARES = Shares()


@dataclass(frozen=True)
class Plan:
    """What to do. Times in seconds.

    Attributes:
        limit_s: After so long the run ends, whatever is open; `stall_s`: without a new final state.
        settings: More settings of the workers, by their environment variable.
    """

    tasks: int = 20_000
    workers: int = 3
    seed: int = 1
    interval_s: float = 3.0
    stop_s: float = 13.0
    partition_s: float = 5.0
    limit_s: float = 3600.0
    stall_s: float = 180.0
    shares: Shares = DEFAULT_SHARES
    fresh: bool = False
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What a run showed."""

    evidence: Evidence
    account: Account
    rules: list[Rule]
    seconds: float

    @property
    def holds(self) -> bool:
        return all(rule.holds for rule in self.rules)

    def print(self) -> None:
        print_events(self.evidence, self.account)
        print()
        print_rules(self.rules)
