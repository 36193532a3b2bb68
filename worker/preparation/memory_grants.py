"""Memory that processes share for pictures too large for a process's own part."""

from __future__ import annotations

from collections import deque

from worker.preparation import messages
from worker.preparation.handle import ProcessHandle
from worker.preparation.messages import ProtocolError, Want


class MemoryGrants:
    """Grants memory in the order in which it is asked for.

    Args:
        total_bytes: What there is to share.
    """

    def __init__(self, total_bytes: int) -> None:
        self._total_bytes = total_bytes
        self._free_bytes = total_bytes
        self._asking: deque[ProcessHandle] = deque()

    def ask(self, process: ProcessHandle, want: Want) -> None:
        """A process asks; it gets its answer at once or later.

        Raises:
            ProtocolError: It has no right to.
        """
        if want.ticket not in process.in_hand or want.size_bytes > self._total_bytes:
            raise ProtocolError(f"wants {want.size_bytes} bytes for ticket {want.ticket}")
        if process.wants_bytes is not None or process.granted_bytes:
            raise ProtocolError("asks for memory a second time")
        process.wants_bytes, process.large_ticket = want.size_bytes, want.ticket
        self._asking.append(process)
        self._grant()

    def release(self, process: ProcessHandle) -> None:
        """The process is through with its large picture, or dead."""
        if process.wants_bytes is not None:
            process.wants_bytes = None
            self._asking.remove(process)
        self._free_bytes += process.granted_bytes
        process.granted_bytes = process.large_ticket = 0
        self._grant()

    def _grant(self) -> None:
        while self._asking and (self._asking[0].wants_bytes or 0) <= self._free_bytes:
            process = self._asking.popleft()
            process.granted_bytes, process.wants_bytes = process.wants_bytes or 0, None
            self._free_bytes -= process.granted_bytes
            process.send(messages.message(messages.GRANT))
