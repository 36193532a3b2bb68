"""What is installed without the extra `worker`, with a worker of another installation."""

from __future__ import annotations

import pytest
from support.client_install import ROOT, link_client_packages, run_client

pytestmark = pytest.mark.integration
BALLOON = str(ROOT / "clip_engine" / "demo" / "images" / "balloon.webp")
LABELS = ["pink circle", "blue circle"]
SCRIPT = f"""
import sys
from pathlib import Path
from clip_worker import Client, ImageInvalidError

with Client(sys.argv[1]) as client:
    image = client.upload(Path(sys.argv[2]))
    print(client.classify(image, {LABELS}, k=1).get(timeout=60).predictions[0].label)
    [(_, outcome)] = client.classify_many([image], {LABELS}, k=1, timeout=60)
    print(outcome.result.predictions[0].label)
    try:
        client.classify("data:,none", {LABELS}).get(timeout=60)
    except ImageInvalidError as error:
        print(error.code)
"""


def test_it_uploads_classifies_and_reads_errors(running_worker, redis_url, tmp_path):
    link_client_packages(tmp_path / "client")

    done = run_client(tmp_path / "client", "-W", "error", "-c", SCRIPT, redis_url, BALLOON)

    assert done.stderr == ""
    assert done.stdout.splitlines() == [LABELS[0], LABELS[0], "DECODE_UNRECOGNIZED"]


def test_its_command_prints_a_table(running_worker, redis_url, tmp_path):
    link_client_packages(tmp_path / "client")
    arguments = ["classify", BALLOON, "--labels", ",".join(LABELS), "-k", "1"]

    done = run_client(
        tmp_path / "client", "-m", "worker.cli", *arguments, CLIP_WORKER_REDIS_URL=redis_url
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:3] == [BALLOON, "pink", "circle"]
