"""A device module, as `torch.get_device_module` gives it, that logs what is enqueued."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT_S = 30.0


class FakeDevice:
    """Streams and events of a device that computes on the CPU.

    Attributes:
        log: What was enqueued and waited for, in order. Events are named after the stream that
            records them: `upload 1`, or `batch 1` on the stream that computes.
        waiting: Counts the threads that came to wait for a batch.
        hold: Whether threads that wait for a batch are held until `finish`.
        fail_with: Raised in threads that wait for a batch.
    """

    def __init__(self) -> None:
        self.log: list[str] = []
        self.waiting = threading.Semaphore(0)
        self.hold = False
        self.fail_with: BaseException | None = None
        self._finished: dict[str, threading.Event] = {}
        self._uploads = 0
        self._computes = _Stream(self, "batch")

    def Stream(self, _device: object) -> _Stream:  # noqa: N802  # torch's name
        self._uploads += 1
        return _Stream(self, f"upload {self._uploads}")

    def Event(self) -> _Event:  # noqa: N802  # torch's name
        return _Event(self)

    @contextmanager
    def stream(self, _stream: _Stream) -> Iterator[None]:
        yield

    def current_stream(self, _device: object) -> _Stream:
        return self._computes

    def synchronize(self, _device: object) -> None:
        self.log.append("wait for everything")

    def finish(self, batch: str) -> None:
        """Let the thread go on that waits for a batch."""
        self._done(batch).set()

    def wait(self, batch: str) -> None:
        """Called by a thread that waits for a batch."""
        self.log.append(f"wait for {batch}")
        self.waiting.release()
        if self.hold:
            assert self._done(batch).wait(LIMIT_S)
            self._done(batch).clear()
        if self.fail_with is not None:
            raise self.fail_with
        self.log.append(f"{batch} is done")

    def _done(self, batch: str) -> threading.Event:
        return self._finished.setdefault(batch, threading.Event())


class _Stream:
    def __init__(self, device: FakeDevice, name: str) -> None:
        self.name = name
        self._device = device
        self._upload = ""

    def wait_event(self, event: _Event) -> None:
        self._upload = event.name  # the batch is named after it
        self._device.log.append(f"batch after {event.name}")

    def recorded(self, event: _Event) -> None:
        name = self._upload.replace("upload", "batch") if self.name == "batch" else self.name
        event.name = name
        self._device.log.append(f"enqueued {name}")


class _Event:
    def __init__(self, device: FakeDevice) -> None:
        self.name = ""
        self._device = device

    def record(self, stream: Any) -> None:
        stream.recorded(self)

    def synchronize(self) -> None:
        self._device.wait(self.name)
