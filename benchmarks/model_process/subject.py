"""A worker of one tree with a Redis of its own."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.bench.contender import done_at
from benchmarks.bench.messages import push_cycled
from benchmarks.bench.program import Program
from benchmarks.bench.server import BenchError, Server, wait_until
from benchmarks.model_process.tree import Tree

EVERY_S = 0.02
START_LIMIT_S = 240.0
ROUND_LIMIT_S = 60.0
ASKED_AT_ONCE = 500
CELERY = ("-m", "celery", "-A")
WORKER = (*CELERY, "worker", "worker", "--loglevel", "warning")


class Subject:
    """The process, while it is entered.

    Args:
        tree: Where its code comes from.
        cache: Folder of the images.
        arguments: After `python`.
        python_path: More folders to import from, after the tree.
        settings: Further variables of its environment.
    """

    def __init__(
        self,
        tree: Tree,
        cache: Path,
        arguments: Sequence[str] = WORKER,
        python_path: Sequence[Path] = (),
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.tree = tree
        self.cache = cache
        self._arguments = arguments
        self._settings = settings or {}
        self._python_path = os.pathsep.join(map(str, (tree.root, *python_path)))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self.server = stack.enter_context(Server())
            self.program = stack.enter_context(
                Program(self.tree.name, self._arguments, self._environment(), self.tree.root)
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def cpu_s(self) -> float:
        """Processor time of the worker's processes and of Redis until now, in seconds."""
        return self.program.cpu_s + self.server.cpu_s

    def run(self, templates: Sequence[bytes], count: int, limit_s: float = ROUND_LIMIT_S) -> float:
        """Put `count` messages on the queue at once; seconds until the last was answered.

        Raises:
            BenchError: One failed, or it took too long.
        """
        ids = self.push(templates, count)
        start = self.server.release()
        self.wait_for(ids, limit_s)
        return self.finish(ids) - start

    def push(self, templates: Sequence[bytes], count: int) -> list[str]:
        """Make `count` messages, the templates in turn, which `server.release` hands over."""
        return push_cycled(self.server.scratch, templates, count)

    def wait_for(self, ids: Sequence[str], limit_s: float = ROUND_LIMIT_S) -> None:
        """Wait until all of these tasks have results; each is asked for about once."""
        chunks = [ids[i : i + ASKED_AT_ONCE] for i in range(0, len(ids), ASKED_AT_ONCE)]
        waiting = iter(chunks)
        chunk = next(waiting)

        def is_done() -> bool:
            nonlocal chunk
            while self.server.results(chunk) == len(chunk):
                following = next(waiting, None)
                if following is None:
                    return True
                chunk = following
            return False

        try:
            wait_until(
                is_done,
                self.program.check,
                every_s=EVERY_S,
                limit_s=limit_s,
                what=f"{len(ids)} tasks of {self.tree.name}",
            )
        except BenchError:
            self.server.drop_results()
            raise

    def finish(self, ids: Sequence[str]) -> float:
        """Check and drop the results of these tasks; Unix time of the last one.

        Raises:
            BenchError: One is a failure.
        """
        metas = self.server.metas(ids)
        for meta in metas:
            _check(json.loads(meta or b"{}"))
        self.server.drop_results()
        return max(map(done_at, metas))

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": self._python_path,
            "CLIP_WORKER_REDIS_URL": self.server.url,
            "CLIP_WORKER_MODEL": "demo",
            "CLIP_WORKER_FILE_ROOTS": str(self.cache),
            "PROBE_FILE": str(self.folder / "probe.json"),
            **self._single_flight(),
            **self._settings,
        }

    def _single_flight(self) -> dict[str, str]:
        """Off where there is such a setting: the same images are used again and again."""
        is_known = (self.tree.root / "worker/pipeline/single_flight.py").exists()
        return {"CLIP_WORKER_SINGLE_FLIGHT": "false"} if is_known else {}


def _check(stored: Mapping[str, Any]) -> None:
    """Raise if a task failed, or an image of `clip.classify_many`."""
    result = stored.get("result")
    outcomes = result if isinstance(result, list) else [{"status": "ok", "result": result}]
    if stored.get("status") != "SUCCESS" or not all(
        one["status"] == "ok" and one["result"]["predictions"] for one in outcomes
    ):
        raise BenchError(f"a task failed: {str(stored)[:500]}")
