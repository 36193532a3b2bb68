"""clip-worker's application with tasks of a user's own, and with faults of its model.

What a forward pass does wrong depends on the images in it: see `marked_image`. Environment:
`MARKS` (a folder: each process appends what it begins to the file of its process id), `ENCODE_S`
(seconds that each image adds to its forward pass), `PATIENCE_S` (for unknown tasks).
"""

from __future__ import annotations

import fcntl
import io
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import Reject
from PIL import Image
from redis import Redis

from clip_engine.engine import Engine
from clip_engine.errors import DeviceLostError
from worker import app
from worker.delivery import router

if TYPE_CHECKING:
    from torch import Tensor

# Grey levels of images of one colour.
HANGS, KILLS, LOSES_DEVICE, IS_SLOW = 71, 73, 77, 79
SLOW_S = 0.02
GO = "go"  # the key that ends `own.waits`
BEGUN = "begun"  # the list of the processes that began one
MOST_RETRIES = 3

_encode = Engine.encode_pixels


def marked_image(mark: int) -> bytes:
    """An image whose forward pass does what its mark says."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (mark, mark, mark)).save(file, "PNG")
    return file.getvalue()


def _fail_or_encode(self: Engine, pixels: Any) -> Tensor:
    marks = [int(each[0, 0, 0]) for each in pixels if (each == each[0, 0, 0]).all()]
    for _ in pixels:
        _write_mark("encode")
        time.sleep(float(os.environ.get("ENCODE_S", "0")))
    time.sleep(SLOW_S * marks.count(IS_SLOW))
    if HANGS in marks:
        time.sleep(600)
    if KILLS in marks:
        os.kill(os.getpid(), signal.SIGKILL)
    if LOSES_DEVICE in marks:
        raise DeviceLostError("CUDA error: an injected ECC error")
    return _encode(self, pixels)


def _write_mark(what: str) -> None:
    if folder := os.environ.get("MARKS"):
        with (Path(folder) / str(os.getpid())).open("a") as file:
            file.write(f"{what}\n")


@app.task(name="own.notes")
def notes(number: int) -> int:
    """Write down that it runs."""
    _write_mark(f"note-{number}")
    return number


@app.task(name="own.waits")
def waits(lock: str) -> int:
    """Hold a lock that ends with this process, until it is allowed to go on; the process's id.

    Raises:
        BlockingIOError: Somebody else runs it.
    """
    with Redis.from_url(os.environ["CLIP_WORKER_REDIS_URL"]) as redis, Path(lock).open("w") as file:
        redis.rpush(BEGUN, os.getpid())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        while not redis.exists(GO):
            time.sleep(0.02)
        return os.getpid()


@app.task(name="own.limited", rate_limit="1/h")
def limited() -> None:
    """Run once an hour at most."""


@app.task(bind=True, name="own.retries", max_retries=MOST_RETRIES)
def retries(self: Task) -> int:
    """Ask for itself again three times; how often that was."""
    if self.request.retries < MOST_RETRIES:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@app.task(
    bind=True,
    name="own.autoretries",
    autoretry_for=(ValueError,),
    max_retries=MOST_RETRIES,
    retry_backoff=False,
    default_retry_delay=0,
)
def autoretries(self: Task) -> int:
    """Raise three times what Celery tries again for."""
    if self.request.retries < MOST_RETRIES:
        raise ValueError("not yet")
    return int(self.request.retries)


@app.task(bind=True, name="own.replaces")
def replaces(self: Task, number: int) -> int:
    """Leave the answer to another task, under its own id."""
    raise self.replace(app.signature("own.doubles", args=(number,)))


@app.task(name="own.doubles")
def doubles(number: int) -> int:
    """Twice the number."""
    return 2 * number


@app.task(name="own.rejects")
def rejects() -> None:
    """Refuse the message for good."""
    raise Reject("not for me", requeue=False)


@app.task(name="own.has_no_memory")
def has_no_memory() -> None:
    """Fail as Python does when it has no more memory."""
    raise MemoryError


Engine.encode_pixels = _fail_or_encode  # type: ignore[method-assign]  # a test's fault
if "PATIENCE_S" in os.environ:
    router.UNKNOWN_PATIENCE_S = float(os.environ["PATIENCE_S"])

__all__ = ["app"]
