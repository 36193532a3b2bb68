"""Rejects the use of one client in two event loops, where asyncio's errors say little."""

from __future__ import annotations

import asyncio


class OneLoop:
    """The event loop in which a client is used."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> None:
        """Remember the running loop, or check that it is the same.

        Raises:
            RuntimeError: It is another one.
        """
        running = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = running
        if self._loop is not running:
            raise RuntimeError(
                "This AsyncClient has connections in another event loop; create a client for each "
                "event loop, or close this one (`await client.aclose()`) in its loop first."
            )

    def forget(self) -> None:
        """Allow another loop, since all connections were closed."""
        self._loop = None
