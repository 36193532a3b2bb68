"""How long `AsyncClient` blocks its event loop, how many connections it opens, and how fast it is.

A Redis of its own, and a process that answers each message at once, as a worker would, share the
cores with the client. A heartbeat that sleeps for a millisecond measures how long the loop ran
without it: in time on the clock, which other processes on the machine lengthen too, and in
processor time of the loop's thread, which is what the client's code took. Before, objects that stay
are moved out of the garbage collector's sight (`gc.freeze`), as a web server does after its start.

python -m benchmarks.async_client [CALLS]
"""

from __future__ import annotations

import asyncio
import gc
import json
import multiprocessing
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Self

from redis import Redis

from clip_worker import AsyncClient, Classification, Timing, async_as_completed
from clip_worker.contract import CLASSIFY_MANY, Prediction
from clip_worker.contract.keys import DEFAULT_QUEUE, RESULT_PREFIX
from clip_worker.contract.message_reader import Envelope
from worker.cli.demo.embedded_redis import embedded_redis

CALLS = 1000
NAME = "benchmark"  # of the client's connections
IMAGE = "https://example.org/pictures/1.jpg"
LABELS = [f"label number {n}" for n in range(10)]
UPLOAD_BYTES = 32 * 1024 * 1024
MANY_LABELS = [f"label number {n}" for n in range(50_000)]
ANSWER = Classification(
    predictions=tuple(Prediction(label=LABELS[n], probability=0.1, index=n) for n in range(5)),
    model="model",
    model_digest="digest",
    timing=Timing(
        queue=None, labels=0, fetch=0, decode=0, batch_wait=0, forward=0, score=0, batch_size=1
    ),
).model_dump(mode="json")


class Heartbeat:
    """Measures how long an event loop is blocked, while it is entered.

    Attributes:
        clock_s: The longest time on the clock between two beats, less the pause between them.
        cpu_s: The most processor time of this thread between two beats.
    """

    PAUSE_S = 0.001

    def __init__(self) -> None:
        self.clock_s = self.cpu_s = 0.0

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._beat())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _beat(self) -> None:
        while True:
            clock, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(self.PAUSE_S)
            self.clock_s = max(self.clock_s, time.perf_counter() - clock - self.PAUSE_S)
            self.cpu_s = max(self.cpu_s, time.thread_time() - cpu)


def answer_all(url: str) -> None:
    """Answer each message of the queue at once."""
    with Redis.from_url(url) as redis:
        while True:
            _, message = redis.brpop([DEFAULT_QUEUE])
            envelope = Envelope.decode(message)
            result: object = ANSWER
            if envelope.task == CLASSIFY_MANY:
                images = envelope.arguments.kwargs["images"]
                result = [{"status": "ok", "result": ANSWER} for _ in images]
            stored = json.dumps({"status": "SUCCESS", "result": result, "traceback": None})
            with redis.pipeline(transaction=False) as pipe:
                pipe.set(RESULT_PREFIX + envelope.id, stored, ex=60)
                pipe.publish(RESULT_PREFIX + envelope.id, stored)
                pipe.execute()


async def measure(url: str, calls: int) -> None:
    """Run the cases one after the other and print what each took."""
    async with AsyncClient(f"{url}?client_name={NAME}") as client:
        for name, count, case in cases(client, calls):
            gc.collect()
            gc.freeze()
            start = time.perf_counter()
            async with Heartbeat() as heartbeat:
                await case()
            seconds = time.perf_counter() - start
            print(
                f"{name:42} {count / seconds:8,.0f}/s   blocked {heartbeat.clock_s * 1e3:5.1f} ms, "
                f"of processor time {heartbeat.cpu_s * 1e3:5.1f} ms"
            )
        with Redis.from_url(url) as redis:
            names = [each["name"] for each in redis.client_list()]
        print(f"{names.count(NAME)} connections, {threading.active_count()} threads")


def cases(
    client: AsyncClient, calls: int
) -> list[tuple[str, int, Callable[[], Awaitable[object]]]]:
    """Name, number of images, and what is measured."""

    async def one() -> Classification:
        return await (await client.classify(IMAGE, LABELS))

    async def at_once() -> None:
        await asyncio.gather(*(one() for _ in range(calls)))

    async def in_bulk() -> None:
        handles = await client.submit_many([IMAGE] * (10 * calls), LABELS)
        async for handle in async_as_completed(handles):
            await handle

    async def many() -> None:
        async for _ in client.classify_many([IMAGE] * (20 * calls), LABELS):
            pass

    async def large_upload() -> None:
        await client.upload(bytes(UPLOAD_BYTES))

    async def many_labels() -> None:
        await client.classify(IMAGE, MANY_LABELS)

    return [
        ("first call", 1, one),
        (f"{calls} coroutines at once", calls, at_once),
        (f"submit_many of {10 * calls}", 10 * calls, in_bulk),
        (f"classify_many of {20 * calls}", 20 * calls, many),
        (f"upload of {UPLOAD_BYTES >> 20} MiB", 1, large_upload),
        (f"{len(MANY_LABELS)} labels", 1, many_labels),
    ]


def main() -> None:
    """Start Redis and what answers, and measure."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else CALLS
    with embedded_redis() as redis:
        context = multiprocessing.get_context("spawn")
        worker = context.Process(target=answer_all, args=(redis.url,), daemon=True)
        worker.start()
        print(f"{redis.description}, Python {sys.version.split()[0]}")
        asyncio.run(measure(redis.url, calls))
        worker.terminate()


if __name__ == "__main__":
    main()
