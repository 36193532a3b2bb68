"""Single faults, many times: kill -9, and SIGTERM, on ours and on what it is compared with."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.redis_server import NO_SERVER, RedisServer, find_executable

from torture.journal import RUN
from torture.message import Messages
from torture.proxy import Proxy
from torture.spawner import Command, FreshSpawner, ZygoteSpawner, python_environment
from torture.supervisor import Life, Supervisor, Way

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
    from torture.mark import Mark
    from torture.workload import SOUND, drawn_jpeg

    jpeg = drawn_jpeg()

    def image(number: int) -> str:
        mark = Mark(number, SOUND)
        path = folder / mark.file_name
        path.write_bytes(mark.stamp(jpeg))
        return path.as_uri()

    return image


@dataclass(frozen=True)
class Recovery:
    """What kills of one of two workers cost.

    Attributes:
        seconds: From each kill until all that the killed one had in flight was begun again.
        first_s: Until the first of it was.
        in_hand: How much that was.
        never: Kills after which that did not happen within the limit.
        needless: Tasks that were begun again although their first worker was not killed.
        unfinished: Tasks without a result at the end.
    """

    seconds: list[float]
    first_s: list[float]
    in_hand: list[int]
    never: int
    needless: int
    unfinished: int


def recovery(
    subject: Subject, kills: int, *, tasks: int = 24, limit_s: float = LIMIT_S
) -> Recovery:
    """Kill one of two busy workers, again and again, and wait until its tasks run elsewhere."""
    seconds: list[float] = []
    first_s: list[float] = []
    counts: list[int] = []
    never = 0
    killed: set[int] = set()
    with rig(subject, workers=2) as drill:
        for _ in range(kills):
            drill.supervisor.wait_until_ready()
            sent = set(drill.messages.send(tasks))
            victim = _busiest(drill, sent)
            if victim is None:
                raise RuntimeError(f"no worker of {subject.name!r} began any of {tasks} tasks")
            killed.add(victim.pid)
            drill.supervisor.end(victim, signal.SIGSTOP, "kill")  # nothing moves while we look
            in_hand = _in_hand(drill, sent, victim)
            if not in_hand:
                raise RuntimeError(f"the worker {victim.pid} had nothing in flight any more")
            counts.append(len(in_hand))
            start = time.monotonic()
            victim.kill_all()
            if drill.wait(lambda: _begun_again(drill, in_hand, victim), limit_s):  # noqa: B023
                begins = _begins(drill, in_hand, victim)
                seconds.append(max(begins) - start)
                first_s.append(min(begins) - start)
                drill.wait_until_done()
            else:
                never += 1
        needless = sum(
            any(life.pid not in killed for _, life in runs[:-1]) for runs in drill.runs().values()
        )
        unfinished = len(drill.messages.numbers) - len(drill.messages.done())
    return Recovery(seconds, first_s, counts, never, needless, unfinished)


def _busiest(drill: Rig, sent: set[int]) -> Life | None:
    """The worker that has begun the most, once all is taken or a moment has passed."""
    drill.wait(lambda: any(number in drill.runs() for number in sent), limit_s=10.0)
    drill.wait(lambda: drill.messages.waiting == 0, limit_s=1.0)
    runs = drill.runs()
    counts = {
        life.pid: sum(runs[n][-1][1] is life for n in sent if n in runs)
        for life in drill.supervisor.current
    }
    best = max(drill.supervisor.current, key=lambda life: counts[life.pid])
    return best if counts[best.pid] else None


def _in_hand(drill: Rig, sent: set[int], victim: Life) -> set[int]:
    """What only the victim can have: not done, not begun by another, not in the queue."""
    others = {n for n, runs in drill.runs().items() if any(life is not victim for _, life in runs)}
    return sent - drill.messages.done() - others - drill.messages.queued()


def _begun_again(drill: Rig, in_hand: set[int], victim: Life) -> bool:
    runs = drill.runs()
    return all(any(life is not victim for _, life in runs.get(n, ())) for n in in_hand)


def _begins(drill: Rig, in_hand: set[int], victim: Life) -> list[float]:
    """When each was begun by another."""
    runs = drill.runs()
    return [next(at_s for at_s, life in runs[n] if life is not victim) for n in in_hand]


@dataclass(frozen=True)
class Losses:
    """What kills of a busy worker lost.

    Attributes:
        lost: Messages that are in no queue, in nobody's hand and without a result.
        begun: Tasks that were begun in all.
    """

    kills: int
    lost: int
    begun: int


def losses(
    subject: Subject, kills: int, seed: int, *, delay_s: float = 0.0, backlog: int = 5000
) -> Losses:
    """Kill a busy worker at random moments, and count what is nowhere afterwards."""
    rng = random.Random(seed)
    with rig(subject, workers=1, delay_s=delay_s) as drill:
        for _ in range(kills):
            if drill.messages.waiting < backlog // 2:
                drill.messages.send(backlog)
            life = drill.wait_until_busy()
            time.sleep(rng.uniform(0.0, 0.2))
            drill.supervisor.end(life, 0, "kill")
            life.kill_all()
            drill.wait(lambda: not life.running)  # noqa: B023
        drill.supervisor.let_end()
        for life in drill.supervisor.current:
            life.kill_all()
        if drill.supervisor.wait_for_ends():
            raise RuntimeError("a worker outlived its kill")
        return Losses(kills, len(drill.messages.lost()), len(drill.runs()))


@dataclass(frozen=True)
class Stops:
    """What clean stops under load cost.

    Attributes:
        redelivered: Tasks that were begun more than once.
        left: Messages in a stopped worker's hand.
        unfinished: Tasks without a result at the end.
        seconds: From each SIGTERM to the process's end.
        wrong_ends: Exit statuses other than 0.
    """

    redelivered: int
    left: int
    unfinished: int
    seconds: list[float]
    wrong_ends: int


def stops(subject: Subject, rounds: int, *, tasks: int = 2000, load_s: float = 1.0) -> Stops:
    """Stop a busy worker by SIGTERM, again and again; at the end let the last one finish."""
    seconds: list[float] = []
    left = wrong = 0
    with rig(subject, workers=1) as drill:
        for _ in range(rounds):
            if drill.messages.waiting < tasks:  # as many always wait: no stop is an idle one
                drill.messages.send(tasks)
            life = drill.wait_until_busy()
            time.sleep(load_s)
            start = time.monotonic()
            drill.supervisor.end(life, signal.SIGTERM, "term")
            drill.wait(lambda: not life.running)  # noqa: B023
            seconds.append((life.ended_s or time.monotonic()) - start)
            wrong += life.status != 0
        drill.wait_until_done()
        left = len(drill.messages.unacknowledged())
        unfinished = len(drill.messages.numbers) - len(drill.messages.done())
        return Stops(len(drill.repeated()), left, unfinished, seconds, wrong)


def slow_repeats(subject: Subject, tasks: int) -> int:
    """Tasks begun more than once where each takes longer than its lease, and nobody is killed."""
    with rig(subject, workers=2) as drill:
        drill.messages.send(tasks)
        if not drill.wait_until_done(300):
            raise RuntimeError(f"{subject.name!r} did not finish {tasks} tasks")
        return len(drill.repeated())
