"""`clip-worker doctor` in a clean environment."""

from __future__ import annotations

import json
import os

import pytest
from support.redis_server import new_server

from worker.cli.entry import run


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No settings but a model that is always there, and a cache of the test's own."""
    for name in list(os.environ):
        if name.startswith("CLIP_WORKER_") and not name.startswith("CLIP_WORKER_TEST_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLIP_WORKER_MODEL", "demo")
    monkeypatch.setenv("CLIP_WORKER_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def server():
    """A Redis of the test's own, to stop and to configure."""
    with new_server() as server:
        yield server


@pytest.fixture
def doctor(capsys):
    """Runs `clip-worker doctor --json`; its exit status, and the findings by name of the check."""

    def doctor(url: str, *arguments: str):
        status = run(["doctor", "--json", "--redis-url", url, *arguments])
        printed = capsys.readouterr()
        lines = [json.loads(line) for line in printed.out.splitlines()]
        return status, {line["check"]: line for line in lines}

    return doctor
