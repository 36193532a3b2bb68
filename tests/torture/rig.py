"""A Redis, some workers of one kind on it, and their messages: what the drills are made with."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.redis_server import NO_SERVER, RedisServer, find_executable

from torture.journal import RUN
from torture.mark import Mark
from torture.message import Messages
from torture.proxy import Proxy
from torture.spawner import Command, FreshSpawner, ZygoteSpawner, python_environment
from torture.supervisor import Life, Supervisor, Way
from torture.workload import SOUND, drawn_jpeg

POLL_S = 0.01
LIMIT_S = 60.0
OURS, OUR_PATH, STOCK, BATCHES = (
    "torture.poisoned_app",
    "torture.path_app",
    "torture.stock_app",
    "torture.batches_app",
)
PRELOADED = {
    OURS: ("worker.tasks", "worker.runtime.signals", "worker.runtime.state", "worker.cli.start",
           "torch._dynamo", "torch._refs"),
    OUR_PATH: ("worker.runtime.queue_assembly",),
    STOCK: ("celery.bin.worker", "celery.concurrency.thread", "kombu.transport.redis"),
    BATCHES: ("celery.bin.worker", "celery.concurrency.thread", "kombu.transport.redis"),
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A kind of worker.

    Attributes:
        module: Its program.
        work_s: How long a task's work takes; of ours, a forward pass, whatever is in its batch.
        settings: Ours: environment variables without `CLIP_WORKER_`. Celery's: its settings.
        fresh: Not from the zygote: a pool of processes that was forked from a fork ends only after
            half a minute.
    """

    name: str
    module: str
    work_s: float = 0.0
    arguments: tuple[str, ...] = ()
    settings: dict[str, object] = field(default_factory=dict)
    fresh: bool = False

    @property
    def is_ours(self) -> bool:
        return self.module in (OURS, OUR_PATH)

    def environment(self, url: str) -> dict[str, str]:
        """What its process gets."""
        if not self.is_ours:
            return {"STOCK_REDIS_URL": url, "STOCK_SETTINGS": json.dumps(self.settings)}
        settings = {"REDIS_URL": url, "MODEL": "demo"} | self.settings
        return {f"CLIP_WORKER_{name}": str(value) for name, value in settings.items()}


class Rig:
    """A Redis, some workers of one kind, and their messages.

    Args:
        ways: The Redis URL that each worker gets.
    """

    def __init__(
        self, subject: Subject, server: RedisServer, supervisor: Supervisor, messages: Messages
    ) -> None:
        self.subject = subject
        self.server = server
        self.supervisor = supervisor
        self.messages = messages

    def runs(self) -> dict[int, list[tuple[float, Life]]]:
        """When and by whom each task was begun, in the order of time."""
        found: dict[int, list[tuple[float, Life]]] = {}
        for life in self.supervisor.lives:
            for entry in life.journal.read():
                if entry.what == RUN:
                    found.setdefault(entry.number, []).append((entry.at_s, life))
        return {number: sorted(runs, key=lambda run: run[0]) for number, runs in found.items()}

    def repeated(self) -> set[int]:
        """Tasks that were begun more than once."""
        return {number for number, runs in self.runs().items() if len(runs) > 1}

    def wait(self, holds: Callable[[], bool], limit_s: float = LIMIT_S) -> bool:
        """Whether it held within the limit."""
        end = time.monotonic() + limit_s
        while not holds():
            if time.monotonic() > end:
                return False
            time.sleep(POLL_S)
        return True

    def wait_until_busy(self) -> Life:
        """The life of the only worker, once it has begun a task.

        Raises:
            RuntimeError: It begins none.
        """
        if self.supervisor.wait_until_ready():
            [life] = self.supervisor.current
            if self.wait(lambda: any(entry.what == RUN for entry in life.journal.read())):
                return life
        raise RuntimeError(f"the worker of {self.subject.name!r} begins no task")

    def wait_until_done(self, limit_s: float = LIMIT_S) -> bool:
        """Whether all that was sent had a result within the limit."""
        return self.wait(lambda: len(self.messages.done()) == len(self.messages.numbers), limit_s)


@contextlib.contextmanager
def rig(subject: Subject, workers: int, *, delay_s: float = 0.0) -> Iterator[Rig]:
    """Start so many workers of a kind on a Redis of their own.

    Args:
        delay_s: Of the network between them and Redis, each way.
    """
    executable = find_executable()
    if executable is None:
        raise SystemExit(NO_SERVER)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="clip-worker-drill-")))
        server = stack.enter_context(RedisServer(executable))
        modules = (subject.module, *PRELOADED[subject.module])
        spawner: FreshSpawner | ZygoteSpawner = (
            FreshSpawner() if subject.fresh else ZygoteSpawner(modules, folder / "zygote.log")
        )
        stack.enter_context(spawner)
        ways: list[Way] = [server] * workers
        if delay_s:
            ways = [
                stack.enter_context(Proxy(server.port, delay_s=delay_s)) for _ in range(workers)
            ]

        def command(slot: int, url: str, journal: Path) -> Command:
            probes = {
                "TORTURE_JOURNAL": str(journal),
                "TORTURE_FORWARD_S": str(subject.work_s),
                "TORTURE_WORK_S": str(subject.work_s),
                "CLIP_WORKER_FILE_ROOTS": str(folder),
            }
            arguments = ("start",) if subject.module == OURS else subject.arguments
            environment = python_environment() | probes | subject.environment(url)
            return Command(subject.module, arguments, environment, folder / f"worker-{slot}.log")

        client = stack.enter_context(server.client())
        messages = Messages(client, server.url, _pictures(subject, folder))
        supervisor = stack.enter_context(
            Supervisor(spawner, ways, command, folder, least_life_s=0.0)
        )
        if not supervisor.wait_until_ready():
            logs = [path.read_text() for path in sorted(folder.glob("worker-*.log"))]
            raise RuntimeError("the workers do not start:\n" + "\n".join(logs))
        yield Rig(subject, server, supervisor, messages)


def _pictures(subject: Subject, folder: Path) -> Callable[[int], str]:
    """Where a task's picture lies: for our real worker one picture, under many marked copies."""
    if subject.module != OURS:
        return "drill-{}".format
    jpeg = drawn_jpeg()

    def image(number: int) -> str:
        mark = Mark(number, SOUND)
        path = folder / mark.file_name
        path.write_bytes(mark.stamp(jpeg))
        return path.as_uri()

    return image
