"""Whom weights are fetched from: logins, proxies, redirects, and which of them is shown."""

from __future__ import annotations

import base64
import logging
import re

import pytest
from support.scripted_server import answering, response, scripted_server
from support.weights_server import DATA, WeightsServer, fetch, published

from clip_engine.errors import DownloadError


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def header(head: str, name: str) -> str | None:
    found = re.search(rf"^{name}: (.*)\r$", head, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else None


def basic(login: str) -> str:
    return "Basic " + base64.b64encode(login.encode()).decode()


# --- a mirror's login ---


def test_a_mirrors_name_and_password_are_sent_as_basic_authentication(cache):
    with scripted_server(WeightsServer(break_after=[100_000])) as server:
        mirror = server.url("/clip", host="anna:p%40ss%3Aword@127.0.0.1")

        path = fetch(published("http://publisher.invalid/"), cache, mirror=mirror)

        assert path.read_bytes() == DATA
        sent = [header(head, "authorization") for head in server.heads]
        assert sent == 2 * [basic("anna:p@ss:word")]


def test_nobody_is_told_a_name_that_was_not_given(cache):
    with scripted_server(WeightsServer()) as server:
        fetch(published(server.url()), cache)

        assert header(server.heads[0], "authorization") is None


def test_another_host_that_a_mirror_points_to_is_not_told_the_password(cache):
    with scripted_server(WeightsServer()) as other:
        pointing = answering(response(status="302 Found", Location=other.url("/moved")))
        with scripted_server(pointing) as server:
            mirror = server.url(host="anna:secret@localhost")

            fetch(published("http://publisher.invalid/"), cache, mirror=mirror)

            assert header(server.heads[0], "authorization") == basic("anna:secret")
        assert other.paths == ["/moved"]
        assert header(other.heads[0], "authorization") is None


@pytest.mark.parametrize("status", ["404 Not Found", "503 Busy", "200 OK"])
def test_a_mirrors_password_is_in_no_message(cache, status, caplog):
    caplog.set_level(logging.DEBUG, "clip_engine")
    with scripted_server(answering(response(b"<html>", status))) as server:
        entry, mirror = published("http://a.invalid/"), server.url(host="anna:secret@127.0.0.1")

        with pytest.raises(DownloadError, match=re.escape(server.url())) as caught:
            fetch(entry, cache, mirror=mirror)

    assert "secret" not in str(caught.value) + caplog.text


def test_the_password_of_a_url_that_is_none_is_not_shown(cache):
    with pytest.raises(DownloadError, match=r"'ftp://\*\*\*@mirror") as caught:
        fetch(published("http://a.invalid/"), cache, mirror="ftp://anna:secret@mirror.example")

    assert "secret" not in str(caught.value)


# --- proxies ---


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_a_proxy_may_be_named_without_a_scheme(cache, monkeypatch, scheme):
    with scripted_server(WeightsServer()) as server:
        monkeypatch.setenv("http_proxy", f"{scheme}127.0.0.1:{server.port}")
        entry = published("http://publisher.invalid/")

        fetch(entry, cache)

        assert server.paths == [entry.url]


def test_a_proxy_is_told_its_login_and_not_the_mirrors_host(cache, monkeypatch):
    with scripted_server(WeightsServer()) as server:
        monkeypatch.setenv("http_proxy", server.url(host="bert:pr%2Foxy@127.0.0.1"))

        fetch(published("http://publisher.invalid/"), cache)

        assert header(server.heads[0], "proxy-authorization") == basic("bert:pr/oxy")


@pytest.mark.parametrize(
    "proxy", ["socks5://bert:secret@127.0.0.1:1", "http://[::1", "http://127.0.0.1:port"]
)
def test_a_proxy_that_can_not_be_used_is_one_sentence(cache, monkeypatch, proxy):
    monkeypatch.setenv("http_proxy", proxy)

    with pytest.raises(DownloadError, match=r"^The environment's http proxy '") as caught:
        fetch(published("http://publisher.invalid/"), cache)

    assert "secret" not in str(caught.value)


def test_an_endless_redirect_ends_in_one_sentence(cache):
    def script(_head, connection):
        connection.sendall(response(status="302 Found", Location="/again", Connection="close"))

    with (
        scripted_server(script) as server,
        pytest.raises(DownloadError, match="too many redirects") as caught,
    ):
        fetch(published(server.url()), cache)

    assert "Max retries" not in str(caught.value)
