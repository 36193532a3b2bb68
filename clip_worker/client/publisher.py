"""Pushes messages onto a queue in Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from clip_worker.client.push_plan import Message, Push, Pushed, PushPlan, next_push
from clip_worker.client.push_script import PUSH_SCRIPT
from clip_worker.redis.commands import Commands
from clip_worker.redis.error_translation import translated

if TYPE_CHECKING:
    from redis import Redis


class Publisher:
    """Sends messages to one queue. Thread-safe.

    Args:
        redis: Client of the Redis that the queue is in.
        plan: What is pushed when.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self, redis: Redis, plan: PushPlan, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._commands = Commands(redis)
        self._script = redis.register_script(PUSH_SCRIPT)
        self._plan = plan
        self._sleep = sleep

    def send(
        self,
        messages: Iterable[Message],
        count: int,
        priority: int = 0,
        tenant: str | None = None,
    ) -> Iterator[int]:
        """Send messages in order; nothing is sent until the iterator is advanced.

        Args:
            messages: The messages.
            count: How many there are.
            priority: Priority of all of them: 0 to 9, 0 the most urgent.
            tenant: Tenant of all of them; None for none.

        Yields:
            The number of messages sent with each round trip, those sent before included.

        Raises:
            QueueFullError: See `PushPlan.pushes`.
            QueueUnavailableError: Redis can't be reached, or rejects the messages.
        """
        pushes = self._plan.pushes(messages, count, priority, tenant)
        push = next_push(pushes)
        while push:
            pushed = self._carry_out(push)
            if pushed.sent:
                yield pushed.sent
            push = next_push(pushes, pushed)

    def _carry_out(self, push: Push) -> Pushed:
        if push.pause_s:
            self._sleep(push.pause_s)
        with translated(self._plan.url):
            if command := push.command:
                self._commands(*command)
                return Pushed(len(push.messages))
            return Pushed(*self._commands.run(self._script, push.keys, push.args))
