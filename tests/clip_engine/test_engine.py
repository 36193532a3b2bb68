"""The engine on tiny random models: buckets, scores by hand, and wrong input."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.image_zoo import photo
from support.tiny_clip import TINY_RESNET, TINY_VIT, tiny_engine, tokenizer
from torch.nn import functional

from clip_engine.acceleration import PLAIN, Acceleration
from clip_engine.engine import PIXEL_MEAN, PIXEL_STD, Engine, Prediction
from clip_engine.errors import ClipEngineError, ImageError, InputError, TextTooLongError
from clip_engine.precision import default_precision

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

LABELS = ["cat", "dog", "a very old tree", "grass", "sea"]


@pytest.fixture(
    scope="module",
    params=[(c, a) for c in (TINY_VIT, TINY_RESNET) for a in (PLAIN, Acceleration())],
    ids=["ViT plain", "ViT", "ResNet plain", "ResNet"],
)
def engine(request: pytest.FixtureRequest) -> Engine:
    config, acceleration = request.param
    return tiny_engine(config, buckets=(1, 2, 4, 8), acceleration=acceleration)


def pixels_of(engine: Engine, count: int, seed: int = 0) -> list[Tensor]:
    """Prepared images, uint8 `[3, R, R]`."""
    resolution = engine.preprocessor.resolution
    return [
        engine.prepare(photo((resolution, resolution), seed=seed + index)) for index in range(count)
    ]


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95)
    return file.getvalue()


# --- buckets ---


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("bucket", [1, 2, 4, 8])
def test_in_a_bucket_a_feature_is_the_same_bit_by_bit_whatever_its_neighbours(
    engine: Engine, threads: int, bucket: int
) -> None:
    # given an image, and batches that land in one bucket
    mine = pixels_of(engine, 1)[0]
    fewest = bucket // 2 + 1
    for place in {0, fewest - 1}:
        features = []
        for count, seed in ((bucket, 100), (bucket, 200), (fewest, 300)):
            # when it stands among others, or among others and padding
            batch = pixels_of(engine, count, seed)
            batch[place] = mine
            features.append(engine.encode_pixels(batch)[place])
        # then
        assert all(torch.equal(feature, features[0]) for feature in features)


@pytest.mark.parametrize("bucket", [2, 4, 8])
def test_with_one_torch_thread_the_place_in_the_batch_changes_no_bit_either(
    engine: Engine, bucket: int
) -> None:
    # With more, a convolution's work is cut between images, and the cut shows in the last bit.
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        features = engine.encode_pixels(pixels_of(engine, 1) * bucket)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(feature, features[0]) for feature in features)


@pytest.mark.parametrize("count", [0, 1, 3, 5, 8, 9, 19])
def test_any_number_of_pictures_gives_as_many_unit_features_in_order(
    engine: Engine, count: int
) -> None:
    pixels = pixels_of(engine, count)
    features = engine.encode_pixels(pixels)
    assert (features.shape, features.dtype) == ((count, 32), torch.float32)
    assert torch.allclose(features.norm(dim=-1), torch.ones(count), atol=1e-6)
    for index, picture in enumerate(pixels):
        alone = engine.encode_pixels([picture])[0]
        assert torch.allclose(features[index], alone, atol=1e-5)


def watched_batches(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that each batch which reaches the model adds its size to."""
    sizes: list[int] = []
    encode = engine.model.encode_image

    def watched(pixels: Tensor) -> Tensor:
        sizes.append(len(pixels))
        return encode(pixels)

    monkeypatch.setattr(engine.model, "encode_image", watched)
    return sizes


