"""The benchmark's own arithmetic and writing; what it measures is not tested here."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import fakeredis
import pytest
import torch
from redis import Redis

from benchmarks.bench import document, page
from benchmarks.bench.case import CASES, MAIN
from benchmarks.bench.labels import SHARED, label_list, own_lists
from benchmarks.bench.messages import ClipWorkerSender, cycled, push_copies
from benchmarks.bench.names import QUEUE
from benchmarks.bench.pictures import make_pictures
from benchmarks.bench.sample import percentile
from benchmarks.bench.scale import SCALES
from benchmarks.bench.server import BenchError
from benchmarks.bench.weights import VIT_B_32, Weights
from benchmarks.int8_runtimes.__main__ import SMALL, cosines, model_of
from benchmarks.int8_runtimes.onnx_files import OnnxFiles
from benchmarks.int8_runtimes.runtimes import NEEDED, built
from benchmarks.model_process import report
from benchmarks.model_process.case import TINY, Case
from benchmarks.model_process.costless import FOLDER, CostlessWorker, rounds
from benchmarks.model_process.probe import OTHERS, GilSampler
from benchmarks.model_process.tree import PRESENT, exported
from benchmarks.precision import compared
from benchmarks.served.servers import ClipWorker
from benchmarks.served.table import most_apart, table
from benchmarks.served.turns import Samples, lone_images, throughput
from clip_worker.contract import ClassifyRequest


@pytest.mark.parametrize(
    ("part", "value"), [(0.5, 2), (0.51, 3), (0.99, 4), (0.25, 1), (0.0, 1), (1.0, 4)]
)
def test_a_percentile_is_the_nearest_rank(part: float, value: float) -> None:
    assert percentile([4, 1, 3, 2], part) == value


def test_copies_of_a_message_differ_in_id_and_tag_alone() -> None:
    # given a message in which id and tag stand several times
    template = {
        "headers": {"id": "ID-1", "root_id": "ID-1", "task": "clip.classify"},
        "properties": {"delivery_tag": "TAG-1", "correlation_id": "ID-1"},
        "body": "e30=",
    }
    redis = fakeredis.FakeRedis()
    # when
    ids = push_copies(redis, json.dumps(template).encode(), 3)
    # then
    copies = [json.loads(message) for message in redis.lrange(QUEUE, 0, -1)]
    assert len(set(ids)) == 3
    assert {copy["headers"]["id"] for copy in copies} == set(ids)
    assert len({copy["properties"]["delivery_tag"] for copy in copies}) == 3
    for copy in copies:
        own = copy["headers"]["id"]
        assert copy["properties"]["correlation_id"] == copy["headers"]["root_id"] == own
        copy["properties"]["delivery_tag"] = "TAG-1"
        assert json.loads(json.dumps(copy).replace(own, "ID-1")) == template


@pytest.mark.integration
def test_copies_of_the_clients_message_are_messages(redis_url: str) -> None:
    # given
    sender, redis = ClipWorkerSender(redis_url), Redis.from_url(redis_url)
    first = sender.send("/a.jpg", ["cat", "dog"])
    # when
    [second] = push_copies(redis, redis.rpop(QUEUE), 1)
    # then
    [copy] = [json.loads(message) for message in redis.lrange(QUEUE, 0, -1)]
    assert first != second == copy["headers"]["id"] == copy["properties"]["correlation_id"]
    assert copy["headers"]["task"] == "clip.classify"
    sender.close()


def test_labels_are_different_and_such_as_a_worker_takes() -> None:
    labels = label_list(10_000)
    assert len(set(labels)) == 10_000
    assert ClassifyRequest(image="file:///a.jpg", labels=tuple(labels)).labels == tuple(labels)


def test_no_label_of_a_task_of_its_own_was_seen_before() -> None:
    lists = list(itertools.islice(own_lists(10), 500))
    seen = {label for labels in lists for label in labels}
    assert len(seen) == 5_000
    assert seen.isdisjoint(label_list(SHARED))


def test_pictures_and_labels_are_dealt_in_turn() -> None:
    assert cycled(["a", "b"], itertools.repeat(["x"]), 3) == [
        ("a", ["x"]),
        ("b", ["x"]),
        ("a", ["x"]),
    ]


def test_every_scale_names_cases_that_there_are() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) == 24
    for scale in SCALES.values():
        assert set(scale.cases) <= set(names)
        assert not scale.cases or scale.cases[0] == MAIN


def test_a_section_is_replaced_between_its_markers_and_nothing_else_is() -> None:
    # given
    text = (
        "before\n<!-- bench:a -->\nold\n<!-- /bench:a -->\nafter <!-- bench:b --><!-- /bench:b -->"
    )
    # when
    once = page.replaced(text, "a", r"new \1")
    # then
    assert once == text.replace("old", r"new \1")
    assert page.replaced(once, "a", r"new \1") == once


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- bench:a -->"):
        page.replaced("nothing", "a", "new")


def test_a_document_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory) -> None:
    # given numbers in lists, which are written on one line
    folder = tmp_path_factory.mktemp("figures")
    written = {
        "sections": {"a": {"data": {"seconds": [1.5, 2.25], "none": [], "rows": [{"n": [1]}, {}]}}},
        "words": ["a b", 'c "d" [e'],
    }
    # when
    document.save(folder, written)
    # then
    assert document.load(folder) == written
    assert "[1.5, 2.25]" in (folder / document.FILE).read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("loop", "holder"), [("while True: pass", OTHERS), ("sys.stdin.read()", None)]
)
def test_another_process_sees_whether_the_gil_is_held(loop: str, holder: str | None) -> None:
    # given a process that always holds its GIL, or never
    code = f"import sys, gil_layout\nprint(gil_layout.find_gil(), flush=True)\n{loop}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = {"PYTHONPATH": str(FOLDER)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, **pipes)
    with process, contextlib.ExitStack() as stack:
        stack.callback(process.kill)
        assert process.stdout is not None
        sampler = GilSampler(process.pid, int(process.stdout.readline()), {})
        # when it has come that far
        while sampler.look() != holder:
            assert process.poll() is None
        # then
        assert {sampler.look() for _ in range(1_000)} == {holder}


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_a_picture_of_a_worker_without_its_image_tower_is_measured(tmp_path: Path) -> None:
    # given
    case = Case(TINY, pictures=4)
    # when
    with CostlessWorker(PRESENT, tmp_path, {}) as worker:
        samples = rounds([worker], case, tmp_path, 3, 0.1)
    # then
    sample = samples["after"][0]
    assert sample.pictures >= 256
    assert 0 < max(sample.threads_s.values()) <= sample.model_s + 0.05
    assert 0 < sum((sample.gil_s or {}).values()) <= sample.seconds + 1.0
    assert "pictures/s" in report.table(samples)
    assert max(sample.threads_s, key=sample.threads_s.__getitem__) in report.thread_table(samples)


def test_an_unknown_commit_is_refused_by_name() -> None:
    with pytest.raises(BenchError, match="0000000"), exported("0000000"):
        pass


def test_servers_are_compared_with_the_rival_that_does_best_in_each_column() -> None:
    # given one rival that is fast and one that is quick, measured in two rounds
    found = {
        "fast": Samples(16, rates=[10, 20], cpu_ms=[100], latency_ms=[80, 80]),
        "quick": Samples(16, rates=[5, 5], cpu_ms=[200], latency_ms=[40, 50]),
        "ours": Samples(16, rates=[30, 40], cpu_ms=[50], latency_ms=[20, 50]),
    }
    # when
    last = table(found, ["fast", "quick"]).splitlines()[-1]
    # then ratios are those of neighbouring samples: 30/10 and 40/20, 20/40 and 50/50
    assert last == "| ours | 35.0 | 30.0 to 40.0 | **2.50** | 50 | 35.0 | 20.0 to 50.0 | **0.75** |"


def test_answers_are_compared_where_both_have_the_label() -> None:
    assert most_apart([{"a": 0.5, "b": 0.4}], [{"a": 0.25, "c": 0.7}]) == 0.25


def test_agreement_counts_images_and_changes_count_probabilities() -> None:
    # given two images, six labels; of the second the best two are exchanged, and the fifth and last
    exact = torch.tensor([[0.5, 0.2, 0.1, 0.09, 0.06, 0.05]] * 2)
    mine = torch.tensor([exact[0].tolist(), [0.2, 0.5, 0.1, 0.09, 0.05, 0.06]])
    assert compared(mine, exact)[1] == "50.0%, 50.0%"
    assert compared(mine, exact)[0].startswith("0.3000, ")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own quantization will move
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_int8_runtimes_agree_with_float32_and_absent_ones_are_named(tmp_path: Path) -> None:
    # given
    model = model_of(SMALL)
    # when
    runs, missing = built(model, OnnxFiles(model.visual, SMALL.image_resolution, tmp_path))
    # then
    assert {"clip-worker, float32", "clip-worker, int8", "torch, dynamic int8"} <= set(runs)
    assert min(cosines(runs, SMALL.image_resolution).values()) > 0.99
    for name, reason in missing.items():
        assert any(
            package in reason for package in NEEDED.get(name.partition(",")[0], ["bfloat16"])
        )


@pytest.mark.integration
@pytest.mark.slow
def test_a_served_worker_is_measured_in_rounds_and_with_lone_images(tmp_path: Path) -> None:
    # given a worker with the demo's model
    images = make_pictures(TINY, tmp_path)
    weights = Weights(VIT_B_32, Path("demo"), Path("demo"))
    with ClipWorker("clip-worker", weights, tmp_path, {}) as worker:
        worker.wait_until_ready(images)
        # when
        found = throughput([worker], images, rounds=1, round_s=0.1, end=0.0)
        lone_images([worker], found, images, 2)
    # then
    samples = found["clip-worker"]
    assert len(samples.answers) == samples.images
    assert len(samples.latency_ms) == 2
    assert samples.cpu_ms[0] > 0
    assert table(found, ["clip-worker"]).count("**1.00**") == 2
