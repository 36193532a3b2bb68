"""What all steps of the hour share: Redis, load, workers, and looks at them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from support.waiting import wait_until

from benchmarks.operators_hour import look
from benchmarks.operators_hour.fleet import Member, PersistentRedis
from benchmarks.operators_hour.load import Load
from clip_worker.contract.keys import DEFAULT_QUEUE
from clip_worker.errors import QueueUnavailableError
from clip_worker.redis.url import connect
from worker.cli.demo.images import image_folder
from worker.cli.status.finding import Finding, Level
from worker.cli.status.findings import findings
from worker.cli.status.reader import SnapshotReader
from worker.cli.status.snapshot import Snapshot

FIRST_PASSWORD = "first-password"
LIMIT_S = 300.0


class Hour:
    """The processes, and what was seen.

    Args:
        executable: Path of `redis-server`.
        folder: For all files.
        waiting: Messages that the load keeps in the queue.

    Attributes:
        folder: As given.
        password: Of Redis, at the moment.
        redis: Its process.
        load: The producer.
        members: All workers that were started, in that order.
        running: Those of them that run.
        looks: What was seen.
    """

    def __init__(self, executable: Path, folder: Path, waiting: int) -> None:
        self.folder = folder
        self.password = FIRST_PASSWORD
        self.redis = PersistentRedis(executable, folder, FIRST_PASSWORD)
        images = sorted(shutil.copytree(image_folder(), folder / "images").iterdir())
        self.load = Load(self.url, [path.as_uri() for path in images], waiting)
        self.members: list[Member] = []
        self.running: list[Member] = []
        self.looks: list[look.Look] = []
        self._began = time.monotonic()

    @property
    def url(self) -> str:
        """Of Redis, with the password."""
        return self.redis.url(self.password)

    def client(self) -> Redis:
        """Of Redis."""
        return connect(self.url)

    def add_workers(self, count: int, model: str = "demo") -> None:
        """Start more workers, and wait until they take tasks."""
        begin = len(self.members) + 1
        added = [Member(self.url, self.folder, begin + i, model) for i in range(count)]
        self.members += added
        for member in added:
            member.start()
        for member in added:
            member.wait_until_ready()
        self.running += added

    def stop_worker(self, member: Member) -> None:
        """Stop a worker in order."""
        assert member.stop() == 0, f"{member.name} did not end in order"
        self.running.remove(member)

    def kill_worker(self, member: Member) -> None:
        """`kill -9`."""
        member.kill()
        self.running.remove(member)

    def end(self) -> None:
        """Stop what still runs, in whatever state."""
        self.load.stop()
        for member in self.members:
            member.kill()
        self.redis.stop()

    def look(self, title: str, story: str) -> look.Look:
        """Ask all tools, those of a worker about the one that runs longest."""
        at_s = time.monotonic() - self._began
        print(f"{at_s:5.0f} s  {title}", flush=True)
        asked = self.running[0]
        seen = look.Look(
            title=title,
            story=story,
            at_s=at_s,
            status=look.status(self.url),
            health=look.health(asked),
            metrics=look.metrics(asked),
            logs=look.logs(self.members),
        )
        self.looks.append(seen)
        return seen

    def wait_for_finding(self, code: str) -> None:
        """Wait until `clip-worker status` calls something wrong."""
        self._wait_for(lambda snapshot: code in [each.code for each in findings(snapshot)])

    def wait_until_busy(self) -> None:
        """Wait until images are worked on, and `clip-worker status` finds no problem."""
        self._wait_for(lambda seen: seen.queues[0].images_per_s > 0 and not _problems(seen))

    def wait_until_done(self) -> None:
        """Wait until nothing is queued or in flight."""
        self._wait_for(lambda snapshot: not snapshot.queues[0].status.total_messages)

    def _wait_for(self, is_so: Callable[[Snapshot], bool]) -> None:
        seen: list[object] = []
        with self.client() as redis:
            reader = SnapshotReader(redis, self.url, [DEFAULT_QUEUE])

            def is_there() -> bool:
                time.sleep(0.5)
                try:
                    snapshot = reader.read()
                except (QueueUnavailableError, RedisError) as error:
                    seen.append(error)
                    return False
                seen.append(snapshot)
                return is_so(snapshot)

            wait_until(is_there, lambda: f"last seen: {seen[-1]}", limit_s=LIMIT_S)


def _problems(snapshot: Snapshot) -> list[Finding]:
    return [each for each in findings(snapshot) if each.level is Level.PROBLEM]
