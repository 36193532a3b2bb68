"""The Node recipe: npm's `celery-node`, a real worker, Redis with and without TLS."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from support.recipe import EXAMPLES, run
from support.redis_tls import tls_server
from support.worker_process import WorkerProcess

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("npm"), reason="npm and node are not installed"),
]

UNREACHABLE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH")


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The recipe with its packages, from the registry that npm is configured for."""
    folder = tmp_path_factory.mktemp("node") / "recipe"
    shutil.copytree(EXAMPLES / "node", folder, ignore=shutil.ignore_patterns("node_modules"))
    command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
    installed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if any(code in installed.stderr for code in UNREACHABLE):
        pytest.skip("npm's registry can't be reached")
    assert installed.returncode == 0, installed.stderr
    return str(folder / "index.js")


def best_label(printed):
    return json.loads(printed)[0]["label"]


def test_the_promise_resolves_to_the_classification_or_is_rejected_with_the_error(
    script, redis_url, image, image_uri, tmp_path
):
    # a file, and a URI
    for photo in (str(image.path), image_uri):
        printed = run("node", script, photo, *image.labels, REDIS_URL=redis_url)
        assert best_label(printed) == image.answer

    # another score
    printed = run("node", script, image_uri, *image.labels, REDIS_URL=redis_url, SCORE="cosine")
    assert -1 <= json.loads(printed)[0]["score"] <= 1

    # no image, no request, too large a file, no Redis
    page = tmp_path / "page.jpg"
    page.write_text("<html>")
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(1_000_001))
    for url, photo, labels, *expected in [
        (redis_url, page, image.labels, "ImageInvalidError: ", " [DECODE_UNRECOGNIZED]"),
        (redis_url, image.path, ["cat", "cat"], "InvalidRequestError: ", " [DUPLICATE_LABEL]"),
        (redis_url, large, image.labels, "has 1000001 bytes"),
        ("redis://127.0.0.1:1/0", image.path, image.labels, "ECONNREFUSED"),
    ]:
        printed = run("node", script, str(photo), *labels, status=1, REDIS_URL=url)
        assert all(part in printed for part in expected), printed


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificates")
def test_it_speaks_tls_to_redis(script, image, tmp_path):
    with tls_server(tmp_path) as tls, WorkerProcess(tls.server.url, tmp_path):
        printed = run(
            *("node", script, str(image.path), *image.labels),
            REDIS_URL=tls.url(),
            NODE_EXTRA_CA_CERTS=str(tls.authority),
        )
        assert best_label(printed) == image.answer


def test_it_signs_for_workers_that_take_signed_messages_only(script, server, image, tmp_path):
    command, key = ("node", script, str(image.path), *image.labels), "0f" * 32
    with WorkerProcess(server.url, tmp_path, signing_keys=key):
        printed = run(*command, REDIS_URL=server.url, SIGNING_KEY=key)
        assert best_label(printed) == image.answer
        assert "[BAD_SIGNATURE]" in run(*command, status=1, REDIS_URL=server.url)
