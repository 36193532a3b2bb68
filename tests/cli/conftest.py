"""`clip-worker models` with a cache in a temporary folder, and a publisher on loopback."""

from __future__ import annotations

import json
import os
from types import MappingProxyType

import pytest
from support.scripted_server import scripted_server
from support.weights_server import WeightsServer, published

from clip_engine.weights.catalog import Published
from worker.cli.entry import run
from worker.cli.models import info, options, verify
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
        for module in (options, listing, verify, info):
            monkeypatch.setattr(module, "PUBLISHED", catalog)

    return publish


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
