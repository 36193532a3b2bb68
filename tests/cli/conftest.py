"""`clip-worker models` with a cache in a temporary folder, and a publisher on loopback."""

from __future__ import annotations

import json
import os
from types import MappingProxyType

import pytest
from huggingface_hub import constants
from support.hub_server import hub_server
from support.scripted_server import scripted_server
from support.weights_server import WeightsServer, published

from clip_engine.weights import locate
from clip_engine.weights.catalog import Published
from worker.cli.entry import run
from worker.cli.models import info, verify
from worker.cli.models import list as listing


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def models(cache, monkeypatch, capsys):
    """Runs `clip-worker models`; its exit status, and the lines of its output and errors."""
    for name in list(os.environ):
        if name.upper().startswith("CLIP_WORKER_") or name.lower() in ("http_proxy", "all_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CLIP_WORKER_CACHE_DIR", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))

    def models(*arguments: object):
        status = run(["models", *map(str, arguments)])
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return models


@pytest.fixture
def described(models):
    """The description of a model, as JSON."""

    def described(model):
        status, [line], errors = models("info", model, "--json")
        assert (status, errors) == (0, [])
        return json.loads(line)

    return described


@pytest.fixture
def publish(monkeypatch):
    """Makes these the only entries of the catalog."""

    def publish(*entries: Published):
        catalog = MappingProxyType({entry.name: entry for entry in entries})
        for module in (locate, listing, verify, info):
            monkeypatch.setattr(module, "PUBLISHED", catalog)
        for module in (listing, verify):
            monkeypatch.setattr(module, "known_models", list)

    return publish


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hugging Face hub that this process uses, with an empty cache."""
    with hub_server() as hub:
        hub.use(monkeypatch, tmp_path / "hub-home")
        yield hub


@pytest.fixture
def server():
    with scripted_server(WeightsServer()) as server:
        yield server


@pytest.fixture
def tiny(publish, server):
    """The catalog's only entry, 300,000 bytes that are not a model."""
    entry = published(server.url())
    publish(entry)
    return entry