def test_batches_are_cut_at_the_largest_bucket_and_padded_to_the_next(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = watched_batches(engine, monkeypatch)
    # when
    for count in (1, 2, 3, 5, 8, 11, 17):
        engine.encode_pixels(pixels_of(engine, count))
    # then
    assert sizes == [1, 2, 4, 8, 8, 8, 4, 8, 8, 1]
    assert engine.max_batch == 8


def test_warming_on_a_cpu_runs_one_picture_for_a_size_needs_no_set_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = watched_batches(engine, monkeypatch)
    engine.warm()
    assert sizes == [1]


def test_pixels_are_normalised_with_clips_mean_and_deviation(engine: Engine) -> None:
    [picture] = pixels_of(engine, 1)
    by_hand = torch.from_numpy(
        (picture.numpy().astype(np.float64) / 255 - np.array(PIXEL_MEAN)[:, None, None])
        / np.array(PIXEL_STD)[:, None, None]
    )
    with torch.inference_mode():
        expected = functional.normalize(engine.model.encode_image(by_hand[None].float()), dim=-1)
    assert torch.allclose(engine.encode_pixels([picture]), expected, atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_changes_features_a_little_and_leaves_texts_alone(precision: Any) -> None:
    exact, rough = tiny_engine(), tiny_engine(precision=precision)
    pixels = pixels_of(exact, 3)
    features = rough.encode_pixels(pixels)
    cosines = (features * exact.encode_pixels(pixels)).sum(dim=-1)
    assert features.dtype == torch.float32
    assert cosines.min() > 0.99
    assert not torch.equal(features, exact.encode_pixels(pixels))
    assert torch.equal(rough.labels.get(["a"], ("{}",)), exact.labels.get(["a"], ("{}",)))


# --- classification ---


def test_classification_is_the_models_own_softmax(engine: Engine) -> None:
    # given the model's logits for two images
    images = [photo((90, 70), seed=1), photo((70, 90), seed=2)]
    tokens = tokenizer().tokenize([f"a photo of a {label}." for label in LABELS])
    pixels = torch.stack([engine.prepare(image) for image in images]).float() / 255
    mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
    with torch.inference_mode():
        normalised = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        probabilities = engine.model(normalised, tokens).softmax(dim=-1)
    # when
    answers = engine.classify(images, LABELS, k=len(LABELS))
    # then
    for row, answer in zip(probabilities.tolist(), answers, strict=True):
        order = sorted(range(len(LABELS)), key=lambda index, row=row: -row[index])
        assert [p.index for p in answer] == order
        assert [p.label for p in answer] == [LABELS[index] for index in order]
        assert [p.probability for p in answer] == pytest.approx([row[i] for i in order], abs=1e-5)
        assert sum(p.probability for p in answer) == pytest.approx(1, abs=1e-6)


def test_scores_by_hand() -> None:
    # given an image's feature and three labels' whose cosines are 0.6, 1 and 0
    engine = tiny_engine()
    engine._logit_scale = 2.0
    image = torch.tensor([[0.6, 0.8]])
    labels = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, -0.6]])
    # when
    [answer] = engine.classify_features(image, labels, ["a", "b", "c"], 2)
    # then: exp(1.2) = 3.3201, exp(2) = 7.3891, exp(0) = 1; their sum is 11.7092
    assert [(p.label, p.index) for p in answer] == [("b", 1), ("a", 0)]
    assert [p.probability for p in answer] == pytest.approx([0.63105, 0.28355], abs=1e-5)


def test_a_template_ensemble_is_the_mean_of_unit_features_made_a_unit_again(
    engine: Engine,
) -> None:
    templates = ("a {}", "a photo of a {}.", "{} on grass")
    prompts = [template.format("cat") for template in templates]
    with torch.inference_mode():
        encoded = engine.model.encode_text(tokenizer().tokenize(prompts))
    mean = functional.normalize(encoded, dim=-1).mean(dim=0)
    [feature] = engine.labels.get(["cat"], templates)
    assert torch.allclose(feature, mean / mean.norm(), atol=1e-6)


def test_labels_that_score_alike_come_by_index() -> None:
    # given three labels with one feature
    [answer] = tiny_engine().classify_features(
        torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]] * 3), ["a", "b", "c"], 3
    )
    assert [p.index for p in answer] == [0, 1, 2]
    assert len({p.probability for p in answer}) == 1


