"""Models by name: what is refused, and how each refusal reads."""

from __future__ import annotations

import errno
import os
import socket
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.hub_files import CLIP, FILES, SECRET, TAG
from support.hub_server import Hub, hub_server

from clip_engine.errors import DownloadError, ModelNotFoundError
from clip_engine.weights import hub as hub_module
from clip_engine.weights import locate, open_clip_tags
from clip_engine.weights.locate import locate_model


def test_each_refusal_of_the_hub_is_one_sentence_with_a_remedy(hub: Hub) -> None:
    hub.add("org/gated", FILES, gated=True)
    hub.add("org/private", FILES, token="another")
    hub.add("org/text", {"README.md": b""})
    hub.add(CLIP, FILES)
    for name, error, said in (
        ("org/none", ModelNotFoundError, "There is no repository 'org/none' at http"),
        ("org/private", ModelNotFoundError, "it is private; check the name, or set HF_TOKEN"),
        ("org/gated", DownloadError, "gated; accept its terms"),
        ("org/text", DownloadError, "no weights that this package reads (it has README.md)"),
        (f"{CLIP}@v9", ModelNotFoundError, "has no revision 'v9'; give a branch, a tag"),
        ("hf-hub:a/b/c", ModelNotFoundError, "'a/b/c' is not the name of a repository"),
    ):
        with pytest.raises(error) as caught:
            locate_model(name)
        _is_one_sentence_with(str(caught.value), said)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (200, b"<html>log in</html>", "doesn't answer as a Hugging Face hub"),
        (200, b"{}", "doesn't answer as a Hugging Face hub"),
        (200, b"[]", "doesn't answer as a Hugging Face hub"),
        (401, b"", "(status 401); check that HF_TOKEN is valid"),
        (403, b"", "(status 403); check that HF_TOKEN is valid"),
        (429, b"", "(status 429); try again later"),
        (503, b"", "(status 503); try again later"),
    ],
)
def test_whatever_the_endpoint_answers_is_one_sentence_without_the_token(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, said: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    hub.answer = (status, body)
    with pytest.raises(DownloadError) as caught:
        locate_model(CLIP)
    _is_one_sentence_with(str(caught.value), said)


def test_an_endpoint_that_is_not_there_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with hub_server() as gone:
        pass
    gone.url = gone.url.replace("//", f"//anna:{SECRET}@")
    gone.use(monkeypatch, tmp_path)
    with pytest.raises(DownloadError) as caught:
        locate_model(CLIP)
    _is_one_sentence_with(str(caught.value), "can't be reached")


def test_an_endpoint_that_takes_connections_and_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(hub_module, "ANSWER_TIMEOUT_S", 0.2)
    with hub_server() as hub, socket.create_server(("127.0.0.1", 0)) as silent:
        hub.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        hub.use(monkeypatch, tmp_path)
        with pytest.raises(DownloadError) as caught:
            locate_model(CLIP)
    _is_one_sentence_with(str(caught.value), "can't be reached")


@pytest.mark.parametrize("by", ["the argument", "HF_HUB_OFFLINE"])
def test_what_is_not_cached_is_refused_offline_without_a_request(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    from huggingface_hub import constants

    hub.add(CLIP, FILES)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", by == "HF_HUB_OFFLINE")
    with pytest.raises(DownloadError) as caught:
        locate_model(CLIP, offline=by == "the argument")
    _is_one_sentence_with(str(caught.value), f"The files of '{CLIP}' are not all in the cache")
    assert hub.requests == []


def test_a_half_downloaded_model_is_completed(hub: Hub) -> None:
    # given
    hub.add(CLIP, FILES)
    (locate_model(CLIP).path / "model.safetensors").unlink()
    # then
    with pytest.raises(DownloadError, match="not all in the cache"):
        locate_model(CLIP, offline=True)
    assert (locate_model(CLIP).path / "model.safetensors").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "is full (No space left on device); free some space, or set HF_HUB_CACHE"),
        (errno.EACCES, "can't be used as a cache (Permission denied); set HF_HUB_CACHE"),
    ],
)
def test_a_disk_that_cannot_be_written_is_one_sentence(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    hub.add(CLIP, FILES)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(DownloadError) as caught:
        locate_model(CLIP)
    _is_one_sentence_with(str(caught.value), said)


def test_what_another_program_downloaded_is_used_offline(hub: Hub) -> None:
    from huggingface_hub import hf_hub_download

    hub.add(CLIP, FILES)
    for name in ("config.json", "model.safetensors"):
        hf_hub_download(CLIP, name)
    hub.requests.clear()
    located = locate_model(CLIP, offline=True)
    assert (located.path / "model.safetensors").read_bytes() == b"weights"
    assert hub.requests == []


def test_a_branch_is_not_said_to_be_up_to_date_where_the_hub_could_not_be_asked(hub: Hub) -> None:
    hub.add(CLIP, FILES)
    locate_model(CLIP)
    hub.answer = (503, b"")
    assert locate_model(CLIP).revision is not None
    with pytest.raises(DownloadError, match="status 503"):
        locate_model(CLIP, refresh=True)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ViT-B-32", "ViT-B/32"),
        ("vit-l/14@336", "ViT-L/14@336px"),
        ("Demo", "demo"),
        ("ViT-B-16-SigLIP2-256/web", TAG),
        ("ViT-B-16-SigLIP-256/datacomp", "ViT-B-16-SigLIP-256/webli"),
    ],
)
def test_a_near_miss_gets_the_name_that_was_meant(hub: Hub, name: str, meant: str) -> None:
    with pytest.raises(ModelNotFoundError, match=f"Did you mean '{meant}'"):
        locate_model(name)


@pytest.mark.parametrize(
    "name", ["model.pt", "./none", "some/model.safetensors", "a b/c", "x" * 300]
)
def test_what_can_be_no_name_is_refused_without_a_request(hub: Hub, name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"Unknown model .* or the path of a checkpoint"):
        locate_model(name)
    assert hub.requests == []


@pytest.mark.parametrize(
    ("missing", "name"), [("huggingface_hub", CLIP), ("open_clip", TAG), ("open_clip", f"{TAG}@v1")]
)
def test_without_the_extra_a_name_of_the_hub_names_it(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, missing: str, name: str
) -> None:
    _hide(monkeypatch, missing)
    with pytest.raises(ModelNotFoundError, match=r"install clip-worker\[models\]"):
        locate_model(name)
    assert hub.requests == []


def test_without_open_clip_a_near_miss_gets_a_name_of_the_known_models(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hide(monkeypatch, "open_clip")
    with pytest.raises(ModelNotFoundError, match=f"Did you mean '{TAG}'"):
        locate_model("ViT-B-16-SigLIP2-256/web")


def _hide(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Let a module be one that isn't installed."""
    for module in (locate, open_clip_tags):
        monkeypatch.setattr(
            module, "find_spec", lambda name: None if name == missing else find_spec(name)
        )


def _is_one_sentence_with(message: str, said: str) -> None:
    assert said in message
    assert "\n" not in message
    assert message.endswith(".")
    assert SECRET not in message
