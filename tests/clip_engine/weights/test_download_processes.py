"""Fetching weights from several processes at once, and after one was killed."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading

from filelock import FileLock
from support.scripted_server import response, scripted_server
from support.weights_server import DATA, WeightsServer, fetch, published, ranges

# What a process of its own runs: url, digest and cache folder come as arguments.
PROCESS = """
import sys
from pathlib import Path
from clip_engine.weights.catalog import Published
from clip_engine.weights.cache import fetch_weights

def progress(done, total):
    print("progress", done, flush=True)

print("ready", flush=True)
entry = Published("tiny", sys.argv[1], sys.argv[2], 224)
print("path", fetch_weights(entry, Path(sys.argv[3]), progress=progress), flush=True)
"""


def start_process(entry, cache):
    command = [sys.executable, "-c", PROCESS, entry.url, entry.sha256, str(cache)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


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


def test_one_that_has_to_wait_says_so_once_and_takes_what_the_other_fetched(cache, caplog):
    # given: another owner of the lock, who lets go when it is heard that somebody waits
    other = FileLock(cache / "tiny.pt.lock")
    cache.mkdir()
    other.acquire()
    heard = []

    class Listener(logging.Handler):
        def emit(self, record):
            heard.append(record.getMessage())
            (cache / "tiny.pt").write_bytes(DATA)
            other.release()

    listener = Listener()
    logging.getLogger("clip_engine.weights.cache").addHandler(listener)
    try:
        path = fetch(published("http://a.invalid/"), cache)
    finally:
        logging.getLogger("clip_engine.weights.cache").removeHandler(listener)

    assert path.read_bytes() == DATA
    assert heard == ["Waiting for another process that is downloading tiny.pt."]


def test_when_the_one_that_fetches_fails_the_next_goes_on_from_there(cache):
    # given: the first gives up after 100,000 bytes, while the second waits for the lock
    weights = WeightsServer()
    refused = threading.Event()

    def script(head, connection):
        if refused.is_set():
            weights(head, connection)
        elif "Range" in head:
            refused.set()
            connection.sendall(response(status="403 Forbidden"))
        else:
            connection.sendall(response(DATA[:100_000], length=300_000))

    with scripted_server(script) as server:
        entry = published(server.url())
        processes = [start_process(entry, cache) for _ in range(2)]
        outputs = [process.communicate(timeout=60)[0] for process in processes]

        assert sorted(process.returncode for process in processes) == [0, 1]
        assert [output.count("path") for output in outputs].count(1) == 1
        assert ranges(server) == [0, 100_000, 100_000]
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
