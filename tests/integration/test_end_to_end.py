"""Real Redis, real worker processes, real producers: the main job."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from celery import chain, signature
from support.image_zoo import write_zoo
from support.waiting import wait_until
from support.worker_process import WorkerProcess, clean_environment

from clip_engine import Prediction
from clip_worker import Client
from clip_worker.client.handle import as_completed
from clip_worker.contract import Classification
from clip_worker.errors import ImageUnavailableError

pytestmark = pytest.mark.integration

IMAGES = 96
DIFFERENT = 24
PRODUCERS = 3
LABEL_LISTS = 20
TOLERANCE = 1e-5  # batches of other sizes may differ in the last bits of a float32
WAIT_S = 120.0

COLOURS = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "white", "black", "brown")
THINGS = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond", "cloud")
TEMPLATES = (None, "a picture of a {}.", "a drawing of a {}", "{}")
LABELS = ["red circle", "blue square", "green star"]
# Reads the keyword arguments of `Client.classify`, one JSON object a line, and prints the results.
PRODUCER = """
import json, sys
from clip_worker import Client
with Client(sys.argv[1]) as client:
    handles = [client.classify(**json.loads(line)) for line in sys.stdin]
    for handle in handles:
        print(handle.get(180.0).model_dump_json())
"""


def label_lists(seed: int) -> list[list[str]]:
    """Twenty different lists of 2 to 40 labels."""
    rng = random.Random(seed)
    everything = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
    return [rng.sample(everything, rng.randint(2, 40)) for _ in range(LABEL_LISTS)]


def questions(images, seed: int = 0) -> list[dict[str, Any]]:
    """A question about each image: one of the label lists, a template, a K."""
    rng, lists = random.Random(seed), label_lists(seed)
    return [
        {
            "image": image.as_uri(),
            "labels": lists[i % LABEL_LISTS],
            "k": rng.randint(1, 7),
            "template": rng.choice(TEMPLATES),
        }
        for i, image in enumerate(images)
    ]


def alone(engine, image, question) -> list[Prediction]:
    """What the engine says for this image alone."""
    template = {"template": question["template"]} if question["template"] else {}
    [predictions] = engine.classify([image], question["labels"], question["k"], **template)
    return predictions


def assert_same(answer: Classification, expected: Sequence[Prediction]) -> None:
    assert [p.probability for p in answer.predictions] == pytest.approx(
        [p.probability for p in expected], abs=TOLERANCE
    )
    assert [(p.label, p.index) for p in answer.predictions] == [
        (p.label, p.index) for p in expected
    ]


def produce(redis_url, share) -> subprocess.Popen[str]:
    """Start a producer process with its share of the questions."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRODUCER, redis_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    assert process.stdin is not None
    process.stdin.write("".join(json.dumps(question) + "\n" for question in share))
    process.stdin.close()
    process.stdin = None
    return process


@pytest.mark.slow
def test_images_from_three_producers_through_two_workers_answer_as_the_engine_alone(
    redis_url, tmp_path, engine
):
    # given
    zoo = write_zoo(tmp_path / "zoo", DIFFERENT, seed=1)
    images = [zoo[i % DIFFERENT] for i in range(IMAGES)]
    asked = questions(images)
    with (
        WorkerProcess(redis_url, tmp_path, name="one") as one,
        WorkerProcess(redis_url, tmp_path, name="two") as two,
    ):
        # when
        producers = [produce(redis_url, asked[i::PRODUCERS]) for i in range(PRODUCERS)]
        printed = [process.communicate(timeout=300)[0].splitlines() for process in producers]
        assert [process.returncode for process in producers] == [0] * PRODUCERS
        # then each worker loaded its model once, and nothing is left over
        assert [worker.log.count("clip-worker: loading") for worker in (one, two)] == [1, 1]
        assert [worker.stop() for worker in (one, two)] == [0, 0]
        assert sum(worker.log.count("succeeded in") for worker in (one, two)) == IMAGES
    answers: list[Any] = [None] * IMAGES
    for i, lines in enumerate(printed):
        answers[i::PRODUCERS] = [Classification.model_validate_json(line) for line in lines]
    for image, question, answer in zip(images, asked, answers, strict=True):
        assert_same(answer, alone(engine, image, question))
    # and tasks with different labels shared batches
    assert max(answer.timing.batch_size for answer in answers) > 1


def test_a_plain_celery_producer_gets_the_same_answer_as_the_client(
    running_worker, image, client, plain
):
    # given a producer that knows the broker's URL and the task's name
    question = {"image": image, "labels": LABELS, "k": 2}
    # when
    plain_answer = plain.send_task("clip.classify", kwargs=question).get(timeout=WAIT_S)
    answer = client.classify(**question).get(WAIT_S)
    # then
    found = answer.model_dump(mode="json", exclude_none=True)
    assert plain_answer["predictions"] == found["predictions"]
    assert plain_answer["model_digest"] == answer.model_digest


