"""`clip-worker tune` as a process, with the demo model and its images."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from support.worker_process import clean_environment

from clip_engine.loader import load_engine
from worker.cli.demo.images import DEMO_IMAGES, image_folder
from worker.cli.tune.configuration import Configuration
from worker.cli.tune.subject import Subject, SubjectError, Task
from worker.settings import Settings

pytestmark = pytest.mark.slow

LIMIT_S = 600.0  # a busy machine takes a minute for each start
PAUSE_S = 0.05
LABELS = tuple(image.description for image in DEMO_IMAGES)
TEMPLATE = "{}"
MARK = "TUNE_TEST_MARK"


class Run:
    """A run of the command, all of whose processes have a mark in their environment."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.mark = uuid4().hex
        (folder / "temporary").mkdir()
        shutil.copytree(image_folder(), folder / "images")
        (folder / "images" / "broken.jpg").write_bytes(b"no image")
        (folder / "labels.txt").write_text("\n".join(LABELS), "utf-8")
        environment = clean_environment() | {
            MARK: self.mark,
            "TMPDIR": str(folder / "temporary"),
            "CLIP_WORKER_MODEL": "demo",
            "CLIP_WORKER_DEVICE": "cpu",
        }
        command = [sys.executable, "-m", "worker.cli", "tune", "--pictures", "images"]
        command += ["--labels", "labels.txt", "--template", TEMPLATE, *arguments]
        with self.path("stdout").open("wb") as out, self.path("stderr").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def path(self, name: str) -> Path:
        return self.folder / name

    def wait_for(self, text: str) -> None:
        end = time.monotonic() + LIMIT_S
        while text not in self.path("stderr").read_text():
            assert self.process.poll() is None, self.path("stderr").read_text()
            assert time.monotonic() < end
            time.sleep(PAUSE_S)

    def processes(self) -> list[str]:
        """Those that run, by their command lines."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended, or is another user's
                if f"{MARK}={self.mark}".encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_text())
        return found


@pytest.fixture
def start(tmp_path):
    runs: list[Run] = []

    def start(*arguments: str) -> Run:
        runs.append(Run(tmp_path, *arguments))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def test_a_quick_run_measures_compares_and_writes_settings_that_a_worker_reads(start, monkeypatch):
    run = start("--quick", "--json", "--time", "200")

    assert run.process.wait(LIMIT_S) == 0, run.path("stderr").read_text()
    *measured, decision = map(json.loads, run.path("stdout").read_text().splitlines())
    first = measured[0]
    assert first["settings"] == {}
    assert first["worker"]["precision"] == "float32"
    assert first["agreement"] == {
        "images": len(DEMO_IMAGES),
        "top_1": 1.0,
        "top_5": 1.0,
        "top_5_in_order": 1.0,
        "change_p99": 0.0,
        "largest_change": 0.0,
    }
    for each in measured:
        assert each["failure"] is None
        assert min(each["images_per_s"]) > 0
        assert 0 < each["latency_p50_s"] <= each["latency_p99_s"]
        assert each["cpu_s"] > 0
        assert each["memory_bytes"] > 100e6
    half = [each for each in measured if each["worker"]["precision"] == "bfloat16"]
    assert all(0 < each["agreement"]["largest_change"] < 0.2 for each in half)
    assert "broken.jpg" in run.path("stderr").read_text()
    written = run.path("clip-worker.env").read_text()
    assert first["worker"]["digest"] in written
    variables = dict(
        line.split("=", 1) for line in written.splitlines() if not line.startswith("#")
    )
    assert variables == decision["recommended"]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert all(
        str(getattr(settings, name.removeprefix("CLIP_WORKER_").lower())) == value
        for name, value in variables.items()
    )
    assert list(run.path("temporary").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_all_processes_and_prints_what_it_has(start, number):
    run = start()
    run.wait_for("measuring int8")

    run.process.send_signal(number)

    assert run.process.wait(LIMIT_S) == 128 + number
    assert "| defaults (float32) " in run.path("stdout").read_text()
    assert "interrupted; no settings file was written." in run.path("stderr").read_text()
    assert not run.path("clip-worker.env").exists()
    assert list(run.path("temporary").iterdir()) == []
    if Path("/proc/self/environ").exists():
        end = time.monotonic() + LIMIT_S
        while run.processes():  # the preparation processes end when their worker is gone
            assert time.monotonic() < end, run.processes()
            time.sleep(PAUSE_S)


@pytest.fixture
def task(tmp_path):
    images = [image.path for image in DEMO_IMAGES]
    environment = clean_environment() | {
        "CLIP_WORKER_MODEL": "demo",
        "CLIP_WORKER_DEVICE": "cpu",
        "CLIP_WORKER_FILE_ROOTS": str(image_folder()),
    }
    uris = tuple(image.as_uri() for image in images)
    return Task(environment, 1, LABELS, (TEMPLATE,), uris, tmp_path)


def test_a_worker_gives_the_probabilities_of_the_engine_until_it_is_killed(task):
    configuration = Configuration(max_batch=4, workers=2)
    with Subject(task, configuration) as subject:
        subject.start()
        facts = subject.wait_until_ready()
        collected, found = subject.collect(LIMIT_S, len(task.images))
        together = subject.round(0.5)
        os.killpg(subject._children[1]._process.pid, signal.SIGKILL)
        with pytest.raises(SubjectError, match="does not fit into memory: the system killed"):
            subject.round(0.5)

    assert (facts.max_batch, facts.workers, facts.precision) == (4, 2, "float32")
    assert (collected.count, collected.failed) == (len(DEMO_IMAGES), {})
    assert together.images_per_s > 0
    engine = load_engine("demo")
    expected = [
        {each.label: each.probability for each in predictions}
        for predictions in engine.classify(
            [image.path for image in DEMO_IMAGES], LABELS, k=len(LABELS), template=TEMPLATE
        )
    ]
    for probabilities, by_label in zip(found, expected, strict=True):
        reference = [by_label[label] for label in LABELS]
        np.testing.assert_allclose(probabilities, reference, atol=1e-4)


def test_a_worker_that_can_not_start_says_why(task, tmp_path):
    environment = {**task.environment, "CLIP_WORKER_MODEL": str(tmp_path / "none.pt")}
    broken = Task(environment, 1, LABELS, (TEMPLATE,), task.images, tmp_path)

    with Subject(broken, Configuration()) as subject:
        subject.start()
        with pytest.raises(SubjectError, match=r"none\.pt.* can't be loaded"):
            subject.wait_until_ready()
