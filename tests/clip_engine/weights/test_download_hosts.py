"""Mirrors, proxies and redirects; and credentials, which no message shows."""

from __future__ import annotations

import base64
import logging
import re

import pytest
from support.scripted_server import answering, response
from support.weights_server import DATA, WeightsServer, fetch, published, ranges

FAR = published("http://publisher.invalid/")


def header(head: str, name: str) -> str | None:
    found = re.search(rf"^{name}: (.*)\r$", head, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else None


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


# --- mirrors ---


def test_a_mirror_is_used_instead_of_the_publisher(cache, serve):
    server = serve()

    fetch(FAR, cache, mirror=server.url("/clip"))

    assert server.paths == [f"/clip/{FAR.sha256}/tiny.pt"]
    assert header(server.heads[0], "authorization") is None


def test_a_mirrors_name_and_password_are_sent_with_each_request(cache, serve):
    server = serve(WeightsServer(break_after=[100_000]))
    mirror = server.url("/clip", host="anna:p%40ss%3Aword@127.0.0.1")

    assert fetch(FAR, cache, mirror=mirror).read_bytes() == DATA

    assert ranges(server) == [0, 100_000]
    assert {header(head, "authorization") for head in server.heads} == {basic("anna:p@ss:word")}


def test_a_redirect_to_another_host_does_not_send_the_password_there(cache, serve):
    other = serve()
    server = serve(answering(response(status="302 Found", Location=other.url("/moved"))))

    fetch(FAR, cache, mirror=server.url(host="anna:secret@localhost"))

    assert header(server.heads[0], "authorization") == basic("anna:secret")
    assert other.paths == ["/moved"]
    assert header(other.heads[0], "authorization") is None


@pytest.mark.parametrize("status", ["404 Not Found", "503 Busy", "200 OK"])
def test_a_mirrors_password_is_in_no_message(serve, failure, status, caplog):
    caplog.set_level(logging.DEBUG, "clip_engine")
    server = serve(answering(response(b"<html>", status)))

    _, message = failure(FAR, mirror=server.url(host="anna:secret@127.0.0.1"))

    assert server.url() in message
    assert "secret" not in message + caplog.text


def test_the_password_of_an_invalid_url_is_not_shown(failure):
    _, message = failure(FAR, mirror="ftp://anna:secret@mirror.example")

    assert "'ftp://***@mirror" in message
    assert "secret" not in message


# --- proxies ---


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_the_environments_proxy_is_used_but_for_the_hosts_of_no_proxy(
    cache, serve, monkeypatch, scheme
):
    server = serve()
    monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{server.port}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    near = published(server.url())

    fetch(near, cache / "near")
    fetch(FAR, cache / "far")

    assert server.paths == [f"/{near.sha256}/tiny.pt", FAR.url]


def test_a_proxys_credentials_are_sent_to_the_proxy(cache, serve, monkeypatch):
    server = serve()
    monkeypatch.setenv("http_proxy", server.url(host="bert:pr%2Foxy@127.0.0.1"))

    fetch(FAR, cache)

    assert header(server.heads[0], "proxy-authorization") == basic("bert:pr/oxy")


@pytest.mark.parametrize(
    "proxy", ["socks5://bert:secret@127.0.0.1:1", "http://[::1", "http://127.0.0.1:port"]
)
def test_a_proxy_that_cant_be_used_is_reported(failure, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)

    _, message = failure(FAR)

    assert message.startswith("The environment's http proxy '")
    assert "secret" not in message


def test_an_endless_redirect_is_reported(serve, failure):
    def script(_head, connection):
        connection.sendall(response(status="302 Found", Location="/again", Connection="close"))

    assert "too many redirects" in failure(published(serve(script).url()))[1]
