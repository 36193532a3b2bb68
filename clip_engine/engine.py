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
from clip_engine.label_cache import DEFAULT_CAPACITY, LabelFeatures
from clip_engine.preprocess import Preprocessor, Reserve
from clip_engine.prompts import DEFAULT_TEMPLATE, check_templates
from clip_engine.quoting import quoted
from clip_engine.topk import check_k, top_k_of_numbers

LABELS_AT_ONCE = 1024  # 2 MB of features of 512 float32 each


@dataclass(frozen=True)
class Prediction:
    """A label of an image with its probability.

    Attributes:
        label: The label, as given.
        probability: Softmax over all labels of the call, in [0, 1].
        index: Position in the call's list of labels.
    """

    label: str
    probability: float
    index: int


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
            images. None for sizes that suit the model and the device.
        acceleration: Which accelerations around the model are on.
        replicas: Number of threads that may run the image tower at the same time; the text tower
            runs as many batches at once.
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
        self._images = ImageEncoder(model, buckets=self.buckets, acceleration=acceleration)

    @property
    def max_batch(self) -> int:
        """Largest batch of the image tower; it shrinks when the device runs out of memory."""
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
        probabilities, indices = self.rank(image_features, label_features, k)
        return [
            [Prediction(labels[i], p, i) for p, i in zip(row_values, row_indices, strict=True)]
            for row_values, row_indices in zip(probabilities, indices, strict=True)
        ]

    @torch.inference_mode()
    def rank(
        self, image_features: Tensor, label_features: Tensor, k: int
    ) -> tuple[list[list[float]], list[list[int]]]:
        """Probabilities and positions of each image's k most probable labels.

        Arguments, order and errors are those of `classify_features`.
        """
        check_k(k)
        # A batch of products, one an image, so that no result depends on the other images. Labels
        # are taken in chunks that stay in the processor's cache for all images.
        rows = (self.model.logit_scale * image_features)[:, None]  # [B, 1, D]
        products = [
            rows.bmm(label_features[start : start + LABELS_AT_ONCE].T.expand(len(rows), -1, -1))
            for start in range(0, len(label_features), LABELS_AT_ONCE)
        ]
        logits = products[0] if len(products) == 1 else torch.cat(products, dim=2)
        probabilities = logits[:, 0].softmax(dim=-1)  # [B, L]
        if probabilities.isnan().any():  # also if a logit was infinite
            raise ClipEngineError(
                f"The model {self.identity.name!r} gave NaN in {self.model.precision}; run it in "
                "float32, or check its weights."
            )
        values, indices = top_k_of_numbers(probabilities, int(k))
        return values.tolist(), indices.tolist()

    def classify(
        self,
        images: Iterable[ImageInput],
        labels: Iterable[str],
        k: int = 5,
        template: str | Iterable[str] = DEFAULT_TEMPLATE,
    ) -> list[list[Prediction]]:
        """Find the k most probable labels of each image.

        Args:
            images: A list, an array `[B, H, W, 3]` or any other iterable of images. Each is a path,
                encoded bytes, a binary file such as `BytesIO`, a Pillow image, or a uint8 array
                `[H, W, 3]` (RGB), `[H, W, 4]` (RGBA) or `[H, W]` (grey).
            labels: An iterable of L different labels.
            k: Largest number of predictions an image; L if that is smaller.
            template: Prompt for a label, with one `{}`; several templates form an ensemble.

        Raises:
            InputError: There are no labels, or a blank or repeated one; a template or k is invalid;
                a single image or label was given instead of a list; or something is not an image.
            TextTooLongError: A prompt has too many tokens.
            ImageError: An image can't be decoded.
            OSError: A file can't be read.
        """
        templates = check_templates([template] if isinstance(template, str) else template)
        labels, images = check_labels(labels), check_images(images)
        label_features = self.labels.get(labels, templates)
        image_features = self.encode_pixels([self.prepare(image) for image in images])
        return self.classify_features(image_features, label_features, labels, k)

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

    def warm(self) -> None:
        """Run both towers once, so that lazy set-up doesn't slow the first call down."""
        self._images.warm()
        self.texts.encode(["warm"])


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
