"""What the tests of downloads share: an empty cache, servers, and the error of a failure."""

from __future__ import annotations

import contextlib

import pytest
from support.hub_server import hub_server
from support.scripted_server import scripted_server
from support.weights_server import WeightsServer, fetch

from clip_engine.errors import DownloadError


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def cache(tmp_path):
    """A cache folder that doesn't exist yet."""
    return tmp_path / "cache"


@pytest.fixture
def serve():
    """Starts servers that run until the test ends; by default one that hands out the weights."""
    with contextlib.ExitStack() as stack:
        yield lambda script=None: stack.enter_context(scripted_server(script or WeightsServer()))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty hub that this process uses, with an empty cache."""
    with hub_server() as hub:
        hub.use(monkeypatch, tmp_path / "hub-home")
        yield hub


@pytest.fixture
def failure(cache):
    """The error of a download that fails, and its one-line message."""

    def fail(entry, folder=cache, **options: object):
        with pytest.raises(DownloadError) as caught:
            fetch(entry, folder, **options)
        assert "\n" not in str(caught.value)
        assert "Max retries" not in str(caught.value)
        return caught.value, str(caught.value)

    return fail
