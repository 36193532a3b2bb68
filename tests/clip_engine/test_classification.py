"""Classification on tiny random models: scores by hand, and wrong input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from support.image_files import encoded
from support.image_zoo import photo
from support.tiny_clip import tiny_engine, tokenizer
from support.watched_calls import watched_sizes

from clip_engine.engine import Engine
from clip_engine.errors import ClipEngineError, ImageError, InputError, TextTooLongError
from clip_engine.images.normalisation import OPENAI_NORMALISATION
from clip_engine.scoring.prediction import Prediction

if TYPE_CHECKING:
    from pathlib import Path

LABELS = ["cat", "dog", "a very old tree", "grass", "sea"]


def test_classification_is_the_models_own_softmax(engine: Engine) -> None:
    # given the model's logits for two images
    images = [photo((90, 70), seed=1), photo((70, 90), seed=2)]
    tokens = tokenizer().tokenize([f"a photo of a {label}." for label in LABELS])
    pixels = torch.stack([engine.prepare(image) for image in images]).float() / 255
    mean, std = torch.tensor(OPENAI_NORMALISATION.mean), torch.tensor(OPENAI_NORMALISATION.std)
    with torch.inference_mode():
        normalised = (pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        probabilities = engine.model.clip(normalised, tokens).softmax(dim=-1)
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
    # given features of three labels, and an image's whose cosines with them are 0.6, 1 and 0; it
    # is 0.14 long, so that a logit scale of 1 / 0.07 makes that 1.2, 2 and 0
    engine = tiny_engine()
    assert engine.model.logit_scale == pytest.approx(1 / 0.07)
    image = 0.14 * torch.tensor([[0.6, 0.8]])
    labels = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.8, -0.6]])
    # when
    [answer] = engine.classify_features(image, labels, ["a", "b", "c"], 2)
    # then: exp(1.2) = 3.3201, exp(2) = 7.3891, exp(0) = 1; their sum is 11.7092
    assert [(p.label, p.index) for p in answer] == [("b", 1), ("a", 0)]
    assert [p.probability for p in answer] == pytest.approx([0.63105, 0.28355], abs=1e-5)


def test_labels_that_score_alike_come_by_index() -> None:
    # given three labels with one feature
    [answer] = tiny_engine().classify_features(
        torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]] * 3), ["a", "b", "c"], 3
    )
    assert [p.index for p in answer] == [0, 1, 2]
    assert len({p.probability for p in answer}) == 1


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
    rows = watched_sizes(monkeypatch, engine.texts, "encode_tokens")
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
    path.write_bytes(encoded(photo((60, 50), seed=3), quality=95)[:500])
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
        engine.model.clip.visual.ln_post.weight.fill_(float("inf"))
    with pytest.raises(ClipEngineError, match="'tiny' gave NaN") as caught:
        engine.classify([photo((40, 40), seed=0)], LABELS)
    assert not isinstance(caught.value, InputError)
