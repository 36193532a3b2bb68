"""Models by name: what a name is read as, and what is downloaded for it."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.hub_files import CLIP, FILES, SECRET, TAG, TAG_FILES, TAG_REPOSITORY
from support.hub_server import Hub, hub_server

from clip_engine.weights.locate import locate_model

# --- what a name is read as ---


def test_a_repository_is_downloaded_once_with_one_set_of_weights_and_no_code(hub: Hub) -> None:
    # given
    more = {"modeling.py": b"import os", "onnx/model.onnx": b"", "vocab.json": b"{}"}
    commit = hub.add(CLIP, {**FILES, **more})
    # when
    located = locate_model(CLIP)
    # then
    assert (located.name, located.revision) == (CLIP, commit)
    assert sorted(path.name for path in located.path.iterdir()) == [
        "config.json",
        "model.safetensors",
        "vocab.json",
    ]
    # and the second time nobody is asked, however it is called
    hub.requests.clear()
    assert locate_model(CLIP) == located
    assert locate_model(f"hf-hub:{CLIP}@{commit}").path == located.path
    assert locate_model(f"{CLIP}@main", offline=True).path == located.path
    assert hub.requests == []


def test_all_shards_of_the_weights_are_downloaded(hub: Hub) -> None:
    shards = {f"model-0000{n}-of-00002.safetensors": b"%d" % n for n in (1, 2)}
    hub.add(CLIP, {"config.json": b"{}", "model.safetensors.index.json": b"{}", **shards})
    names = {path.name for path in locate_model(CLIP).path.iterdir()}
    assert names == {"config.json", "model.safetensors.index.json", *shards}


def test_a_revision_is_a_branch_a_tag_or_a_commit(hub: Hub) -> None:
    # given
    old = hub.add(CLIP, FILES)
    new = hub.add(CLIP, {**FILES, "model.safetensors": b"better"})
    hub.add(CLIP, {**FILES, "model.safetensors": b"another"}, branch="v2")
    # then
    assert locate_model(f"{CLIP}@{old}").revision == old
    assert locate_model(CLIP).revision == new
    weights = locate_model(f"{CLIP}@v2").path / "model.safetensors"
    assert weights.read_bytes() == b"another"


def test_a_branch_that_moved_is_followed_only_when_asked(hub: Hub) -> None:
    old = hub.add(CLIP, FILES)
    assert locate_model(CLIP).revision == old
    new = hub.add(CLIP, {**FILES, "model.safetensors": b"better"})
    assert locate_model(CLIP).revision == old
    assert locate_model(CLIP, refresh=True).revision == new
    assert locate_model(CLIP, offline=True).revision == new


def test_a_tag_of_open_clip_has_its_weights_architecture_preprocessing_and_tokenizer(
    hub: Hub,
) -> None:
    # given
    commit = hub.add(TAG_REPOSITORY, TAG_FILES)
    # when
    located = locate_model(TAG)
    # then
    assert (located.name, located.architecture) == (TAG, "ViT-B-16-SigLIP2-256")
    assert (located.path.name, located.revision) == ("open_clip_model.safetensors", commit)
    assert located.overrides["resize_mode"] == "squash"
    assert located.overrides["mean"] == (0.5, 0.5, 0.5)
    assert located.companions == {}  # its tokenizer is beside the weights
    assert hub.downloads("open_clip_pytorch_model.bin") == 0


def test_a_text_tower_of_another_repository_brings_its_tokenizer_and_config(hub: Hub) -> None:
    # given
    weights = {"open_clip_pytorch_model.bin": b"weights"}
    hub.add("laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k", weights)
    commit = hub.add("xlm-roberta-base", {"config.json": b"{}", "tokenizer.json": b"{}"})
    # when
    located = locate_model("xlm-roberta-base-ViT-B-32/laion5b_s13b_b90k")
    # then
    assert {name: folder.name for name, folder in located.companions.items()} == {
        "xlm-roberta-base": commit
    }
    # and then nobody is asked
    hub.requests.clear()
    assert locate_model(located.name) == located
    assert hub.requests == []


def test_a_path_that_exists_goes_before_a_name_of_the_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    hub.add("models/mine", FILES)
    (tmp_path / "models" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    # then
    assert locate_model("models/mine").revision is None
    assert locate_model("hf-hub:models/mine").revision is not None


@pytest.mark.parametrize(("own", "downloads"), [({}, 1), ({"tokenizer.json": b"{}"}, 0)])
def test_a_folder_brings_its_own_tokenizer_or_the_one_that_its_config_names(
    hub: Hub, tmp_path: Path, own: dict[str, bytes], downloads: int
) -> None:
    # given
    hub.add("timm/ViT-B-16-SigLIP", {"tokenizer.json": b"{}"})
    config = {"model_cfg": {"text_cfg": {"hf_tokenizer_name": "timm/ViT-B-16-SigLIP"}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    for name, body in own.items():
        (tmp_path / name).write_bytes(body)
    # when
    located = locate_model(str(tmp_path))
    # then
    assert (located.name, located.path) == (tmp_path.stem, tmp_path)
    assert len(located.companions) == downloads
    assert hub.downloads("tokenizer.json") == downloads


def test_the_progress_of_a_download_is_reported_in_bytes_and_nothing_is_printed_or_logged(
    hub: Hub, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    hub.add(CLIP, {**FILES, "model.safetensors": b"x" * 3_000_000})
    caplog.set_level(logging.INFO)
    reported: list[tuple[int, int | None]] = []
    locate_model(CLIP, progress=lambda done, total: reported.append((done, total)))
    assert reported[-1] == (3_000_000, 3_000_000)
    assert reported == sorted(set(reported), key=lambda pair: pair[0])  # never back
    assert capfd.readouterr() == ("", "")
    assert caplog.messages == []


def test_a_private_repository_is_read_with_the_token_of_the_environment(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(CLIP, FILES, token=SECRET)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert (locate_model(CLIP).path / "model.safetensors").read_bytes() == b"weights"


# --- several processes ---

LOCATE = """
import sys
from clip_engine.weights.locate import locate_model
print(locate_model(sys.argv[1]).path)
"""


def test_eight_processes_that_start_at_once_download_once_and_the_second_start_asks_nobody(
    tmp_path: Path,
) -> None:
    with hub_server() as hub:
        # given
        commit = hub.add(CLIP, {**FILES, "model.safetensors": os.urandom(8_000_000)})
        environment = {**os.environ, **hub.environment(tmp_path)}
        # when
        command = [sys.executable, "-c", LOCATE, CLIP]
        started = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
            for _ in range(8)
        ]
        folders = {process.communicate()[0].strip() for process in started}
        # then
        assert [process.returncode for process in started] == [0] * 8
        assert [Path(folder).name for folder in folders] == [commit]
        assert hub.downloads("config.json") == 1
        stored = [path for method, path in hub.requests if path.startswith("/storage/")]
        assert len(stored) == 1
        # and when
        hub.requests.clear()
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
        # then
        assert hub.requests == []
