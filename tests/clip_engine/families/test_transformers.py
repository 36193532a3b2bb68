"""Models that transformers saved give what transformers itself makes of the same folder."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support.checkpoints import edit_json, refusal
from support.tiny_tokenizers import write_siglip
from support.transformers_families import MODELS, SavedModel, save_model
from torch.nn import functional
from transformers import AutoTokenizer

from clip_engine import Engine, load_engine
from clip_engine.errors import InputError, TextTooLongError
from clip_engine.families.library_encoder import LibraryDualEncoder
from clip_engine.families.transformers import load_transformers

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from clip_engine.precision import Precision

CPU = torch.device("cpu")
LABELS = (
    "a photo of a cat.",
    "A Photo of a DOG",
    "Ein Foto von einer Kirche, 3 Fenster!",
    "写真 猫",
    "x",
    "a small brown bird",
)


@pytest.fixture(scope="module", params=list(MODELS))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SavedModel:
    return save_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def engine(saved: SavedModel) -> Engine:
    return load_engine(str(saved.path), preprocessing="exact")


@pytest.fixture
def copied(saved: SavedModel, tmp_path: Path) -> Path:
    """The folder, to break."""
    return shutil.copytree(saved.path, tmp_path / "copied")


def images() -> list[Image.Image]:
    generator = np.random.default_rng(3)
    sizes = ((48, 64, 3), (96, 64, 3), (64, 64, 3), (200, 130, 3))
    return [Image.fromarray(generator.integers(0, 256, size, dtype=np.uint8)) for size in sizes]


@torch.inference_mode()
def test_features_logits_and_probabilities_are_those_of_transformers(
    saved: SavedModel, engine: Engine
) -> None:
    # given pixels that are the same for both
    prepared = [engine.prepare(image) for image in images()]
    mean, std = (
        torch.tensor(getattr(saved.processor, name)).view(3, 1, 1)
        for name in ("image_mean", "image_std")
    )
    pixels = (torch.stack(prepared).float() / 255 - mean) / std
    theirs = saved.model(input_ids=saved.tokens(LABELS), pixel_values=pixels)
    # when
    model = engine.model
    features = engine.encode_pixels(prepared)
    texts = functional.normalize(model.encode_text(model.tokenize(LABELS)), dim=-1)
    logits = model.logit_scale * features @ texts.T + model.logit_bias
    # then
    torch.testing.assert_close(features, theirs.image_embeds, rtol=0, atol=1e-5)
    torch.testing.assert_close(texts, theirs.text_embeds, rtol=0, atol=1e-5)
    for one in (features, texts):  # they differ, or a mistake would not show
        assert (one[0] - one[1]).abs().max() > 1e-3
    torch.testing.assert_close(logits, theirs.logits_per_image, rtol=0, atol=1e-3)
    assert torch.equal(logits.topk(5).indices, theirs.logits_per_image.topk(5).indices)
    sigmoid = hasattr(saved.model, "logit_bias")
    assert model.trained_with == ("sigmoid" if sigmoid else "softmax")
    probabilities = logits.sigmoid() if sigmoid else logits.softmax(dim=-1)
    expected = theirs.logits_per_image
    expected = expected.sigmoid() if sigmoid else expected.softmax(dim=-1)
    torch.testing.assert_close(probabilities, expected, rtol=0, atol=1e-4)


def test_tokens_are_those_of_transformers(saved: SavedModel, engine: Engine) -> None:
    assert torch.equal(engine.model.tokenize(LABELS), saved.tokens(LABELS))


def test_siglips_first_tokenizer_is_read_from_sentencepieces_file(tmp_path: Path) -> None:
    # given: no tokenizer.json, and a model of Python that removes punctuation too
    saved = save_model("siglip", tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    write_siglip(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert type(theirs).__name__ == "SiglipTokenizer"
    # when
    tokenize = load_engine(str(saved.path)).model.tokenize
    # then
    rows = theirs(list(LABELS), padding="max_length", max_length=64, return_tensors="pt")
    assert torch.equal(tokenize(LABELS), rows["input_ids"])
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(row, rows["input_ids"]) for row in pool.map(tokenize, [LABELS] * 8))
    with pytest.raises(TextTooLongError):
        tokenize(["dog " * 65])


def test_a_text_that_is_too_long_is_refused_and_one_that_just_fits_is_not(engine: Engine) -> None:
    tokenize = engine.model.tokenize
    length = tokenize(["x"]).shape[1]
    counts = range(1, 2 * length)
    texts = [" ".join("x" * count) for count in counts]
    fitting = [text for text in texts if _fits(engine, text)]
    assert 0 < len(fitting) < len(texts)
    assert fitting == texts[: len(fitting)]
    with pytest.raises(TextTooLongError, match="tokens, and the limit is"):
        tokenize([texts[len(fitting)]])


def _fits(engine: Engine, text: str) -> bool:
    try:
        engine.model.tokenize([text])
    except TextTooLongError:
        return False
    return True


def test_pixels_are_within_one_level_of_its_own_processors(
    saved: SavedModel, engine: Engine
) -> None:
    # given sizes whose crops have no odd excess (docs/models.md says why)
    ours = torch.stack([engine.prepare(image) for image in images()[:3]]).float()
    mean, std = (
        torch.tensor(getattr(saved.processor, name)).view(3, 1, 1)
        for name in ("image_mean", "image_std")
    )
    theirs = (saved.pixels(images()[:3]) * std + mean) * 255
    assert (ours - theirs).abs().max() <= 1.01


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_low_precision_stays_close(saved: SavedModel, engine: Engine, precision: Precision) -> None:
    low = load_transformers(saved.path, device=CPU, precision=precision)
    pixels = saved.pixels(images()[:3])
    with torch.inference_mode():
        cosines = functional.cosine_similarity(
            low.encode_image(pixels).float(), engine.model.encode_image(pixels)
        )
        texts = low.encode_text(low.tokenize(LABELS))
        same = engine.model.encode_text(engine.model.tokenize(LABELS))
    assert cosines.min() > (0.999 if precision == "float16" else 0.99)
    assert torch.equal(texts, same)  # always in float32


def test_threads_may_tokenize_at_the_same_time(engine: Engine) -> None:
    def rows(count: int) -> Tensor:
        return engine.model.tokenize([f"{LABELS[count % 6]} {count}"])

    expected = [rows(count) for count in range(64)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(rows, range(64)))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_every_file_that_determines_results_is_part_of_the_digest(copied: Path) -> None:
    before = load_engine(str(copied)).identity.digest
    for name in ("config.json", "preprocessor_config.json", "tokenizer_config.json"):
        path = copied / name
        path.write_text(path.read_text() + "\n")
        after = load_engine(str(copied)).identity.digest
        assert after != before, name
        before = after


def test_sharded_and_half_precision_weights_are_read(saved: SavedModel, tmp_path: Path) -> None:
    whole = load_transformers(saved.path, device=CPU)
    shutil.copytree(saved.path, tmp_path / "shards")
    (tmp_path / "shards" / "model.safetensors").unlink()
    saved.model.save_pretrained(tmp_path / "shards", max_shard_size="200KB")
    assert len(list((tmp_path / "shards").glob("model-*.safetensors"))) > 1
    shards = load_transformers(tmp_path / "shards", device=CPU)
    assert len(shards.files) > len(whole.files)
    assert_same_texts(shards, whole)


def assert_same_texts(one: LibraryDualEncoder, other: LibraryDualEncoder) -> None:
    with torch.inference_mode():
        texts = [model.encode_text(model.tokenize(LABELS)) for model in (one, other)]
    assert torch.equal(*texts)


# --- what is refused ---


def test_weights_that_do_not_fit_are_listed(copied: Path) -> None:
    path = copied / "model.safetensors"
    state = load_file(path)
    del state["logit_scale"]
    save_file(state | {"head.weight": torch.zeros(1)}, path)
    message = refusal(copied)
    assert "1 missing (logit_scale)" in message
    assert "1 unexpected (head.weight)" in message


def test_weights_of_other_shapes_are_listed(copied: Path) -> None:
    edit_json(copied / "config.json", "vision_config", image_size=32)
    assert "1 wrong shapes (vision_model.embeddings.position_embedding.weight" in refusal(copied)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("preprocessor_config.json", "so it is unknown how images are prepared"),
        ("tokenizer.json", "The tokenizer in "),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_missing_file_is_named(copied: Path, name: str, words: str) -> None:
    (copied / name).unlink()
    assert words in refusal(copied)


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_refused(copied: Path, name: str) -> None:
    path = copied / name
    path.write_bytes(path.read_bytes()[:200])
    refusal(copied)


def test_an_activation_is_refused_for_its_config_has_it(saved: SavedModel) -> None:
    with pytest.raises(InputError, match="whose config specifies the activation"):
        load_engine(str(saved.path), activation="gelu")


def test_code_in_the_folder_is_not_run(copied: Path) -> None:
    # given a folder that asks for code of its own
    trace = copied / "trace"
    (copied / "code.py").write_text(f"open({str(trace)!r}, 'w')")
    auto = {"AutoModel": "code.Model", "AutoConfig": "code.Config"}
    edit_json(copied / "config.json", "", auto_map=auto)
    edit_json(copied / "tokenizer_config.json", "", auto_map={"AutoTokenizer": ["code.T", None]})
    # when
    load_engine(str(copied))
    # then
    assert not trace.exists()
