"""An engine by a repository's name is the one of its files, whichever format they have."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.checkpoints import TIMM_WARNINGS
from support.hub_server import hub_server
from support.hugging_face import small_model
from support.open_clip_folders import SMALL, save_folder, small_oracle

from clip_engine import load_engine

pytestmark = pytest.mark.filterwarnings(*TIMM_WARNINGS)

NAME = "org/small-clip"


def open_clip_folder(folder: Path) -> None:
    save_folder(small_oracle(), SMALL, folder)


def sharded_folder(folder: Path) -> None:
    small_model().save_pretrained(folder, max_shard_size="1MB")


@pytest.mark.parametrize("save", [open_clip_folder, sharded_folder])
def test_an_engine_of_a_repository_is_that_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save
) -> None:
    # given
    folder = tmp_path / "folder"
    save(folder)
    with hub_server() as hub:
        hub.use(monkeypatch, tmp_path / "hub-home")
        commit = hub.add(NAME, folder)
        # when
        engine = load_engine(f"{NAME}@{commit}")
    # then, with the hub gone
    again, local = load_engine(f"{NAME}@{commit}", offline=True), load_engine(str(folder))
    assert engine.identity == again.identity
    assert (engine.identity.name, engine.identity.digest) == (
        f"{NAME}@{commit}",
        local.identity.digest,
    )
    side = local.preprocessor.transform.resolution
    pixels = torch.randint(0, 256, (3, side, side), dtype=torch.uint8)
    assert torch.equal(engine.encode_pixels([pixels]), local.encode_pixels([pixels]))
