"""Fetching over TLS: the name is checked although the connection goes to an address."""

from __future__ import annotations

import shutil
import ssl
import subprocess

import pytest
from support.failure import code_of, failure_of
from support.fetching import TO_LOOPBACK, fetcher
from support.scripted_server import answering, response, scripted_server

from clip_worker.errors import ImageUnavailableError

NAME = "pictures.example"

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for NAME that is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    command += ["-addext", f"subjectAltName=DNS:{NAME}"]
    command += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture
def trusting(certificate):
    context = ssl.create_default_context(cafile=str(certificate[0]))
    return fetcher(TO_LOOPBACK | {"ssl_context": context})


def test_the_name_in_the_url_is_requested_and_verified(tls, trusting):
    with scripted_server(answering(response(b"picture")), tls) as server:
        assert trusting.fetch(server.url(host=NAME, scheme="https")) == b"picture"

        assert server.names == [NAME]


@pytest.mark.parametrize("host", ["other.example", "127.0.0.1"])
def test_a_certificate_is_rejected_for_another_name_and_for_the_address(tls, trusting, host):
    with scripted_server(answering(response(b"picture")), tls) as server:
        failure = failure_of(trusting.fetch, server.url(host=host, scheme="https"))

        assert (type(failure), failure.code) == (ImageUnavailableError, "FETCH_TLS")
        assert "certificate" in failure.message
        assert server.heads == []


def test_a_certificate_of_an_unknown_authority_is_rejected(tls):
    with scripted_server(answering(response(b"picture")), tls) as server:
        url = server.url(host=NAME, scheme="https")
        assert code_of(fetcher(TO_LOOPBACK).fetch, url) == "FETCH_TLS"


def test_a_redirect_from_https_to_http_is_refused(tls, trusting):
    with scripted_server(answering(response(b"picture"))) as plain:
        moved = response(status="302 Found", Location=plain.url(host=NAME))
        with scripted_server(answering(moved), tls) as server:
            code = code_of(trusting.fetch, server.url(host=NAME, scheme="https"))

        assert code == "FETCH_BAD_REDIRECT"
        assert plain.heads == []


def test_a_redirect_from_http_to_https_is_followed(tls, trusting):
    with scripted_server(answering(response(b"picture")), tls) as secure:
        moved = response(status="301 Moved", Location=secure.url(host=NAME, scheme="https"))
        with scripted_server(answering(moved)) as server:
            assert trusting.fetch(server.url(host=NAME)) == b"picture"
