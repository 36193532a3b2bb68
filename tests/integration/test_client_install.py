"""What is installed without the extra `worker`, with a worker of another installation."""

from __future__ import annotations

import pytest
from support.client_install import link_client_packages, run_client

from benchmarks.client_install import BALLOON, PRINTED, ROUND_TRIP

pytestmark = [pytest.mark.integration, pytest.mark.slow]
LABELS = ["pink circle", "blue circle"]


def test_it_uploads_classifies_and_reads_errors(running_worker, redis_url, tmp_path):
    link_client_packages(tmp_path / "client")

    done = run_client(tmp_path / "client", "-W", "error", "-c", ROUND_TRIP, redis_url, str(BALLOON))

    assert done.stderr == ""
    assert done.stdout.splitlines() == PRINTED


def test_its_command_prints_a_table(running_worker, redis_url, tmp_path):
    link_client_packages(tmp_path / "client")
    arguments = ["classify", str(BALLOON), "--labels", ",".join(LABELS), "-k", "1"]

    done = run_client(
        tmp_path / "client", "-m", "worker.cli", *arguments, CLIP_WORKER_REDIS_URL=redis_url
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[:3] == [str(BALLOON), "pink", "circle"]
