"""A real Prometheus scrapes a real worker and exporter: the dashboard shows it, alerts see it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from support.deploy_tools import find_tool
from support.metric_names import ALERTS, alert_rules, dashboard_expressions
from support.ports import free_port
from support.redis_server import RedisServer
from support.waiting import LIMIT_S, wait_until
from support.worker_process import WorkerProcess, clean_environment

from clip_worker import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LABELS = ["a red circle", "a blue square"]
IMAGES = Path(__file__).parents[2] / "clip_engine" / "demo" / "images"
SCRAPE_S = 1


@contextmanager
def running(*command: str, log: Path) -> Iterator[None]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env=clean_environment(), start_new_session=True
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


class Prometheus:
    """A Prometheus of the test's own, which scrapes ports of this machine."""

    def __init__(self, folder: Path, jobs: dict[str, int]) -> None:
        self.port = free_port()
        self._folder = folder
        self._config = folder / "prometheus.yml"
        targets = {job: [f"127.0.0.1:{port}"] for job, port in jobs.items()}
        config = {
            "global": {"scrape_interval": f"{SCRAPE_S}s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": urls}]}
                for job, urls in targets.items()
            ],
        }
        self._config.write_text(yaml.safe_dump(config))

    @contextmanager
    def run(self) -> Iterator[None]:
        command = (
            find_tool("prometheus"),
            f"--config.file={self._config}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        with running(*command, log=self._folder / "prometheus.log"):
            yield

    def query(self, expr: str) -> list[dict]:
        """The result now; nothing while Prometheus starts."""
        question = urllib.parse.urlencode({"query": expr})
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{question}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    def wait_for(self, expr: str) -> list[dict]:
        wait_until(lambda: self.query(expr), lambda: f"nothing for {expr}")
        return self.query(expr)

    def missing(self) -> list[str]:
        """The expressions of the dashboard that have no data, although they should."""
        return [
            expr
            for expr in map(filled_in, dashboard_expressions())
            if not (self.query(expr) or is_without_data(expr))
        ]


def filled_in(expr: str) -> str:
    return expr.replace("$__rate_interval", "30s").replace("$queue", ".*")


@pytest.fixture
def ports() -> dict[str, int]:
    return {"clip-worker": free_port(), "clip-worker-exporter": free_port()}


def test_the_dashboard_has_data_and_alerts_see_redis_go(
    server: RedisServer, ports: dict[str, int], tmp_path: Path
):
    # given a worker, an exporter and a Prometheus that scrapes both
    prometheus = Prometheus(tmp_path, ports)
    exporter = (
        sys.executable, "-m", "worker.cli", "exporter",
        "--redis-url", server.url, "--port", str(ports["clip-worker-exporter"]),
        "--address", "127.0.0.1",
    )  # fmt: skip
    worker = WorkerProcess(
        server.url,
        tmp_path,
        metrics_port=str(ports["clip-worker"]),
        metrics_address="127.0.0.1",
        embedding_store=server.url,
    )
    with worker, running(*exporter, log=tmp_path / "exporter.log"), prometheus.run():
        prometheus.wait_for('count(up{job=~"clip-worker.*"} == 1) == 2')
        # when it works for some scrapes
        classify(server.url, rounds=5)
        prometheus.wait_for("sum(clip_worker_images_total) >= 50")
        classify(server.url, rounds=5)
        prometheus.wait_for("sum(rate(clip_worker_images_total[30s])) > 0")
        # then each panel has data, but for what did not happen here
        wait_until(lambda: not prometheus.missing(), lambda: f"no data: {prometheus.missing()}")
        # and no alert fires or is about to, once scrapes are in time
        wait_until(lambda: prometheus.query("ALERTS") == [], lambda: prometheus.query("ALERTS"))

        # when Redis goes
        server.kill()
        # then the alerts about it see that, from the worker and from the exporter
        for name, instances in (("ClipWorkerRedisAway", 2), ("ClipWorkerQueueUnknown", 1)):
            rule = next(each for each in alert_rules() if each["alert"] == name)
            found = prometheus.wait_for(f"count({rule['expr']}) == {instances}")
            assert found, name


def classify(url: str, rounds: int) -> None:
    paths = sorted(IMAGES.iterdir())
    with Client(url) as client:
        for _ in range(rounds):
            handles = [client.classify(client.upload(path), LABELS, k=1) for path in paths]
            for handle in handles:
                handle.get(timeout=LIMIT_S)


def is_without_data(expr: str) -> bool:
    """What this run doesn't have: webhooks, a GPU, failures, and fetches that are tried again."""
    return any(part in expr for part in ("_webhooks_", "_gpu_", "by (code)"))
