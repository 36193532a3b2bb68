"""Fetching weights from several processes at once, and after one was killed."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from scripted_server import response, scripted_server
from weights_server import DATA, WeightsServer, published, ranges

from clip_engine.download import fetch_weights

# What a process of its own runs: url, digest and cache folder come as arguments.
PROCESS = """
import sys
from pathlib import Path
from clip_engine.catalog import Published
from clip_engine.download import fetch_weights

def progress(done, total):
    print("progress", done, flush=True)

print("ready", flush=True)
entry = Published("tiny", sys.argv[1], sys.argv[2], 224)
print("path", fetch_weights(entry, Path(sys.argv[3]), progress=progress), flush=True)
"""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def fetch(entry, cache, **options: object):
    return fetch_weights(entry, cache, pause=lambda _seconds: None, **options)


def start_process(entry, cache):
    command = [sys.executable, "-c", PROCESS, entry.url, entry.sha256, str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_eight_processes_that_start_at_once_fetch_once(cache):
    # given: a server that holds its answer until all eight processes have begun
    gate = threading.Event()
    with scripted_server(WeightsServer(gate=gate)) as server:
        entry = published(server.url())
        processes = [start_process(entry, cache) for _ in range(8)]
        assert [process.stdout.readline() for process in processes] == 8 * ["ready\n"]

        gate.set()

        outputs = [process.communicate(timeout=60)[0] for process in processes]
        assert all(output.endswith(f"path {cache / 'tiny.pt'}\n") for output in outputs)
        assert len(server.heads) == 1
    assert (cache / "tiny.pt").read_bytes() == DATA


def test_what_a_killed_process_had_fetched_is_kept(cache):
    # given: a process that is killed after 100,000 bytes, holding the lock
    over = threading.Event()
    weights = WeightsServer()

    def script(head, connection):
        if "Range" in head:
            weights(head, connection)
        else:
            connection.sendall(response(DATA[:100_000], length=300_000))
            over.wait(60)

    with scripted_server(script) as server:
        entry = published(server.url())
        with start_process(entry, cache) as process:
            while process.stdout.readline() != "progress 100000\n":
                assert process.poll() is None
            process.kill()

        path = fetch(entry, cache)
        over.set()

        assert path.read_bytes() == DATA
        assert ranges(server) == [0, 100_000]
