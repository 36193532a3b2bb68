"""Models of open_clip's tags that are plain CLIPs, which our own code loads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from support.checkpoints import TIMM_WARNINGS
from support.open_clip_folders import SMALL, small_oracle
from support.oracles import assert_agree, open_clip_answers, our_answers

from clip_engine.acceleration import PLAIN
from clip_engine.families import recognise
from clip_engine.families.clip import ClipDualEncoder
from clip_engine.families.load import load_dual_encoder
from clip_engine.images.normalisation import OPENAI_NORMALISATION, Normalisation
from clip_engine.images.transform import ImageTransform
from clip_engine.weights.located import LocatedModel

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings(*TIMM_WARNINGS)


@pytest.mark.parametrize("quick_gelu", [True, False])
def test_bare_weights_of_a_tag_are_what_open_clips_tables_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, quick_gelu: bool
) -> None:
    # given an architecture, weights without a config, and the tag's entries
    monkeypatch.setattr(recognise, "architecture_config", lambda _name: SMALL)
    oracle = small_oracle(quick_gelu=quick_gelu)
    path = tmp_path / "weights.pt"
    torch.save(oracle.state_dict(), path)
    entries = {"mean": (0.5, 0.4, 0.3), "resize_mode": "squash", "quick_gelu": quick_gelu}
    # when
    loaded = load_dual_encoder(
        LocatedModel("small/tag", path, "small", entries), device=CPU, acceleration=PLAIN
    )
    # then
    assert loaded.family == recognise.CLIP
    assert isinstance(loaded.encoder, ClipDualEncoder)
    assert_agree(our_answers(loaded.encoder.clip), open_clip_answers(oracle))
    assert loaded.encoder.transform == ImageTransform(56, "squash")
    assert loaded.encoder.normalisation == Normalisation((0.5, 0.4, 0.3), OPENAI_NORMALISATION.std)
    # and what the tables say is part of the digest
    other = LocatedModel("small/tag", path, "small", entries | {"quick_gelu": not quick_gelu})
    digests = {load_dual_encoder(one, device=CPU).digest for one in (other, other)}
    assert len(digests) == 1
    assert loaded.digest not in digests
