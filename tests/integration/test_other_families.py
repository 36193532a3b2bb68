"""A worker with a model of another family: by its path, by its name on the hub, and offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from support.hub_server import hub_server
from support.open_clip_configs import HALF, SIGLIP, SIGLIP_TEXT, VIT, Family, hub_text
from support.open_clip_families import SavedModel, save_family
from support.tiny_tokenizers import write_gemma
from support.waiting import LIMIT_S
from support.worker_process import WorkerProcess

if TYPE_CHECKING:
    from pathlib import Path

    from clip_worker import Client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

TOKENIZER = "timm/ViT-B-16-SigLIP2"
# SigLIP 2's text tower and loss beside a small image tower, which a worker's process can build.
SIGLIP2 = Family(
    VIT,
    hub_text(TOKENIZER, **SIGLIP_TEXT, act_kwargs={"approximate": "tanh"}),
    SIGLIP,
    HALF | {"interpolation": "bicubic", "resize_mode": "squash"},
    tokenizer=write_gemma,
)
LABELS = ("a photo of a cat.", "ein Foto von einem Hund", "写真 猫", "x", "a small brown bird")


def picture(folder: Path) -> Path:
    """An image of the model's size, so that nothing is resized."""
    path = folder / "picture.png"
    noise = np.random.default_rng(5).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


@torch.inference_mode()
def their_logits(saved: SavedModel, path: Path) -> torch.Tensor:
    """open_clip's own, `[L]`."""
    pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
    images = saved.model.encode_image(saved.preprocessed([pixels]), normalize=True)
    texts = saved.model.encode_text(saved.tokenizer(list(LABELS)), normalize=True)
    logits = saved.model.logit_scale.exp() * images @ texts.T + saved.model.logit_bias
    return logits[0]


def assert_open_clips_answers(client: Client, saved: SavedModel, path: Path, model: str) -> None:
    logits = their_logits(saved, path)
    for score, expected in (("softmax", logits.softmax(dim=-1)), ("sigmoid", logits.sigmoid())):
        handle = client.classify(f"file://{path}", LABELS, k=5, template="{}", score=score)
        result = handle.get(timeout=LIMIT_S)
        found = {one.index: one.probability for one in result.predictions}
        assert [one.index for one in result.predictions] == expected.argsort(
            descending=True
        ).tolist()
        assert [found[index] for index in range(5)] == pytest.approx(expected.tolist(), abs=1e-5)
        assert result.model == model


def test_a_folder_of_open_clip_answers_as_open_clip(
    redis_url: str, tmp_path: Path, client: Client
) -> None:
    saved = save_family(SIGLIP2, tmp_path / "model")
    with WorkerProcess(redis_url, tmp_path, model=str(saved.path)) as worker:
        assert_open_clips_answers(client, saved, picture(tmp_path), "model")
        worker.stop()
        assert "leaked" not in worker.log


def test_a_model_of_the_hub_is_downloaded_once_and_then_starts_offline(
    redis_url: str, tmp_path: Path, client: Client
) -> None:
    # given a model on the hub, whose tokenizer is in another repository
    saved = save_family(SIGLIP2, tmp_path / "model", apart=tmp_path / "tokenizer")
    name, path = "org/tiny-siglip2", picture(tmp_path)
    with hub_server() as hub:
        hub.add(name, saved.path)
        hub.add(TOKENIZER, tmp_path / "tokenizer")
        environment = hub.environment(tmp_path / "hub-home")
        # when / then
        with WorkerProcess(redis_url, tmp_path, model=name, environment=environment):
            assert_open_clips_answers(client, saved, path, name)
        weights = [path for way, path in hub.requests if way == "GET" and "/storage/" in path]
        assert len(weights) == 1
        asked = len(hub.requests)
        # when it starts again without a network
        with WorkerProcess(
            redis_url,
            tmp_path,
            name="offline",
            model=name,
            environment=environment | {"HF_HUB_OFFLINE": "1"},
        ):
            # then
            assert_open_clips_answers(client, saved, path, name)
        assert len(hub.requests) == asked
