"""Fetching over TLS: the name is checked although the connection goes to an address."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from ipaddress import ip_network

import pytest
from support.scripted_server import answering, response, scripted_server

from worker.errors import ImageUnavailableError
from worker.sources import Fetcher, FetchPolicy

NAME = "pictures.example"
LOOPBACK = FetchPolicy(allow_networks=(ip_network("127.0.0.0/8"),))

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
def fetcher(certificate):
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    return Fetcher(LOOPBACK, resolver=lambda _host, _port: ["127.0.0.1"], ssl_context=trusting)


def test_the_name_in_the_url_is_asked_for_and_verified(tls, fetcher):
    with scripted_server(answering(response(b"picture")), tls) as server:
        assert fetcher.fetch(server.url(host=NAME, scheme="https")) == b"picture"

        assert server.names == [NAME]


def test_a_certificate_of_another_name_is_refused(tls, fetcher):
    with scripted_server(answering(response(b"picture")), tls) as server:
        with pytest.raises(ImageUnavailableError, match="certificate") as caught:
            fetcher.fetch(server.url(host="other.example", scheme="https"))

        assert caught.value.code == "FETCH_TLS"
        assert server.heads == []


def test_a_certificate_is_not_accepted_for_the_address_dialled(tls, fetcher):
    with scripted_server(answering(response(b"picture")), tls) as server:
        with pytest.raises(ImageUnavailableError) as caught:
            fetcher.fetch(server.url(scheme="https"))

        assert caught.value.code == "FETCH_TLS"


def test_a_certificate_of_an_unknown_authority_is_refused(tls):
    stranger = Fetcher(LOOPBACK, resolver=lambda _host, _port: ["127.0.0.1"])
    with scripted_server(answering(response(b"picture")), tls) as server:
        with pytest.raises(ImageUnavailableError) as caught:
            stranger.fetch(server.url(host=NAME, scheme="https"))

        assert caught.value.code == "FETCH_TLS"


def test_a_redirect_from_https_to_http_is_refused(tls, fetcher):
    with scripted_server(answering(response(b"picture"))) as plain:
        moved = response(status="302 Found", Location=plain.url(host=NAME))
        with (
            scripted_server(answering(moved), tls) as server,
            pytest.raises(ImageUnavailableError) as caught,
        ):
            fetcher.fetch(server.url(host=NAME, scheme="https"))

        assert caught.value.code == "FETCH_BAD_REDIRECT"
        assert plain.heads == []


def test_a_redirect_from_http_to_https_is_followed(tls, fetcher):
    with scripted_server(answering(response(b"picture")), tls) as secure:
        moved = response(status="301 Moved", Location=secure.url(host=NAME, scheme="https"))
        with scripted_server(answering(moved)) as server:
            assert fetcher.fetch(server.url(host=NAME)) == b"picture"
