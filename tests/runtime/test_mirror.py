"""Weights from a mirror, and none at all: the settings, and the way from them to the loader."""

from __future__ import annotations

import io
import os
import re
from types import MappingProxyType

import pytest
import torch
from support.scripted_server import scripted_server
from support.tiny_clip import TINY_VIT, openai_state
from support.weights_server import WeightsServer, published

from clip_engine.errors import DownloadError
from clip_engine.loader import load_engine
from clip_engine.weights import locate
from clip_worker.errors import InvalidRequestError, ServiceError
from worker.health.service import HealthService
from worker.mirror_url import EXAMPLE, check_mirror_url
from worker.runtime import state as runtime
from worker.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.upper().startswith("CLIP_WORKER_") or name.lower() in ("http_proxy", "all_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    """A small CLIP model as `torch.save` writes it."""
    file = io.BytesIO()
    torch.save(openai_state(), file)
    return file.getvalue()


@pytest.fixture
def entry(checkpoint, monkeypatch):
    """The catalog's only entry: that model, at a publisher who is not there."""
    entry = published("http://publisher.invalid/", checkpoint)
    monkeypatch.setattr(locate, "PUBLISHED", MappingProxyType({"tiny": entry}))
    return entry


# --- the loader ---


def test_the_loader_fetches_from_the_mirror_and_later_needs_none(entry, checkpoint, tmp_path):
    with scripted_server(WeightsServer(checkpoint)) as server:
        engine = load_engine("tiny", cache_dir=tmp_path, mirror=server.url("/clip"))

        assert server.paths == [f"/clip/{entry.sha256}/tiny.pt"]

    assert engine.model.clip.config == TINY_VIT
    assert (engine.identity.name, engine.identity.digest) == ("tiny", entry.sha256)
    assert load_engine("tiny", cache_dir=tmp_path, offline=True).identity == engine.identity


def test_the_loader_fetches_nothing_offline(entry, tmp_path):
    with scripted_server(WeightsServer()) as server:
        with pytest.raises(DownloadError, match="downloads are disabled"):
            load_engine("tiny", cache_dir=tmp_path, mirror=server.url(), offline=True)

        assert server.heads == []


# --- the settings ---


def test_the_worker_fetches_from_the_mirror_of_its_settings(
    entry, checkpoint, tmp_path, monkeypatch
):
    with scripted_server(WeightsServer(checkpoint)) as server:
        for name, value in {
            "MODEL": "tiny", "CACHE_DIR": str(tmp_path), "MIRROR": server.url("/clip/"),
            "DEVICE": "cpu", "REPLICAS": "1", "MAX_BATCH": "1",
        }.items():  # fmt: skip
            monkeypatch.setenv(f"CLIP_WORKER_{name}", value)

        here = runtime.start(Settings.load(), HealthService(Settings.load()))
        runtime.stop()

        assert server.paths == [f"/clip/{entry.sha256}/tiny.pt"]
    assert here.engine.identity.digest == entry.sha256


def test_an_offline_worker_without_weights_says_where_to_put_them(entry, tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_WORKER_OFFLINE", "true")
    settings = Settings.load(model="tiny", cache_dir=tmp_path / "cache", device="cpu", replicas=1)

    with pytest.raises(ServiceError) as caught:
        runtime.start(settings, HealthService(settings))

    assert caught.value.code == "MODEL_UNAVAILABLE"
    assert f"{tmp_path / 'cache' / 'tiny.pt'} doesn't exist" in caught.value.message
    assert entry.url in caught.value.message


def test_by_default_there_is_no_mirror_and_the_network_is_used(monkeypatch):
    monkeypatch.setenv("CLIP_WORKER_MIRROR", "")

    assert (Settings.load().mirror, Settings.load().offline) == (None, False)


WRONG = (
    "mirror.example", "ftp://mirror.example/clip", "file:///mnt/clip", "http://", "https://[::1",
    "https://mirror.example:port", "https://mirror.example/clip?token=1", "https://a.example/#b",
    "https://mirror.example/a b", "https://mirror.example/\n",
)  # fmt: skip


@pytest.mark.parametrize("url", WRONG)
def test_a_wrong_mirror_is_named_with_what_would_be_right(url, monkeypatch):
    with pytest.raises(InvalidRequestError, match=re.escape(EXAMPLE)) as caught:
        check_mirror_url(url)
    assert caught.value.code == "BAD_MIRROR"

    monkeypatch.setenv("CLIP_WORKER_MIRROR", url)
    monkeypatch.setenv("CLIP_WORKER_OFFLINE", "perhaps")
    with pytest.raises(SettingsError) as reported:
        Settings.load()
    mirror, offline = reported.value.message.splitlines()
    assert mirror.startswith(f"CLIP_WORKER_MIRROR is {url!r}: give an http or https URL")
    assert offline.startswith("CLIP_WORKER_OFFLINE is 'perhaps': ")


def test_a_wrong_mirrors_password_is_not_shown(monkeypatch):
    monkeypatch.setenv("CLIP_WORKER_MIRROR", "https://anna:secret@mirror.example/?a")

    with pytest.raises(SettingsError) as reported:
        Settings.load()

    assert "anna:***@mirror.example" in reported.value.message


@pytest.mark.parametrize(
    "url", ["http://10.0.0.7:8080", "https://anna:secret@mirror.example/clip/", "http://[::1]/a"]
)
def test_a_mirror_may_have_a_port_a_password_and_any_host(url):
    assert check_mirror_url(url) == url
