"""Redis over TLS: what is checked of its certificate, by us, by kombu and by Celery's backend."""

from __future__ import annotations

import asyncio
import gc
import shutil
import subprocess
import sys

import pytest
from celery import signature
from kombu.exceptions import OperationalError
from support.coroutines import put_result, run, until
from support.redis_tls import tls_server
from support.waiting import wait_until
from support.worker_process import WorkerProcess, clean_environment

from clip_worker import AsyncClient, Client
from clip_worker.errors import QueueUnavailableError, ResultTimeoutError

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificates"),
]

LABELS = ["red square", "blue circle"]
LIMIT_S = 60.0
INSPECT_S = 2.0
OTHER_NAME = "127.0.0.1"  # than the certificate's


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    with tls_server(tmp_path_factory.mktemp("tls")) as server:
        server.server.client().flushall()
        yield server


def test_a_worker_and_a_client_meet_over_tls(tls, tmp_path, image_file, monkeypatch):
    # given the plainest URL, and the authority where the system has its own
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.authority))
    with WorkerProcess(tls.url(), tmp_path) as worker, Client(tls.url()) as client:
        # when a task goes the batch path
        client.put_label_set("set", LABELS)
        image = client.upload(image_file.read_bytes(), keep=True)
        assert client.classify(image, label_set="set").get(LIMIT_S).predictions
        assert [position for position, _ in client.classify_many([image], LABELS)] == [0]
        # and one goes Celery's own
        arguments = {"image": image, "labels": LABELS}
        late = signature("clip.classify", kwargs=arguments, app=client._app, countdown=0.1)
        handle = client.handle(late.apply_async(ignore_result=False).id)
        gc.collect()  # Celery's result speaks to Redis when it is collected: while it runs, then
        assert handle.get(LIMIT_S).predictions
        # and an operator looks
        wait_until(client._app.control.inspect(timeout=INSPECT_S).ping)
        assert worker.stop() == 0
        assert "insecure" not in worker.log


@pytest.mark.parametrize("parameters", [{"ssl_ca_certs": "{authority}"}, {"ssl_cert_reqs": "none"}])
def test_the_urls_parameters_say_what_is_checked(tls, parameters):
    given = {name: value.format(authority=tls.authority) for name, value in parameters.items()}
    with Client(tls.url(**given)) as client:
        handle = client.classify("data:,x", LABELS)
        assert handle.state == "PENDING"
        with pytest.raises(ResultTimeoutError):
            handle.get(0.1)
        # and so do kombu and Celery's backend
        with client._app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=LIMIT_S)
        assert client._app.backend.client.ping()


def test_a_certificate_that_nobody_vouches_for_is_refused_by_all(tls):
    with Client(tls.url()) as client:
        with pytest.raises(QueueUnavailableError, match="certificate can't be verified") as caught:
            client.ping()
        assert "ssl_ca_certs=" in caught.value.message
        with (
            client._app.connection_for_write() as broker,
            pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            broker.default_channel.client.ping()
        with pytest.raises(client._app.backend.connection_errors, match="CERTIFICATE_VERIFY"):
            client._app.backend.client.ping()


def test_a_certificate_for_another_name_is_refused_unless_the_name_does_not_matter(tls):
    authority = tls.authority
    with (
        Client(tls.url(OTHER_NAME, ssl_ca_certs=authority)) as client,
        pytest.raises(QueueUnavailableError, match="certificate can't be verified"),
    ):
        client.ping()
    with Client(tls.url(OTHER_NAME, ssl_ca_certs=authority, ssl_check_hostname="false")) as client:
        client.ping()


def test_a_client_shows_the_certificate_that_is_asked_for(tls):
    own = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
    with tls.asking_for_certificates():
        with (
            Client(tls.url(ssl_ca_certs=tls.authority)) as client,
            pytest.raises(QueueUnavailableError),
        ):
            client.ping()
        with Client(tls.url(ssl_ca_certs=tls.authority, **own)) as client:
            client.ping()


def test_worker_clients_and_commands_show_the_certificates_that_their_url_names(
    tls, tmp_path, image, image_file
):
    # given a server that asks for certificates of the test's own authority
    own = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
    url = tls.url(ssl_ca_certs=tls.authority, **own)

    async def answer():
        async with AsyncClient(url) as client:
            return await (await client.classify(image, LABELS)).get(LIMIT_S)

    with tls.asking_for_certificates(), WorkerProcess(url, tmp_path, name="mutual") as worker:
        # then each of them is let in
        with Client(url) as client:
            assert client.classify(image, LABELS).get(LIMIT_S).predictions
        assert run(answer()).predictions
        labels = ("--labels", ",".join(LABELS))
        assert LABELS[0] in shown(url, "classify", str(image_file), *labels)
        assert "mutual@" in shown(url, "status", "--once")
        assert worker.stop() == 0


def shown(url: str, *command: str) -> str:
    """What `clip-worker` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "worker.cli", *command],
        env=clean_environment() | {"CLIP_WORKER_REDIS_URL": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_coroutines_check_the_certificate_likewise(tls):
    authority = {"ssl_ca_certs": tls.authority}
    own = {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}

    async def main():
        async with AsyncClient(tls.url(**authority, **own)) as client:
            await asyncio.gather(*(client.ping() for _ in range(20)))
            waiting = asyncio.ensure_future(client.handle("some-id").get())
            await until(tls.server.client().pubsub_channels)
            put_result(tls.server.client(), "some-id")
            await waiting
            uri = await client.upload(b"x" * 3_000_000)
            assert tls.server.client().exists(f"clip-worker:upload:{uri[16:80]}")
        for url in (tls.url(), tls.url(OTHER_NAME, **authority)):
            async with AsyncClient(url) as client:
                with pytest.raises(QueueUnavailableError, match="certificate can't be verified"):
                    await client.ping()
        unchecked = {"ssl_check_hostname": "false"}
        async with AsyncClient(tls.url(OTHER_NAME, **authority, **unchecked)) as client:
            await client.ping()

    run(main())
