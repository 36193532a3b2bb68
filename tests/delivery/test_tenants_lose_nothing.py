"""Whatever is sent, taken, requeued and killed: each message of each tenant ends once."""

from __future__ import annotations

import json
from collections import Counter
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support.queue_state import GAP_S, KEYS, unacked
from support.tenant_messages import tenant_message, waiting

from clip_worker.client.push_script import PUSH_SCRIPT
from worker.delivery.delivery import Ack, Crash, Delivery
from worker.delivery.redis_queue import RedisQueue, source_of

if TYPE_CHECKING:
    import redis

pytestmark = pytest.mark.integration

TENANTS = st.sampled_from(["a", "b", "org:42", None])
STEPS = st.integers(0, 3)
WORKERS = Bundle("workers")


class Queue(RuleBasedStateMachine):
    """Producers and workers, in any order."""

    def __init__(self, server: redis.Redis) -> None:
        super().__init__()
        server.flushdb()
        self.server = server
        self._push = self.server.register_script(PUSH_SCRIPT)
        self._numbers = count()
        self._sent = 0
        self._ended: Counter[str] = Counter()

    def _open(self) -> RedisQueue:
        return RedisQueue(self.server, KEYS, lease_s=1000.0, result_ttl_s=60)

    def _message(self, tenant: str | None) -> str:
        self._sent += 1
        return tenant_message(tenant, next(self._numbers))

    def _finish(self, queue: RedisQueue, taken: list[Delivery]) -> None:
        for delivery in taken:
            [held] = queue.finish(queue.lease, [Ack(delivery)])
            self._ended[json.loads(delivery.message)["headers"]["id"]] += held

    @rule(target=WORKERS)
    def start_a_worker(self) -> dict[str, Any]:
        return {"queue": self._open(), "held": []}

    @rule(tenant=TENANTS, step=STEPS, number=st.integers(1, 4))
    def send(self, tenant: str | None, step: int, number: int) -> None:
        pairs = [part for _ in range(number) for part in (self._message(tenant), "")]
        self._push(
            keys=KEYS.lists, args=[step + 1, "", 0, 60, tenant or "", KEYS.tenant_base, *pairs]
        )

    @rule(tenant=TENANTS, step=STEPS)
    def send_by_another_producer(self, tenant: str | None, step: int) -> None:
        self.server.lpush(KEYS.lists[step], self._message(tenant))

    @rule()
    def wake_an_idle_worker(self) -> None:
        self.server.lmove(KEYS.tenants, KEYS.tenants_arrived, "RIGHT", "LEFT")
        self.server.lmove(KEYS.lists[0], KEYS.arrived[0], "RIGHT", "LEFT")

    @rule(worker=WORKERS, most=st.integers(0, 6))
    def take(self, worker: dict[str, Any], most: int) -> None:
        worker["held"] += worker["queue"].take(most, suspects=1)

    @rule(worker=WORKERS, number=st.integers(1, 4), goes_back=st.booleans())
    def end(self, worker: dict[str, Any], number: int, *, goes_back: bool) -> None:
        some, worker["held"] = worker["held"][:number], worker["held"][number:]
        if goes_back:
            worker["queue"].requeue(worker["queue"].lease, [each.tag for each in some])
        else:
            self._finish(worker["queue"], some)

    @rule(worker=WORKERS, has_started=st.booleans())
    def kill(self, worker: dict[str, Any], *, has_started: bool) -> None:
        queue, other = worker["queue"], self._open()
        if has_started:
            tags = [each.tag for each in worker["held"]]
            queue.start(queue.lease, tags, Crash(1.0, 1, "w"))
        other.reap(GAP_S)
        self.server.zadd(KEYS.leases, {queue.lease.name: 1.0}, xx=True)
        other.reap(GAP_S)
        worker.update(queue=self._open(), held=[])

    @rule()
    def let_kombus_transport_have_some(self) -> None:
        merge = self.server.register_script(source_of("merge"))
        merge(keys=KEYS.lists, args=[KEYS.tenant_base, 5])

    @invariant()
    def a_tenant_has_a_turn_as_long_as_it_has_messages(self) -> None:
        turns: list[Any] = []
        for name in (KEYS.tenants, KEYS.tenants_arrived):
            turns += self.server.lrange(name, 0, -1)
        names = sorted(name.decode() for name in turns)
        found = waiting(self.server)
        all_of_them = found.pop("*", 0)
        assert names == sorted(found)
        lengths = {
            name: sum(self.server.llen(KEYS.tenant(name, step)) for step in (0, 3, 6, 9))
            for name in found
        }
        assert lengths == found
        assert all_of_them == sum(lengths.values())

    def teardown(self) -> None:
        """In the end a last worker finishes what is left, and nothing of it stays in Redis."""
        last = self._open()
        last.reap(GAP_S)
        for lease in self.server.zrange(KEYS.leases, 0, -1):
            if lease.decode() != last.lease.name:
                self.server.zadd(KEYS.leases, {lease: 1.0})
        last.reap(GAP_S)
        while taken := last.take(100, suspects=100):
            self._finish(last, taken)
        assert len(self._ended) == self._sent
        assert set(self._ended.values()) <= {1}
        assert unacked(self.server, KEYS) == 0
        left = {KEYS.leases.encode(), KEYS.tick.encode()}
        assert set(self.server.keys()) <= left


def test_each_message_of_each_tenant_ends_once_whatever_happens(server: redis.Redis) -> None:
    settings_ = settings(max_examples=20, stateful_step_count=20, deadline=None, database=None)
    run_state_machine_as_test(lambda: Queue(server), settings=settings_)
