"""Pushes messages onto a queue in Redis, without blocking the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from clip_worker.client.push_plan import Message, Push, Pushed, PushPlan, next_push
from clip_worker.client.push_script import PUSH_SCRIPT
from clip_worker.redis.error_translation import translated

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from clip_worker.redis.async_commands import AsyncCommands

MOST_MESSAGES = 100  # per round trip: to write so many takes 2 ms


class AsyncPublisher:
    """Sends messages to one queue.

    Args:
        commands: Sends commands to the Redis that the queue is in.
        plan: What is pushed when.
    """

    def __init__(self, commands: AsyncCommands, plan: PushPlan) -> None:
        self._commands = commands
        self._plan = plan

    async def send(
        self,
        messages: Iterable[Message],
        count: int,
        priority: int = 0,
        tenant: str | None = None,
    ) -> AsyncIterator[int]:
        """Send messages in order; see `Publisher.send`."""
        pushes = self._plan.pushes(messages, count, priority, tenant)
        push = next_push(pushes)
        while push:
            pushed = await self._carry_out(push)
            if pushed.sent:
                yield pushed.sent
            push = next_push(pushes, pushed)

    async def _carry_out(self, push: Push) -> Pushed:
        if push.pause_s:
            await asyncio.sleep(push.pause_s)
        with translated(self._plan.url):
            if command := push.command:
                await self._commands(*command)
                return Pushed(len(push.messages))
            return Pushed(*await self._commands.run(PUSH_SCRIPT, push.keys, push.args))
