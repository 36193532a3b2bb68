"""`clip-worker retag` and `search` say what workers say of the same images."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from worker.cli.entry import run
from worker.embeddings.open import open_store
from worker.embeddings.space import space_of
from worker.embeddings.store import Embedding

if TYPE_CHECKING:
    from support.worker_process import WorkerProcess

    from clip_engine import Engine
    from clip_worker import Client

pytestmark = pytest.mark.integration

IMAGES = Path(__file__).parents[2] / "clip_engine" / "demo" / "images"
LABELS = ["shape > red circle", "shape > blue square", "sign > star", "sign > cross"]
WAIT_S = 60.0


@pytest.fixture
def files() -> list[Path]:
    return sorted(IMAGES.glob("*.*g"))


@pytest.fixture
def store_url(
    tmp_path: Path, client: Client, running_worker: WorkerProcess, engine: Engine, files: list[Path]
) -> str:
    """A store with what the worker has made of the demo's images."""
    del running_worker  # it only has to be there
    uris = [client.upload(file) for file in files]
    outcomes = client.classify_many(uris, ["a", "b"], return_embedding=True, timeout=WAIT_S)
    results = dict(outcomes)
    url, embeddings = f"lance://{tmp_path}/embeddings", []
    for number, file in enumerate(files):
        result = results[number].result
        assert result
        feature = np.asarray(result.embedding, np.float32)
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        embeddings.append(Embedding(content, file.name, feature))
    store = open_store(url)
    store.put(space_of(engine), embeddings)
    store.close()
    return url


def test_retag_answers_as_the_worker_does(
    store_url: str, tmp_path: Path, client: Client, files: list[Path]
) -> None:
    client.put_label_set("shapes", LABELS, hierarchical=True)
    target = tmp_path / "answers.jsonl"
    options = ["--label-set", "shapes", "-k", "3", "--score", "cosine", "--none-of-these"]
    places = ["--store", store_url, "--to", str(target), "--redis-url", client.url]

    status = run(["retag", *places, "--model", "demo", *options])

    assert status == 0
    found = {each["image"]: each for each in map(json.loads, target.read_text().splitlines())}
    assert len(found) == len(files)
    for file in files:
        sent = client.classify(
            client.upload(file), label_set="shapes", k=3, score="cosine", none_of_these=True
        )
        asked = json.loads(sent.get(timeout=WAIT_S).model_dump_json(exclude_none=True))
        answer = found[file.name]
        assert {"levels", "none_of_these", "label_set"} <= set(answer)
        for name in ("predictions", "none_of_these", "levels", "label_set", "model_digest"):
            assert rounded(answer[name]) == pytest.approx(rounded(asked[name]), abs=2e-2), name


def rounded(value: object) -> object:
    """Numbers and texts in one flat dict, which `approx` compares."""
    flat: dict[str, object] = {}

    def walk(path: str, part: object) -> None:
        if isinstance(part, dict):
            for name, each in part.items():
                walk(f"{path}.{name}", each)
        elif isinstance(part, list):
            for index, each in enumerate(part):
                walk(f"{path}[{index}]", each)
        else:
            flat[path] = part

    walk("", value)
    return flat


def test_search_in_a_store_finds_an_image_by_itself(
    store_url: str, files: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["search", "--store", store_url, "--model", "demo", "-k", "2"]

    assert run([*arguments, "--image", str(files[3])]) == 0
    by_image = capsys.readouterr().out.splitlines()
    assert run([*arguments, "--json", "a red circle"]) == 0
    by_text = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert by_image[0] == f" 1.000  {files[3].name}"
    assert len(by_image) == len(by_text) == 2
    assert by_text[0]["cosine"] >= by_text[1]["cosine"]


def test_search_says_what_is_wrong_with_its_arguments(
    store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search"]) == 2
    assert run(["search", "a star", "--image", "x.jpg"]) == 2
    assert run(["search", "--image", "missing.jpg", "--store", store_url]) == 2
    assert run(["search", "a star", "-k", "0"]) == 2
    errors = capsys.readouterr().err
    assert "no text and no image" in errors
    assert "give only one" in errors
    assert "missing.jpg is not a file" in errors
    assert "1 to 1000" in errors


def test_search_without_a_store_asks_the_workers(
    running_worker: WorkerProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["search", "a star", "--redis-url", running_worker.redis]) == 1
    assert "CLIP_WORKER_EMBEDDING_STORE" in capsys.readouterr().err