def test_a_path_bytes_and_an_open_picture_give_the_same(tmp_path: Path) -> None:
    engine = tiny_engine()
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(photo((60, 50), seed=3)))
    with Image.open(path) as opened:
        answers = engine.classify([path, str(path), path.read_bytes(), opened], LABELS)
    assert answers == [answers[0]] * 4


def test_k_beyond_the_labels_gives_all_and_no_pictures_give_no_answers() -> None:
    engine = tiny_engine()
    [answer] = engine.classify([photo((40, 40), seed=0)], LABELS, k=1000)
    assert len(answer) == len(LABELS)
    assert engine.classify([], LABELS) == []


def test_one_label_has_the_probability_one() -> None:
    [[only]] = tiny_engine().classify([photo((40, 40), seed=0)], ["cat"])
    assert only == Prediction("cat", 1.0, 0)


def test_a_long_list_of_labels_is_encoded_in_parts() -> None:
    # given more prompts than pass the text tower together
    engine = tiny_engine()
    labels = [f"label {index}" for index in range(300)]
    together = engine.labels.get(labels, ("{}",))
    alone = tiny_engine().labels.get(labels[-1:], ("{}",))
    assert together.shape == (300, 32)
    assert torch.allclose(together[-1:], alone, atol=1e-6)


def test_each_label_passes_the_text_tower_once(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = tiny_engine()
    rows: list[int] = []
    encode = engine.texts.encode_tokens

    def watched(tokens: Sequence[Tensor]) -> Tensor:
        rows.append(len(tokens))
        return encode(tokens)

    monkeypatch.setattr(engine.texts, "encode_tokens", watched)
    for labels in (LABELS, LABELS[::-1], [*LABELS, "new"]):
        engine.classify([photo((40, 40), seed=0)], labels)
    assert rows == [5, 1]


# --- wrong input ---


@pytest.mark.parametrize("k", [0, -1, True, 1.5, "3", None])
def test_a_wrong_k_is_refused(k: Any) -> None:
    with pytest.raises(InputError, match="give an integer of 1 or more"):
        tiny_engine().classify([photo((40, 40), seed=0)], LABELS, k=k)


def test_a_label_that_is_too_long_in_its_template_is_refused() -> None:
    with pytest.raises(TextTooLongError, match="the limit is 75"):
        tiny_engine().classify([], ["cat " * 72], template="a photo of a {}.")


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(jpeg(photo((60, 50), seed=3))[:500])
    with pytest.raises(ImageError, match=r"broken\.jpg': The image is cut off") as caught:
        tiny_engine().classify([path], LABELS)
    assert caught.value.code == "DECODE_TRUNCATED"


def test_a_missing_file_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tiny_engine().prepare(tmp_path / "none.jpg")


def test_a_model_that_overflows_is_not_the_callers_fault() -> None:
    # given a tower whose features are no numbers
    engine = tiny_engine()
    with torch.no_grad():
        engine.model.visual.ln_post.weight.fill_(float("inf"))
    with pytest.raises(ClipEngineError, match="'tiny' gave NaN") as caught:
        engine.classify([photo((40, 40), seed=0)], LABELS)
    assert not isinstance(caught.value, InputError)


def test_the_default_precision_is_float16_on_cuda_and_float32_elsewhere() -> None:
    assert default_precision(torch.device("cuda:1")) == "float16"
    assert default_precision(torch.device("cpu")) == "float32"


def test_only_the_image_towers_products_are_stored_in_lower_precision() -> None:
    model = tiny_engine(precision="bfloat16").model
    low = {name for name, weight in model.named_parameters() if weight.dtype == torch.bfloat16}
    assert "visual.transformer.resblocks.0.attn.in_proj_weight" in low
    assert "visual.transformer.resblocks.0.mlp.c_fc.weight" in low
    assert not any("ln_" in name or "positional" in name for name in low)
    assert all(name.startswith("visual.") for name in low)


@pytest.mark.parametrize("buckets", [(), (0, 1), (4, 2), (2, 2)])
def test_buckets_that_are_no_ascending_batch_sizes_are_refused(buckets: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="ascending"):
        tiny_engine(buckets=buckets)
