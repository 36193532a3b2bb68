"""A run on images that arrive in any order and without an end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from support.bulk_runs import AnsweringWorkers, ListSink, item

from clip_worker import Client
from clip_worker.bulk.failures import FailuresFile
from clip_worker.bulk.run import BulkRun
from clip_worker.bulk.supply import ArrivalSupply
from clip_worker.errors import ImageInvalidError
from clip_worker.feeds.item import Item


class Deliveries:
    """Yields prepared lists of items one after the other; then it calls `at_end`."""

    def __init__(self, *deliveries: Sequence[Item], at_end: Callable[[], None]) -> None:
        self._deliveries = list(deliveries)
        self._at_end = at_end
        self.acknowledged: list[str] = []
        self.seen: Callable[[Collection[str]], Collection[str]] = lambda _keys: ()

    def open(self, seen: Callable[[Collection[str]], Collection[str]]) -> None:
        self.seen = seen

    def poll(self, timeout_s: float, most: int) -> Sequence[Item]:
        if self._deliveries:
            return self._deliveries.pop(0)
        self._at_end()
        return ()

    def acknowledge(self, keys: Collection[str]) -> None:
        self.acknowledged += keys

    def close(self) -> None:
        pass


def test_what_arrives_twice_gets_one_row_and_is_acknowledged_each_time(
    client: Client, workers: AnsweringWorkers, sink: ListSink, journal: Any, failures: Any
) -> None:
    # given
    workers.fails = lambda uri: ImageInvalidError("Half a picture.") if "/2." in uri else None
    watched: list[Deliveries] = []
    for deliveries in ([[item(0), item(1)], [item(1), item(2)]], [[item(2), item(1), item(3)]]):
        with journal() as opened:
            run = BulkRun(
                client, sink, opened, FailuresFile(failures), options={"labels": ["cat"]},
                sleep=workers,
            )  # fmt: skip
            watched.append(Deliveries(*deliveries, at_end=run.stop))
            # when
            run.run(ArrivalSupply(watched[-1], opened))
            # then
            keys = ["0", "1", "2", "3", "9"]
            assert set(watched[-1].seen(keys)) == {"0", "1", "2"} | {*sink.keys}
    assert sink.keys == ["0", "1", "3"]
    assert {*watched[0].acknowledged} == {"0", "1", "2"}
    assert {*watched[1].acknowledged} == {"1", "2", "3"}
    assert len(failures.read_text().splitlines()) == 1
    assert len(workers.images) == 4
