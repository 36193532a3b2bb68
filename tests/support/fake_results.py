"""Results that appear at given times, on a clock that moves only while somebody waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clip_worker.errors import QueueUnavailableError

DAY_S = 86_400.0
NOON = 1_763_726_400.0


class FakeTime:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic(self) -> float:
        return self.passed_s

    def time(self) -> float:
        return NOON + self.passed_s

    def sleep(self, seconds: float) -> None:
        self.passed_s += max(seconds, 1e-3)


class FakeResults:
    """Stands for `ResultReader`, and for the subscriptions that it returns.

    Attributes:
        appears: When each task's result is stored, and the result.
        is_away: Whether Redis is unreachable at a time.
        reads: How many results each read was about.
        forgotten: Ids of tasks whose results were deleted.
    """

    def __init__(self, time: FakeTime, ttl_s: float = DAY_S) -> None:
        self.ttl_s = ttl_s
        self.appears: dict[str, tuple[float, dict[str, Any]]] = {}
        self.is_away = lambda _now_s: False
        self.reads: list[int] = []
        self.forgotten: list[str] = []
        self._time = time

    def put(self, task_id: str, result: Any = None, *, at_s: float = 0.0) -> None:
        status = "FAILURE" if isinstance(result, Exception) else "SUCCESS"
        self.appears[task_id] = (at_s, {"status": status, "result": result})

    def subscribe(self, _task_ids: Sequence[str]) -> FakeResults:
        return self

    def wait(self, waited_s: float, left_s: float, least_s: float) -> None:
        self._time.sleep(min(left_s, max(least_s, min(0.05, waited_s / 20))))

    def close(self) -> None:
        pass

    def read(self, task_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        self.reads.append(len(task_ids))
        if self.is_away(self._time.passed_s):
            raise QueueUnavailableError("Redis is away.")
        found = (self.appears.get(task_id) for task_id in task_ids)
        return [one[1] if one and one[0] <= self._time.passed_s else None for one in found]

    def ended(self, task_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        pairs = zip(task_ids, self.read(task_ids), strict=True)
        return {task_id: stored for task_id, stored in pairs if stored}

    def forget(self, task_id: str) -> None:
        if self.is_away(self._time.passed_s):
            raise QueueUnavailableError("Redis is away.")
        self.forgotten.append(task_id)
