"""Keeps the event loop from being blocked: by long loops, and by many calls that begin at once."""

from __future__ import annotations

import asyncio
import time

MOST_STEPS = 16  # each may wake a coroutine, which takes up to 0.1 ms
MOST_CALLS = 8  # that begin; each takes up to 0.3 ms
MOST_S = 0.002


class Pacer:
    """Lets other coroutines run after every few steps of a loop."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._left = MOST_STEPS
        self._until = time.monotonic() + MOST_S

    async def step(self) -> None:
        """Count one step; now and then, give way."""
        self._left -= 1
        if self._left <= 0 or time.monotonic() >= self._until:
            await asyncio.sleep(0)
            self._begin()


class Turns:
    """Lets a few coroutines through before others run: `async with turns:`.

    Whoever gathers a thousand calls starts all of them in one iteration of the event loop.

    Args:
        most: How many are let through in one iteration.
    """

    def __init__(self, most: int = MOST_CALLS) -> None:
        self._most = most
        self.reset()

    def reset(self) -> None:
        """Allow another event loop."""
        self._free = asyncio.Semaphore(self._most)

    async def __aenter__(self) -> None:
        await self._free.acquire()

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.sleep(0)
        finally:
            self._free.release()