def test_each_of_many_requests_has_the_answer_that_it_would_have_alone(
    running_worker, redis_url, tmp_path
):
    # given images of which each third asks something of its own, and one is not there
    many, different, own_labels = 120, 12, ["ring", "heart"]
    zoo = [path.as_uri() for path in write_zoo(tmp_path / "zoo", different, seed=0)]
    images = [zoo[index % different] for index in range(many)]
    images[7] = (tmp_path / "missing.png").as_uri()
    requests = [
        {"image": image, "labels": own_labels, "k": 1} if index % 3 == 0 else image
        for index, image in enumerate(images)
    ]
    # when they are sent through a queue that never holds more than fifty
    with Client(redis_url, max_queue_length=50, when_full="wait", wait_limit_s=WAIT_S) as client:
        handles = client.submit_many(requests, LABELS, k=2)
        ended = {one.id for one in as_completed(handles, timeout=WAIT_S)}
        # then
        assert ended == {one.id for one in handles}
        with pytest.raises(ImageUnavailableError, match=r"missing\.png"):
            handles[7].get(0)
        for index in (0, 1, 2, 3, many - 1):
            labels, k = (own_labels, 1) if index % 3 == 0 else (LABELS, 2)
            answer = handles[index].get(0)
            assert len(answer.predictions) == k
            assert {p.label for p in answer.predictions} <= set(labels)
            alone = client.classify(images[index], labels).get(WAIT_S)
            assert alone.predictions[0].probability == pytest.approx(
                answer.predictions[0].probability, abs=1e-5
            )


def test_a_chain_hands_the_result_to_a_users_task_in_another_worker(
    running_worker, backend_worker, image, client, plain
):
    # given
    backend_worker.start()
    # when
    ours = signature("clip.classify", kwargs={"image": image, "labels": LABELS}, app=plain)
    theirs = signature("backend.best_label", app=plain, queue="user")
    best = chain(ours, theirs, app=plain).apply_async().get(timeout=WAIT_S)
    # then
    assert best == client.classify(image, LABELS).get(WAIT_S).predictions[0].label


@pytest.mark.slow
def test_a_foreign_task_on_a_shared_queue_is_put_back_for_the_worker_it_is_meant_for(
    redis_url, backend_worker, tmp_path, plain
):
    # given our worker alone on a queue where it finds a user's task
    with WorkerProcess(
        redis_url, tmp_path, app="own_app", environment={"PATIENCE_S": "60"}, queue="user"
    ) as ours:
        answer = {"predictions": [{"label": "cat"}]}
        task = plain.send_task("backend.best_label", args=[answer], queue="user")
        ours.wait_for_log("Put back the task 'backend.best_label'")
        # when the user's worker comes
        backend_worker.start()
        # then
        assert task.get(timeout=WAIT_S) == "cat"


@pytest.mark.slow
def test_a_foreign_task_goes_to_the_idle_worker_that_knows_it_and_not_to_the_dead_letters(
    redis_url, backend_worker, tmp_path, plain
):
    # given our worker, which has waited for longest, and then the user's, on one queue
    with WorkerProcess(redis_url, tmp_path, queue="user") as ours:
        ours.wait_for_log(" ready.")
        backend_worker.start()
        wait_until(lambda: "user@" in str(plain.control.ping(timeout=1.0)))
        # when
        answer = {"predictions": [{"label": "cat"}]}
        args = {"args": [answer], "queue": "user"}
        tasks = [plain.send_task("backend.best_label", **args) for _ in range(5)]
        # then
        assert [task.get(timeout=WAIT_S) for task in tasks] == ["cat"] * 5


def test_one_bad_image_fails_alone_with_its_code(running_worker, tmp_path, client):
    # given
    good = [path.as_uri() for path in write_zoo(tmp_path / "zoo", 9, seed=4)]
    text = tmp_path / "text.jpg"
    text.write_text("This is no picture.")
    images = [*good[:5], text.as_uri(), *good[5:], (tmp_path / "missing.jpg").as_uri(), "cat.jpg"]
    # when
    outcomes = dict(client.classify_many(images, LABELS, timeout=WAIT_S))
    # then
    codes = [outcomes[i].error.code if outcomes[i].error else None for i in range(len(images))]
    expected = [None] * 5 + ["DECODE_UNRECOGNIZED"] + [None] * 4 + ["FILE_NOT_FOUND", "BAD_URI"]
    assert codes == expected
