"""Runs a test's coroutines, and plays the worker for them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from redis import Redis
from support.answers import ANSWER
from support.sent_messages import read_message
from support.waiting import LIMIT_S, PAUSE_S

from clip_worker.contract.keys import DEFAULT_QUEUE, RESULT_PREFIX

Returned = TypeVar("Returned")
STORED = ANSWER.model_dump(mode="json")


def run(main: Coroutine[Any, Any, Returned]) -> Returned:
    """Run it in an event loop of its own, in which nothing may be left at the end."""
    left: list[object] = []

    async def run_alone() -> Returned:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: left.append(context))
        try:
            return await asyncio.wait_for(main, LIMIT_S)
        finally:
            left.extend(asyncio.all_tasks() - {asyncio.current_task()})

    returned = asyncio.run(run_alone())
    assert left == []
    return returned


async def until(condition: Callable[[], object]) -> None:
    """Let other coroutines run until the condition holds."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, "the condition never held"
        await asyncio.sleep(PAUSE_S)


def put_result(
    redis: Redis, task_id: str, result: Any = STORED, *, store: bool = True, publish: bool = True
) -> None:
    """Store and publish a task's result as a worker does; an exception for one that failed."""
    status = "SUCCESS"
    if isinstance(result, Exception):
        kind = type(result)
        status, result = (
            "FAILURE",
            {
                "exc_type": kind.__name__,
                "exc_message": list(result.args),
                "exc_module": kind.__module__,
            },
        )
    stored = json.dumps({"status": status, "result": result, "traceback": None, "children": []})
    if store:
        redis.set(RESULT_PREFIX + task_id, stored)
    if publish:
        redis.publish(RESULT_PREFIX + task_id, stored)


async def serve(redis: Redis, reply: Callable[[dict[str, Any]], Any], count: int) -> None:
    """Take so many messages, and store what `reply` makes of each task's arguments.

    Args:
        redis: Client of the Redis with the queue.
        reply: Its result, or an exception.
        count: How many messages.
    """
    for _ in range(count):
        await until(lambda: redis.llen(DEFAULT_QUEUE))
        task_id, arguments = read_message(redis.rpop(DEFAULT_QUEUE))
        put_result(redis, task_id, reply(arguments))
        await asyncio.sleep(0)
