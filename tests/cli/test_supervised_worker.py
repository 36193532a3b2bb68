"""How a supervised worker says that it is ready, and what program it runs."""

from __future__ import annotations

import os
import sys

import pytest

from worker.cli.supervisor.readiness import ReadyPipe, is_supervised, ready_sender
from worker.cli.supervisor.worker import worker_command


def test_a_worker_says_once_that_it_is_ready_and_stays_supervised():
    # given a descriptor as a child would inherit it
    pipe = ReadyPipe()
    environment = {"_CLIP_WORKER_SUPERVISED": str(pipe.theirs)}
    pipe.read()
    assert (pipe.is_ready, len(pipe.descriptors)) == (False, 1)

    ready_sender(environment)()
    pipe.read()

    assert (pipe.is_ready, pipe.descriptors) == (True, [])
    # then its program may run anew
    assert is_supervised(environment)
    ready_sender(environment)()


def test_a_worker_without_a_supervisor_tells_nobody():
    environment: dict[str, str] = {}
    ready_sender(environment)()
    assert not is_supervised(environment)


def test_a_worker_that_ends_before_it_is_ready_closes_the_pipe():
    pipe = ReadyPipe()
    os.close(pipe.theirs)
    pipe.read()
    assert (pipe.is_ready, pipe.descriptors) == (False, [])


@pytest.mark.parametrize(
    ("whole", "arguments", "program"),
    [
        (["python", "/bin/clip-worker", "start", "--workers", "2"], 3, ["/bin/clip-worker"]),
        (
            ["python", "-X", "dev", "-m", "worker.cli", "start"],
            1,
            ["-X", "dev", "-m", "worker.cli"],
        ),
        (["python", "-m", "pytest"], 0, ["-m", "pytest"]),
    ],
)
def test_a_worker_runs_the_same_program_with_the_same_interpreter(
    monkeypatch, whole, arguments, program
):
    monkeypatch.setattr(sys, "orig_argv", whole)
    monkeypatch.setattr(sys, "argv", ["program", *whole[len(whole) - arguments :]])
    assert worker_command() == [sys.executable, *program, "start"]


def test_a_worker_of_another_program_runs_the_module(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", "..."])
    monkeypatch.setattr(sys, "argv", ["-c", "start"])
    assert worker_command() == [sys.executable, "-m", "worker.cli", "start"]
