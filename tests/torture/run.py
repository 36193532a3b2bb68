"""One torture run, from the first task to the verdict."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import redis
from support.redis_server import NO_SERVER, RedisServer, find_executable

from clip_worker import Client
from clip_worker.contract.keys import dead_key
from torture.accounting import Evidence, account
from torture.chaos import KINDS, Chaos
from torture.journal import RUN
from torture.message import QUEUE
from torture.monitor import RESULT_PREFIX, FinalState, Monitor
from torture.picture_server import picture_server
from torture.plan import Outcome, Plan
from torture.proxy import Proxy
from torture.spawner import Command, FreshSpawner, ZygoteSpawner, python_environment
from torture.supervisor import Life, Supervisor
from torture.verdict import Aftermath, rules
from torture.workload import Job, Shares, Workload

APP = "torture.poisoned_app"
# All that a worker imports, also late: torch loads its compiler when a model is built.
PRELOADED = (
    *(APP, "worker.tasks", "worker.runtime.signals", "worker.runtime.state", "worker.cli.start"),
    *("torch._dynamo", "torch._refs"),
)
DURABLE = (
    *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
    *("--client-output-buffer-limit", "pubsub", "0", "0", "0"),
)
POLL_S = 0.25
HELP_AFTER_S = 45.0  # without any sign, undisturbed, while tasks wait
PROBES = 40
PROBE_LIMIT_S = 60.0


def torture(plan: Plan, folder: Path) -> Outcome:
    """Carry a plan out.

    Args:
        folder: Empty; for pictures, journals and logs.
    """
    with contextlib.ExitStack() as stack:
        return Run(plan, folder, stack).carry_out()


class Run:
    """A run's parts, entered on the stack that it is given."""

    def __init__(self, plan: Plan, folder: Path, stack: contextlib.ExitStack) -> None:
        executable = find_executable()
        if executable is None:
            raise SystemExit(NO_SERVER)
        self._plan = plan
        self._folder = folder
        for name in ("pictures", "journals", "logs"):
            (folder / name).mkdir()
        self._stack = stack
        pictures: dict[str, bytes] = {}
        http = stack.enter_context(picture_server(pictures))
        self._workload = Workload(
            folder / "pictures", http.url("").rstrip("/"), plan.seed, pictures
        )
        self._server = stack.enter_context(RedisServer(executable, *DURABLE))
        self._monitor = stack.enter_context(Monitor(self._server.port))
        self._client = stack.enter_context(Client(self._server.url))
        self._redis = stack.enter_context(self._server.client())
        proxies = [stack.enter_context(Proxy(self._server.port)) for _ in range(plan.workers)]
        self._proxies = proxies
        self._ids: dict[str, int] = {}  # task id to number
        self._publishing = threading.Lock()
        self._needed_help: list[str] = []

    def carry_out(self) -> Outcome:
        plan, start = self._plan, time.monotonic()
        jobs = self._workload.jobs(plan.tasks, plan.shares)
        _say(f"{len(jobs)} tasks drawn in {time.monotonic() - start:.0f} s")
        supervisor = self._supervisor()
        if not supervisor.wait_until_ready():
            raise SystemExit(f"the workers do not start; logs: {self._folder / 'logs'}")
        _say(f"{plan.workers} workers take tasks after {_start_s(supervisor.lives)}")
        chaos = Chaos(
            supervisor, self._proxies, self._server, self._monitor,
            rng=random.Random(plan.seed), interval_s=plan.interval_s, stop_s=plan.stop_s,
            partition_s=plan.partition_s, publishing=self._publishing,
        )  # fmt: skip
        publisher = threading.Thread(target=self._publish_beside, args=[jobs, chaos], daemon=True)
        start = time.monotonic()
        with chaos:
            publisher.start()
            self._wait(supervisor, chaos, start)
        seconds = time.monotonic() - start
        publisher.join()
        self._probe(supervisor, first=len(jobs))
        self._end_in_order(supervisor)
        return self._outcome(jobs, supervisor, chaos, seconds)

    def _supervisor(self) -> Supervisor:
        spawner: FreshSpawner | ZygoteSpawner
        if self._plan.fresh:
            spawner = FreshSpawner()
        else:
            spawner = ZygoteSpawner(PRELOADED, self._folder / "logs" / "zygote.log")
        self._stack.enter_context(spawner)
        if isinstance(spawner, ZygoteSpawner):
            _say(f"the zygote imported all in {spawner.import_cpu_s:.1f} s of CPU")
        journals = self._folder / "journals"
        return self._stack.enter_context(
            Supervisor(spawner, self._proxies, self._command, journals)
        )

    def _command(self, slot: int, url: str, journal: Path) -> Command:
        settings = {
            "CLIP_WORKER_REDIS_URL": url,
            "CLIP_WORKER_MODEL": "demo",
            "CLIP_WORKER_FILE_ROOTS": str(self._folder / "pictures"),
            "CLIP_WORKER_ALLOW_PRIVATE": "true",
            "CLIP_WORKER_FETCH_TIMEOUT_S": "1.5",
            "TORTURE_JOURNAL": str(journal),
        }
        environment = python_environment() | settings | dict(self._plan.settings)
        return Command(APP, ("start",), environment, self._folder / "logs" / f"worker-{slot}.log")

    def _publish_beside(self, jobs: Sequence[Job], chaos: Chaos) -> None:
        """Publish in portions, each after one more event: a fast fleet must see every kind too."""
        portions = len(KINDS) + 1
        for i in range(portions):
            while len(chaos.events) < i and not chaos.ending.is_set():
                time.sleep(POLL_S)
            self._publish(jobs[i * len(jobs) // portions : (i + 1) * len(jobs) // portions])

    def _publish(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            with self._publishing:
                sent = self._client.classify(job.uri, list(job.labels), k=3)
            self._ids[sent.id] = job.mark.number

    def _wait(self, supervisor: Supervisor, chaos: Chaos, start: float) -> None:
        """Until every task has a final state, or the time is up, or nothing happens any more."""
        done, since, reported = 0, time.monotonic(), 0.0
        while len(self._done()) < self._plan.tasks:
            time.sleep(POLL_S)
            now = time.monotonic()
            if len(self._done()) != done:
                done, since = len(self._done()), now
            if now - reported > 15:
                reported = now
                _say(f"{now - start:4.0f} s: {done} of {self._plan.tasks} done, "
                     f"{len(supervisor.lives)} processes so far")  # fmt: skip
            if now - since > self._plan.stall_s or now - start > self._plan.limit_s:
                _say(f"gave up after {now - start:.0f} s")
                return
            self._help(supervisor, chaos, now)

    def _done(self) -> set[int]:
        return {number for id_, number in self._ids.copy().items() if id_ in self._monitor.states}

    def _help(self, supervisor: Supervisor, chaos: Chaos, now: float) -> None:
        """Kill a worker that does nothing although it could, and write that down."""
        for life in supervisor.current:
            entries = life.journal.read()
            last_s = entries[-1].at_s if entries else life.started_s
            quiet_since = max(last_s, life.disturbed_until_s, chaos.redis_down_until_s)
            if now - quiet_since > HELP_AFTER_S and self._waiting() > PROBES and not life.cause:
                self._needed_help.append(f"{life.pid} did nothing for {now - quiet_since:.0f} s")
                _say(f"helped: {self._needed_help[-1]}")
                supervisor.end(life, signal.SIGKILL, "help")

    def _waiting(self) -> int:
        with contextlib.suppress(redis.RedisError):
            return int(self._redis.llen(QUEUE))
        return 0

    def _probe(self, supervisor: Supervisor, first: int) -> None:
        """Every worker must still do tasks by itself: send sound ones until each has done one."""
        supervisor.wait_until_ready()
        start = time.monotonic()
        idle = {life.pid for life in supervisor.current}
        while idle and time.monotonic() - start < PROBE_LIMIT_S:
            probes = self._workload.jobs(PROBES, Shares(0, 0, 0), first)
            self._publish(probes)
            first += len(probes)
            numbers = {probe.mark.number for probe in probes}
            while numbers - self._done() and time.monotonic() - start < PROBE_LIMIT_S:
                time.sleep(POLL_S)
            idle = {life.pid for life in supervisor.current if not _has_run(life, start)}
        self._needed_help += [f"{pid} did no task at the end" for pid in sorted(idle)]

    def _end_in_order(self, supervisor: Supervisor) -> None:
        supervisor.let_end()
        for life in supervisor.current:
            supervisor.end(life, signal.SIGTERM, "term")
        for life in supervisor.wait_for_ends():
            self._needed_help.append(f"{life.pid} did not end after SIGTERM")

    def _outcome(
        self, jobs: list[Job], supervisor: Supervisor, chaos: Chaos, seconds: float
    ) -> Outcome:
        stored = self._stored()
        states = {self._ids[i]: s for i, s in self._monitor.states.items() if i in self._ids}
        evidence = Evidence(jobs, states, stored, supervisor.lives, chaos.events)
        after = Aftermath(
            needed_help=self._needed_help,
            dead=self._dead(),
            left_over=self._left_over(),
            strangers=len(set(self._monitor.states) - set(self._ids)),
        )
        found = account(evidence)
        self._write_down(evidence)
        return Outcome(evidence, found, rules(evidence, found, after), seconds)

    def _write_down(self, evidence: Evidence) -> None:
        """Events and ends, for who wants to know what happened to a task."""
        lines = [(e.at_s, f"{e.kind} of {e.pid} until {e.until_s:.3f}") for e in evidence.events]
        for i, life in enumerate(evidence.lives):
            lines.append((life.started_s, f"start of {life.pid}, journal {i}"))
            lines.append((life.ended_s or 0.0, f"end of {life.pid}, {life.status} {life.cause}"))
        text = "".join(f"{at_s:.3f} {what}\n" for at_s, what in sorted(lines))
        (self._folder / "events.txt").write_text(text)

    def _stored(self) -> dict[int, FinalState]:
        ids = list(self._ids)
        values = [
            value
            for i in range(0, len(ids), 1000)
            for value in self._redis.mget([RESULT_PREFIX + id_ for id_ in ids[i : i + 1000]])
        ]
        return {
            self._ids[id_]: FinalState.of(value)
            for id_, value in zip(ids, values, strict=True)
            if value is not None
        }

    def _dead(self) -> frozenset[int]:
        dead = (id_.decode() for id_ in self._redis.hkeys(dead_key(QUEUE)))
        return frozenset(self._ids.get(id_, -1) for id_ in dead)

    def _left_over(self) -> int:
        lengths = {b"list": self._redis.llen, b"hash": self._redis.hlen, b"zset": self._redis.zcard}
        keys = [key for key in self._redis.scan_iter() if _holds_messages(key)]
        return sum(int(lengths[self._redis.type(key)](key)) for key in keys)


def _holds_messages(key: bytes) -> bool:
    """Queues and unacknowledged sets of kombu and of ours."""
    kombus = (QUEUE.encode(), b"unacked", b"clip-worker:kombu:unacked")
    ours = (b":returned", b":unacked:", b":arrived:", b":tenant")
    return key in kombus or any(part in key for part in ours)


def _has_run(life: Life, since_s: float) -> bool:
    return any(entry.what == RUN and entry.at_s > since_s for entry in life.journal.read())


def _start_s(lives: Sequence[Life]) -> str:
    return ", ".join(f"{life.ready_s - life.started_s:.1f} s" for life in lives if life.ready_s)


def _say(line: str) -> None:
    print(f"torture: {line}", flush=True)
