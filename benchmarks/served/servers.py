"""What is measured: LitServe over HTTP, and clip-worker through its client."""

from __future__ import annotations

import itertools
import json
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import Self

import urllib3

from benchmarks.bench.contender import Contender, Round, clip_worker_environment
from benchmarks.bench.labels import label_list
from benchmarks.bench.messages import ClipWorkerSender, cycled
from benchmarks.bench.program import ROOT, Program
from benchmarks.bench.server import BenchError, wait_until
from benchmarks.bench.weights import Weights

LABELS = label_list(10)
IN_FLIGHT = 32  # requests of a LitServe round
FEW = 8  # images that a worker answers before it counts as ready
START_LIMIT_S = 240.0
LIMIT_S = 120.0


class Served(ABC):
    """A server, while it is entered.

    Args:
        name: For tables.

    Attributes:
        polling: Its program, if that takes processor time when idle.
    """

    polling: Program | None = None

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @abstractmethod
    def _start(self, stack: ExitStack) -> None:
        """Start the processes; the stack ends them."""

    @abstractmethod
    def wait_until_ready(self, images: Sequence[Path]) -> None:
        """Wait until the model is loaded."""

    @abstractmethod
    def run(self, images: Sequence[Path], count: int) -> Round:
        """One round: `count` images, the server's queue full until the end."""

    @abstractmethod
    def ask(self, image: Path) -> None:
        """Wait for the answer about one image."""


@dataclass(frozen=True)
class LitSettings:
    """How LitServe is run.

    Attributes:
        workers: Processes, each with a model.
        threads: torch's threads in each.
        batch: Most images of a forward pass.
        wait_s: Longest that a process waits for a batch to fill.
    """

    workers: int
    threads: int
    batch: int = 8
    wait_s: float = 0.005


class LitServe(Served):
    """`lit_server.py`, asked by a client that keeps its connections."""

    def __init__(self, name: str, weights: Weights, settings: LitSettings) -> None:
        super().__init__(name)
        self.given = asdict(settings) | {
            "architecture": weights.architecture.open_clip_name,
            "state_dict": str(weights.state_dict),
            "labels": LABELS,
        }

    def _start(self, stack: ExitStack) -> None:
        port = free_port()
        arguments = ["-m", "benchmarks.served.lit_server", str(port)]
        variables = {"BENCH_LIT_SERVER": json.dumps(self.given)}
        self._program = stack.enter_context(Program(self.name, arguments, variables))
        # Each idle process looks into its queue a thousand times a second.
        self.polling = self._program
        self._url = f"http://127.0.0.1:{port}"
        # The server closes connections that were idle for 5 s, perhaps as the next request is sent.
        again = urllib3.Retry(2, allowed_methods=None)
        self._http = stack.enter_context(urllib3.PoolManager(maxsize=IN_FLIGHT, retries=again))
        self._threads = stack.enter_context(ThreadPoolExecutor(IN_FLIGHT))

    def wait_until_ready(self, images: Sequence[Path]) -> None:
        """Wait until each process has loaded the model and run it."""
        wait_until(
            self._is_healthy,
            self._program.check,
            every_s=0.5,
            limit_s=START_LIMIT_S,
            what=f"the start of {self.name}",
        )
        self.run(images, IN_FLIGHT)

    def run(self, images: Sequence[Path], count: int) -> Round:
        """One round; it ends with the last response."""
        todo = itertools.islice(itertools.cycle(images), count)
        cpu_s, start = self._program.cpu_s, perf_counter()
        answers = list(self._threads.map(self._answer, todo))
        seconds = perf_counter() - start
        return Round(count, seconds, self._program.cpu_s - cpu_s, 0.0, answers)

    def ask(self, image: Path) -> None:
        """Wait for the response about one image."""
        self._answer(image)

    def _answer(self, image: Path) -> dict[str, float]:
        url, question = f"{self._url}/predict", {"image": str(image)}
        response = self._http.request("POST", url, json=question, timeout=LIMIT_S)
        if response.status != 200:
            raise BenchError(f"{self.name} answered {response.status}: {response.data[:200]!r}")
        answer: dict[str, float] = response.json()
        return answer

    def _is_healthy(self) -> bool:
        try:
            response = self._http.request("GET", f"{self._url}/health", timeout=LIMIT_S)
        except urllib3.exceptions.HTTPError:
            return False  # it doesn't listen yet
        return bool(response.status == 200)


class ClipWorker(Served):
    """`clip-worker start` with its defaults, but for the given settings.

    Args:
        name: For tables.
        weights: Of the model.
        root: Folder of the images.
        settings: More variables.
        tree: Folder of the source; another commit's, perhaps.
    """

    def __init__(
        self,
        name: str,
        weights: Weights,
        root: Path,
        settings: Mapping[str, str],
        tree: Path = ROOT,
    ) -> None:
        super().__init__(name)
        usual = clip_worker_environment(str(weights.folder), str(root))
        more = {**settings, "PYTHONPATH": str(tree)}
        self._contender = Contender(
            name,
            lambda _: ["-m", "worker.cli", "start"],
            lambda url: {**usual(url), **more},
            ClipWorkerSender,
            tree,
        )

    def _start(self, stack: ExitStack) -> None:
        stack.enter_context(self._contender)
        self._sender = ClipWorkerSender(self._contender.server.url)
        stack.callback(self._sender.close)

    def wait_until_ready(self, images: Sequence[Path]) -> None:
        """Wait until it has answered a few tasks and encoded the labels."""
        self._contender.warm_up(_tasks(images, FEW))

    def run(self, images: Sequence[Path], count: int) -> Round:
        """One round; it ends with the last stored result."""
        return self._contender.run(_tasks(images, count), every_s=0.1)

    def ask(self, image: Path) -> None:
        """Wait for the answer in the client."""
        self._sender.client.classify(image.as_uri(), LABELS).get(timeout=LIMIT_S)


def free_port() -> int:
    """A TCP port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _tasks(images: Sequence[Path], count: int) -> list[tuple[str, list[str]]]:
    return cycled([str(image) for image in images], itertools.repeat(LABELS), count)
