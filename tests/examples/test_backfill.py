"""The backfill recipe: a real run, and a second one that goes on after the first."""

from __future__ import annotations

import json
import shutil
import sys

import pytest
from support.recipe import EXAMPLES, run

from worker.cli.demo.images import DEMO_IMAGES

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_a_second_run_tags_only_what_the_first_one_has_not(redis_url, tmp_path):
    # given two images, one that is missing, and a run with the first
    hearts, crosses = DEMO_IMAGES[0], DEMO_IMAGES[6]
    uris = [(tmp_path / each.file_name).as_uri() for each in (hearts, crosses)]
    for each in (hearts, crosses):
        shutil.copy(each.path, tmp_path)
    uris.append((tmp_path / "missing.jpg").as_uri())
    labels = [hearts.answer, crosses.answer]
    backfill(tmp_path, redis_url, uris[:1], labels)
    first = (tmp_path / "tags.jsonl").read_text()
    # when all are to be tagged
    backfill(tmp_path, redis_url, uris, labels)
    # then the first is not tagged again
    tags = (tmp_path / "tags.jsonl").read_text()
    assert tags.startswith(first)
    found = {line["uri"]: line for line in map(json.loads, tags.splitlines())}
    assert len(tags.splitlines()) == len(found) == 3
    best = [found[uri]["result"]["predictions"][0]["label"] for uri in uris[:2]]
    assert best == labels
    assert found[uris[2]]["error"]["code"] == "FILE_NOT_FOUND"


def backfill(folder, redis_url, uris, labels):
    (folder / "uris.txt").write_text("\n".join(uris))
    files = [str(folder / "uris.txt"), str(folder / "tags.jsonl")]
    script = str(EXAMPLES / "backfill.py")
    run(sys.executable, script, *files, "--labels", ",".join(labels), "--redis-url", redis_url)
