"""Type checkers find mistakes in calls of the client."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CALLS = """
from clip_worker import AsyncClient, AsyncHandle, async_as_completed
from clip_worker import Classification, Client, Handle, LabelSet, Outcome, Score, as_completed

client = Client()
labels = ["cat", "dog"]
handle: Handle[Classification] = client.classify("data:,x", labels, k=3, template="a {}")
probability: float = handle.get(timeout=1).predictions[0].probability
handles: list[Handle[Classification]] = client.submit_many(
    ["data:,x", {"image": "data:,y", "k": 1, "task_id": "y"}], labels
)
for ended in as_completed(handles):
    label: str = ended.get().predictions[0].label
score: Score = "cosine"
scored = client.classify("data:,x", labels, score=score, none_of_these=True, threshold=-0.5).get()
cosine: float | None = scored.predictions[0].score
none: float | None = scored.none_of_these
version: str = client.put_label_set("pets", ["animal > dog"], hierarchical=True)
stored: LabelSet = client.get_label_set("pets")
used: str | None = scored.label_set.calibration if scored.label_set else None
for position, outcome in client.classify_many(["data:,x"], label_set="pets"):
    number: int = position
    kind: Outcome = outcome

async def coroutine(client: AsyncClient) -> None:
    handle: AsyncHandle[Classification] = await client.classify("data:,x", labels, k=3)
    result: Classification = await handle
    handles = await client.submit_many([{"image": "data:,y", "k": 1}], labels)
    async for ended in async_as_completed(handles):
        label: str = (await ended.get(timeout=1)).predictions[0].label
    async for position, outcome in client.classify_many(["data:,x"], label_set="pets"):
        kind: Outcome = outcome

another = AsyncClient()
"""
MISTAKES = [
    'client.classify("data:,x", labels, kk=3)',
    'client.classify("data:,x", labels, k="three")',
    'client.classify("data:,x", labels, return_embedding="yes")',
    'client.classify("data:,x", 5)',
    'client.classify(b"x", labels)',
    'client.submit_many(["data:,x"], labels, kk=3)',
    'client.submit_many([{"image": "data:,x", "kk": 3}], labels)',
    'client.submit_many([{"k": 3}], labels)',
    'client.classify_many(["data:,x"], labels, k="three")',
    "handle.get().predictions[0].scores",
    'client.classify("data:,x", labels, score="dot")',
    'client.submit_many([{"image": "data:,x", "score": "dot"}], labels)',
    'client.classify_many(["data:,x"], labels, none_of_these="yes")',
    'client.put_label_set("pets", labels, calibration=0.5)',
    'handle.get(timeout="1")',
    'another.classify("data:,x", labels, k="three")',
    'another.classify("data:,x", labels, score="dot")',
    'another.submit_many(["data:,x"], labels, kk=3)',
    'another.classify_many(["data:,x"], labels, kk=3)',
]
CHECKERS = {
    "mypy": [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--no-error-summary"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
}


@pytest.mark.slow  # half a minute of mypy
@pytest.mark.parametrize("checker", CHECKERS)
def test_a_type_checker_accepts_right_calls_and_finds_each_wrong_one(checker, tmp_path):
    if checker == "pyright" and shutil.which("pyright") is None:
        pytest.skip("pyright is not installed")
    path = tmp_path / "calls.py"
    path.write_text(CALLS + "\n".join(MISTAKES) + "\n")

    done = subprocess.run(
        [*CHECKERS[checker], str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    lines = [line for line in done.stdout.splitlines() if "calls.py:" in line and "error" in line]
    found = {int(line.split("calls.py:")[1].split(":")[0]) for line in lines}
    first = CALLS.count("\n") + 1
    assert found == set(range(first, first + len(MISTAKES))), done.stdout + done.stderr
