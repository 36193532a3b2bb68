"""The garbage collector's setting, in processes of their own: it is the whole process's."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
from celery.app.amqp import Queues

from worker.runtime import gc_tuning as garbage
from worker.runtime import signals as lifecycle
from worker.runtime import state as runtime
from worker.settings import Settings

PROGRAM = """
import gc, json
before = gc.get_threshold()
frozen_before = gc.get_freeze_count()  # 375 on Python 3.12, which freezes some of its own
from worker.runtime import gc_tuning as garbage
garbage.settle({threshold})

class Node: pass

def knot():
    one, other = Node(), Node()
    one.other, other.other = other, one

gc.callbacks.append(lambda phase, info: looks.append(info["generation"]) if phase == "start" else 0)
looks = []
for _ in range(150_000):
    knot()
print(json.dumps([before, gc.get_threshold(), gc.get_freeze_count() - frozen_before, len(looks)]))
"""


def run(threshold: int) -> tuple[list[int], list[int], int, int]:
    program = PROGRAM.format(threshold=threshold)
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    before, after, frozen, looks = json.loads(ended.stdout)
    return before, after, frozen, looks


def test_what_was_there_is_left_alone_and_what_is_new_is_looked_at_less_often() -> None:
    before, after, frozen, looks = run(20_000)
    assert (after[0], after[1:]) == (20_000, before[1:])
    assert frozen > 1_000
    # each knot is at least two objects that nothing but the collector finds
    assert 2 <= looks <= 30


def test_a_process_that_holds_a_library_of_compiled_types_exits_without_a_word() -> None:
    # given Triton, which timm loads for open_clip's models
    pytest.importorskip("triton")
    program = (
        "import open_clip; from worker.runtime import gc_tuning as garbage; garbage.settle({})"
    )
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program.format(20_000)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert (ended.stdout, ended.stderr) == ("", "")


def test_0_leaves_pythons_own_setting() -> None:
    before, after, frozen, looks = run(0)
    assert after == before
    assert frozen == 0
    assert looks > 60


def test_a_worker_sets_it_once_its_model_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[object] = []
    model = SimpleNamespace(precision="float32", device=SimpleNamespace(type="cpu"))
    engine = SimpleNamespace(identity=SimpleNamespace(name="m", digest="d" * 64), model=model)
    here = SimpleNamespace(
        engine=engine,
        device=SimpleNamespace(name="cpu"),
        settings=Settings.load(gc_threshold=12345),
        stopping=SimpleNamespace(run_anew=lambda: None),
        unused_gpu=lambda: None,
    )
    monkeypatch.setattr(lifecycle, "check_eviction", lambda _settings: [])
    monkeypatch.setattr(runtime, "start", lambda *_, **__: events.append("model") or here)
    monkeypatch.setattr(garbage, "settle", events.append)
    amqp = SimpleNamespace(queues=Queues({"clip": {}}))

    lifecycle.load_model(
        SimpleNamespace(pool_cls="threads", app=SimpleNamespace(amqp=amqp), hostname="h")
    )

    assert events == ["model", 12345]
