"""Processes of the recipes in examples/: web servers, Celery workers, scripts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3
from support.waiting import LIMIT_S, wait_until
from support.worker_process import WorkerProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.cli.demo.images import DemoImage

EXAMPLES = Path(__file__).parents[2] / "examples"
_ADDRESS = re.compile(r"http://127\.0\.0\.1:[1-9]\d*")


class Recipe:
    """Starts the processes of one recipe, and ends them when it is left.

    Args:
        redis_url: Of the Redis that clip-worker reads.
        folder: For logs.
    """

    def __init__(self, redis_url: str, folder: Path) -> None:
        self.redis_url = redis_url
        self._folder = folder
        self.started: list[WorkerProcess] = []

    def start(self, program: str, *arguments: str, **environment: str) -> WorkerProcess:
        """Start `python -m program …`, or `python program.py …`."""
        module = () if program.endswith(".py") else ("-m",)
        process = WorkerProcess(
            self.redis_url,
            self._folder,
            name=f"process-{len(self.started)}",
            command=(sys.executable, *module, program, *arguments),
            environment={"PYTHONUNBUFFERED": "1"} | environment,
        )
        self.started.append(process)
        process.start()
        return process

    def serve(self, program: str, *arguments: str, **environment: str) -> str:
        """Start a web server on a free port; its address."""
        server = self.start(program, *arguments, **environment)
        server.wait_for_log("http://127.0.0.1:")
        found = _ADDRESS.search(server.log)
        assert found, server.log
        return found.group()

    def close(self) -> None:
        for process in self.started:
            process.kill()


def run(*command: str, stdin: str = "", status: int = 0, **environment: str) -> str:
    """Run a command to its end; what it printed, on its standard error if it has to fail."""
    ended = subprocess.run(
        command,
        input=stdin,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert ended.returncode == status, ended.stdout + ended.stderr
    return ended.stderr if status else ended.stdout


def full_queue_url(redis_url: str) -> str:
    """The database of the fixture `full_queue`."""
    return redis_url.removesuffix("/0") + "/1"


def photo_form(image: DemoImage, mimetype: str = "image/jpeg") -> dict[str, Any]:
    """A form with an image as the file `photo`, for urllib3."""
    return {"photo": (image.file_name, image.path.read_bytes(), mimetype)}


def poll(
    http: urllib3.PoolManager, url: str, is_done: Callable[[urllib3.BaseHTTPResponse], bool]
) -> urllib3.BaseHTTPResponse:
    """Ask until the answer is the one that is waited for."""
    answers: list[urllib3.BaseHTTPResponse] = []

    def done() -> bool:
        answers.append(http.request("GET", url))
        return is_done(answers[-1])

    wait_until(done, lambda: (answers[-1].status, answers[-1].data))
    return answers[-1]
