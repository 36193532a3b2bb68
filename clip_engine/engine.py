"""Zero-shot classification: images and labels in, the K most probable labels out.

Axes: B images, L labels, D embedding, R pixels a side.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clip_engine.acceleration import AROUND_THE_MODEL, Acceleration
from clip_engine.dual_encoder import DualEncoder
from clip_engine.errors import ClipEngineError, ImageError, InputError
from clip_engine.images.image_input import ImageInput, check_images, file_or_image
from clip_engine.inference.buckets import buckets_up_to, usual_batch
from clip_engine.inference.image_encoder import ImageEncoder
from clip_engine.inference.text_encoder import TextEncoder
from clip_engine.inference.warm_up import WarmUp
from clip_engine.label_cache import DEFAULT_CAPACITY, LabelFeatures
from clip_engine.preprocess import Preprocessor, Reserve
from clip_engine.prompts import DEFAULT_TEMPLATE, check_templates
from clip_engine.quoting import quoted
from clip_engine.scoring.calibration import Calibration, fit
from clip_engine.scoring.hierarchy import LabelTree
from clip_engine.scoring.logits import Product, logits, probabilities, products, raw_scores
from clip_engine.scoring.options import SOFTMAX, Score, Scoring
from clip_engine.scoring.prediction import Prediction, predictions
from clip_engine.scoring.ranking import Ranking, best
from clip_engine.scoring.text_features import TextFeatures, TextList, text_lists
from clip_engine.topk import check_k


@dataclass(frozen=True)
class ModelIdentity:
    """Name and digest of a model, as reported in results.

    Attributes:
        name: A published name, or a checkpoint's file name without its suffix.
        digest: SHA-256 of the checkpoint file, in hexadecimal.
    """

    name: str
    digest: str


class Engine:
    """A model with its preprocessing, ready to classify. Thread-safe.

    Args:
        model: Both towers, on their device.
        identity: The model's name and digest.
        preprocessor: For the model's transform.
        buckets: Batch sizes at which the image tower runs, ascending. A batch is padded to the next
            one. Within one batch size an image's feature is bit for bit independent of the other
            images. None for sizes that suit the model and the device; on a GPU `warm` then lowers
            the largest to one that is fast enough.
        acceleration: Which accelerations around the model are on.
        replicas: Number of threads that may run the image tower at the same time; the text tower
            runs as many batches at once. On a GPU one batch is uploaded while another computes.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        model: DualEncoder,
        *,
        identity: ModelIdentity,
        preprocessor: Preprocessor,
        buckets: Sequence[int] | None = None,
        acceleration: Acceleration = AROUND_THE_MODEL,
        replicas: int = 1,
    ) -> None:
        self.identity = identity
        self.model = model
        self.preprocessor = preprocessor
        self.acceleration = acceleration
        usual = usual_batch(model.image_tokens, model.device.type)
        self.buckets = _check_buckets(buckets_up_to(usual) if buckets is None else buckets)
        self.texts = TextEncoder(model, at_once=replicas)
        self.labels = LabelFeatures(
            self.texts.encode, DEFAULT_CAPACITY if acceleration.cached_text else 0
        )
        self._images = ImageEncoder(
            model,
            buckets=self.buckets,
            acceleration=acceleration,
            in_flight=replicas,
            measures=buckets is None,
        )

    @property
    def max_batch(self) -> int:
        """Largest batch of the image tower; a GPU's warm-up and lack of memory may lower it."""
        return self._images.limit.largest

    def encode_pixels(self, pixels: Sequence[Tensor]) -> Tensor:
        """Encode images that the preprocessor has prepared.

        Args:
            pixels: B images, uint8 `[3, R, R]` each; any number, run in buckets.

        Returns:
            float32 `[B, D]`, each row of length 1, on the CPU.

        Raises:
            DeviceMemoryError: Not even one image fits into the device's memory.
            DeviceLostError: The device failed for good; restart the process.
        """
        return self._images.encode(pixels)

    def text_lists(
        self, labels: Sequence[str], templates: tuple[str, ...], scoring: Scoring
    ) -> tuple[TextList, ...]:
        """The (labels, templates) lists whose features a score needs, the labels' own first.

        They are for `labels.get_all`; `text_features` takes its answers.
        """
        return text_lists(tuple(labels), templates, scoring, self.model.trained_with)

    def text_features(self, features: Sequence[Tensor]) -> TextFeatures:
        """The features of the lists of `text_lists`, in its order, for `rank`."""
        return TextFeatures.of_lists(features)

    def classify_features(
        self, image_features: Tensor, label_features: Tensor, labels: Sequence[str], k: int
    ) -> list[list[Prediction]]:
        """Score encoded images against encoded labels.

        Args:
            image_features: `[B, D]` from `encode_pixels`.
            label_features: `[L, D]` from `labels.get`.
            labels: The L labels.
            k: Largest number of predictions an image.

        Returns:
            For each image up to k predictions, most probable first, ties by index.

        Raises:
            ClipEngineError: The features are NaN, because the model overflowed.
            InputError: k is not an integer of 1 or more.
        """
        return predictions(self.rank(image_features, TextFeatures(label_features), k), labels)

    @torch.inference_mode()
    def rank(  # noqa: PLR0913  # each has a default but the first three
        self,
        image_features: Tensor,
        text: TextFeatures,
        k: int,
        scoring: Scoring = SOFTMAX,
        tree: LabelTree | None = None,
        *,
        multiply: Product = products,
    ) -> Ranking:
        """Probabilities and positions of each image's k best labels.

        Args:
            image_features: `[B, D]` from `encode_pixels`.
            text: From `text_features`, for this scoring.
            k: Largest number of labels an image, and of nodes of each level.
            scoring: What is asked.
            tree: Of hierarchical labels; its leaves are the labels.
            multiply: `products`, with which no other image changes a bit of an image's scores; or
                `one_product`, which is several times as fast for thousands of images.

        Raises:
            ClipEngineError: The features are NaN, because the model overflowed.
            InputError: k is not an integer of 1 or more; or text features are missing.
        """
        check_k(k)
        found = logits(self.model, image_features, text, scoring, multiply)
        chances = probabilities(found, scoring)
        if chances.labels.isnan().any():  # also if a logit was infinite
            raise ClipEngineError(
                f"The model {self.identity.name!r} gave NaN in {self.model.precision}; run it in "
                "float32, or check its weights."
            )
        scores = raw_scores(self.model, found, scoring)
        return best(chances, scores, int(k), tree, independent=scoring.score == "sigmoid")

    def calibrate(
        self, image_features: Tensor, text: TextFeatures, right: Tensor, scoring: Scoring
    ) -> Calibration:
        """Fit a calibration of this scoring to labelled images.

        Args:
            image_features: `[N, D]` from `encode_pixels`.
            text: From `text_features`, for this scoring.
            right: int64 `[N]`, the index of each image's right label, or -1 if no label fits.
            scoring: What is to be asked later; its temperature and bias don't matter.

        Raises:
            InputError: `right` is invalid, or no image has a right label.
        """
        found = logits(self.model, image_features, text, scoring)
        return fit(found, right, scoring, raw_scores(self.model, found, scoring))

    def classify(  # noqa: PLR0913  # each is an option of its own
        self,
        images: Iterable[ImageInput],
        labels: Iterable[str],
        k: int = 5,
        template: str | Iterable[str] = DEFAULT_TEMPLATE,
        *,
        score: Score = "softmax",
        none_of_these: bool = False,
    ) -> list[list[Prediction]]:
        """Find the k best labels of each image.

        Args:
            images: A list, an array `[B, H, W, 3]` or any other iterable of images. Each is a path,
                encoded bytes, a binary file such as `BytesIO`, a Pillow image, or a uint8 array
                `[H, W, 3]` (RGB), `[H, W, 4]` (RGBA) or `[H, W]` (grey).
            labels: An iterable of L different labels.
            k: Largest number of predictions an image; L if that is smaller.
            template: Prompt for a label, with one `{}`; several templates form an ensemble.
            score: What orders the labels; see `Scoring`.
            none_of_these: Whether each image's predictions end with one that no label fits: its
                label is "none of these", its index -1, and it doesn't count among the k.

        Raises:
            InputError: There are no labels, or a blank or repeated one; a template, k or the score
                is invalid; a single image or label was given instead of a list; or something is not
                an image.
            TextTooLongError: A prompt has too many tokens.
            ImageError: An image can't be decoded.
            OSError: A file can't be read.
        """
        scoring = Scoring(score, none_of_these)
        templates = check_templates([template] if isinstance(template, str) else template)
        labels, images = check_labels(labels), check_images(images)
        lists = self.text_lists(labels, templates, scoring)
        text = self.text_features([self.labels.get(*each) for each in lists])
        image_features = self.encode_pixels([self.prepare(image) for image in images])
        return predictions(self.rank(image_features, text, k, scoring), labels)

    def prepare(self, image: ImageInput, reserve: Reserve | None = None) -> Tensor:
        """Decode and resize one image to uint8 `[3, R, R]`.

        Args:
            image: In any form that `classify` accepts.
            reserve: See `Preprocessor.from_bytes`; for encoded bytes only.

        Raises:
            InputError: It is not an image in any of these forms.
            ImageError: It can't be decoded.
            OSError: The file can't be read.
        """
        source = file_or_image(image)
        try:
            if isinstance(source, bytes):
                return self.preprocessor.from_bytes(source, reserve)
            return self.preprocessor.from_image(source)
        except ImageError as error:
            if not isinstance(image, str | os.PathLike):
                raise
            raise ImageError(f"{os.fspath(image)!r}: {error.message}", error.code) from error

    def warm(self) -> WarmUp:
        """Run both towers once, so that lazy set-up doesn't slow the first call down.

        On a GPU batch sizes are measured and CUDA graphs recorded. Raises as `encode_pixels`.
        """
        self.texts.encode(["warm"])
        return self._images.warm()


def _check_buckets(buckets: Sequence[int]) -> tuple[int, ...]:
    if not buckets or buckets[0] < 1 or list(buckets) != sorted(set(buckets)):
        raise InputError(f"Invalid buckets {buckets!r}; give batch sizes of 1 or more, ascending.")
    return tuple(buckets)


def check_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Check that there are labels, none of them blank or repeated, and return them as a tuple.

    Raises:
        InputError: There are none, or one is invalid; it is quoted.
    """
    checked: dict[str, None] = {}
    for label in _members(labels):
        if not isinstance(label, str) or not label.strip():
            raise InputError(f"The label {quoted(label)} is blank or not a string; remove it.")
        if label in checked:
            raise InputError(f"The label {str(label)!r} is repeated; give each label once.")
        checked[str(label)] = None  # a plain str, also from a NumPy array
    return tuple(checked)


def _members(labels: Iterable[str]) -> tuple[str, ...]:
    try:
        members = () if isinstance(labels, str | bytes) else tuple(labels)
    except TypeError:  # None, a number, an array without axes
        members = ()
    if not members:
        raise InputError(f"Invalid labels {quoted(labels)}; give a list of at least one label.")
    return members
