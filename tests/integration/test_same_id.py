"""Tasks that publish a second message of their id before the first is acknowledged all end."""

from __future__ import annotations

import re
from contextlib import ExitStack

import pytest
from support.queue_state import unacked
from support.waiting import wait_until
from support.worker_process import WorkerProcess

from clip_worker.contract.keys import DEFAULT_QUEUE, QueueKeys, dead_key

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LIMIT_S = 120.0
KEYS = QueueKeys(DEFAULT_QUEUE)


@pytest.mark.parametrize("count", [1, 2])
def test_tasks_that_retry_replace_or_reject_themselves_or_run_out_of_memory_end(
    redis_url, tmp_path, plain, broker, count
):
    def send(name, *args):
        return plain.send_task(name, args, queue=DEFAULT_QUEUE)

    def log():
        return "\n".join(worker.log for worker in workers)

    with ExitStack() as stack:
        # given a lease far longer than the test: nothing may wait for one to run out
        workers = [
            stack.enter_context(
                WorkerProcess(redis_url, tmp_path, name=f"own{n}", app="own_app", lease_s="600")
            )
            for n in range(count)
        ]
        # when
        sent = [
            (send(name, *args), answer)
            for _ in range(10)
            for name, args, answer in (
                ("own.retries", (), 3),
                ("own.autoretries", (), 3),
                ("own.replaces", (21,), 42),
            )
        ]
        rejected, failed = send("own.rejects"), send("own.has_no_memory")
        # then, not by their results: Celery may store a try's `RETRY` after the last one's answer
        ends = [
            re.compile(rf"{result.id}\] succeeded in .*: {answer}$", re.MULTILINE)
            for result, answer in sent
        ]
        wait_until(lambda: all(end.search(log()) for end in ends), log)
        with pytest.raises(MemoryError):
            failed.get(LIMIT_S)
        wait_until(lambda: unacked(broker, KEYS) == 0, log)
        assert broker.llen(DEFAULT_QUEUE) == 0
        assert broker.hkeys(dead_key(DEFAULT_QUEUE)) == [rejected.id.encode()]
        assert all(worker.running.poll() is None for worker in workers)
