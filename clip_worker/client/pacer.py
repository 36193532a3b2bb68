"""Keeps long loops of coroutines from blocking the event loop."""

from __future__ import annotations

import asyncio
import time

MOST_STEPS = 32  # each may wake a coroutine, which takes up to 0.1 ms
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
