"""Zero-shot classification: images and labels in, the K most probable labels out.

Axes: B images, L labels, D embedding, R pixels a side.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clip_engine.acceleration import AROUND_THE_MODEL, Acceleration, accelerate
from clip_engine.errors import ClipEngineError, ImageError, InputError
from clip_engine.images.image_input import ImageInput, check_images, file_or_picture
from clip_engine.inference.buckets import buckets_up_to, usual_batch
from clip_engine.inference.image_encoder import ImageTower
from clip_engine.inference.text_encoder import TextTower
from clip_engine.label_cache import DEFAULT_CAPACITY, LabelFeatures
from clip_engine.model import CLIP
from clip_engine.normalisation import OPENAI_NORMALISATION, Normalisation
from clip_engine.precision import Precision
from clip_engine.preprocess import Preprocessor, Reserve
from clip_engine.prompts import DEFAULT_TEMPLATE, check_templates
from clip_engine.quoting import quoted
from clip_engine.tokenizer import Tokenizer
from clip_engine.topk import check_k, top_k_of_numbers

PIXEL_MEAN = OPENAI_NORMALISATION.mean
PIXEL_STD = OPENAI_NORMALISATION.std
LABELS_AT_ONCE = 1024  # 512 float32 each make 2 MB


@dataclass(frozen=True)
class Prediction:
    """One label of a picture.

    Attributes:
        label: As given.
        probability: Softmax over all labels of the call, in [0, 1].
        index: Position of the label in the call's list.
    """

    label: str
    probability: float
    index: int


@dataclass(frozen=True)
class ModelIdentity:
    """Name and digest of a model, as results carry them.

    Attributes:
        name: As the model was asked for: a published name, or a file's stem.
        digest: SHA-256 of the checkpoint file, in hexadecimal.
    """

    name: str
    digest: str


class Engine:
    """A CLIP model with its tokenizer and preprocessing, ready to classify. Threads may share it.

    Args:
        model: In eval mode, on the CPU; it is moved to `device`.
        identity: Where the weights came from.
        tokenizer: CLIP's.
        preprocessor: For the model's resolution.
        normalisation: Of the pixels, as the model was trained.
        device: Where both towers run.
        precision: Of the weights and products of the image tower; its residual stream, its
            LayerNorm and the whole text tower stay float32. The model's weights are converted.
        buckets: Batch sizes that the image tower is run at, ascending. A batch is padded to the
            next, and in a bucket of one size a picture's feature doesn't depend on its neighbours,
            bit by bit. None for those that suit the model and the device.
        acceleration: Which pieces make the towers faster. Three of them change the model for good,
            so by default they are left out.
        replicas: Threads that will run towers at the same time; as many batches of new labels pass
            the text tower at once.
    """

    def __init__(  # noqa: PLR0913  # collaborators are injected
        self,
        model: CLIP,
        *,
        identity: ModelIdentity,
        tokenizer: Tokenizer,
        preprocessor: Preprocessor,
        normalisation: Normalisation = OPENAI_NORMALISATION,
        device: torch.device,
        precision: Precision = "float32",
        buckets: Sequence[int] | None = None,
        acceleration: Acceleration = AROUND_THE_MODEL,
        replicas: int = 1,
    ) -> None:
        self.identity = identity
        self.tokenizer = tokenizer
        self.preprocessor = preprocessor
        self.device = device
        self.precision = precision
        self.acceleration = acceleration
        usual = usual_batch(model.config, device.type)
        self.buckets = _check_buckets(buckets_up_to(usual) if buckets is None else buckets)
        self.model = model.to(device)
        accelerate(model, acceleration, precision)
        self.texts = TextTower(
            model, tokenizer=tokenizer, device=device, pieces=acceleration, at_once=replicas
        )
        self.labels = LabelFeatures(
            self.texts.encode, DEFAULT_CAPACITY if acceleration.cached_text else 0
        )
        self._logit_scale = float(model.logit_scale.exp())
        self._tower = ImageTower(
            model,
            normalisation=normalisation,
            device=device,
            buckets=self.buckets,
            pieces=acceleration,
        )

    @property
    def max_batch(self) -> int:
        """Most pictures that the image tower takes at once; less once memory has run out."""
        return self._tower.limit.largest

    def encode_pixels(self, pixels: Sequence[Tensor]) -> Tensor:
        """Encode pictures that the preprocessor has prepared.

        Args:
            pixels: B pictures, uint8 `[3, R, R]` each; any number, run in buckets.

        Returns:
            float32 `[B, D]`, each row of length 1, on the CPU.

        Raises:
            DeviceMemoryError: The device's memory doesn't hold even a batch of 1.
            DeviceLostError: The device failed for good; end the process.
        """
        return self._tower.encode(pixels)

    def classify_features(
        self, image_features: Tensor, label_features: Tensor, labels: Sequence[str], k: int
    ) -> list[list[Prediction]]:
        """Score encoded pictures against encoded labels.

        Args:
            image_features: `[B, D]` from `encode_pixels`.
            label_features: `[L, D]` from `labels.get`.
            labels: The L labels, for the answer.
            k: Most predictions a picture.

        Returns:
            For each picture at most k predictions, most probable first, ties by index.

        Raises:
            ClipEngineError: The model overflowed: its features are NaN.
            InputError: k is below 1 or no integer.
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
        """Probabilities and positions of each picture's k most probable labels.

        Arguments, order and errors are those of `classify_features`.
        """
        check_k(k)
        # One product a picture, batched: its last bits must not depend on its neighbours. So many
        # labels at a time as stay in the cache until the last picture has had them.
        rows = (self._logit_scale * image_features)[:, None]  # [B, 1, D]
        products = [
            rows.bmm(label_features[start : start + LABELS_AT_ONCE].T.expand(len(rows), -1, -1))
            for start in range(0, len(label_features), LABELS_AT_ONCE)
        ]
        logits = products[0] if len(products) == 1 else torch.cat(products, dim=2)
        probabilities = logits[:, 0].softmax(dim=-1)  # [B, L]
        if probabilities.isnan().any():  # as soon as one of a picture's logits is, or is infinite
            raise ClipEngineError(
                f"The model {self.identity.name!r} gave features that are no numbers in "
                f"{self.precision}; run it in float32, or mend its weights."
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
        """Give the k most probable labels of each picture.

        Args:
            images: A list, an array `[B, H, W, 3]` or any other iterable of pictures; each a path,
                encoded bytes, a binary file such as `BytesIO`, a Pillow picture, or a uint8 array
                `[H, W, 3]` (RGB), `[H, W, 4]` (RGBA) or `[H, W]` (grey).
            labels: L different labels, likewise.
            k: Most predictions a picture; L if L is fewer.
            template: Prompt around a label, with one `{}`; several make an ensemble.

        Raises:
            InputError: No labels, an empty or repeated one, a wrong template or k; a single picture
                or label in the place of a list; something else than a picture.
            TextTooLongError: A label in its template has too many tokens.
            ImageError: A picture can't be decoded.
            OSError: A path can't be read.
        """
        templates = check_templates([template] if isinstance(template, str) else template)
        labels, images = check_labels(labels), check_images(images)
        label_features = self.labels.get(labels, templates)
        image_features = self.encode_pixels([self.prepare(image) for image in images])
        return self.classify_features(image_features, label_features, labels, k)

    def prepare(self, image: ImageInput, reserve: Reserve | None = None) -> Tensor:
        """Decode and resize one picture, in any form that `classify` takes, to uint8 `[3, R, R]`.

        Args:
            image: As `classify` takes it.
            reserve: For encoded bytes, as `Preprocessor.from_bytes` takes it.

        Raises:
            InputError: It is no picture in any form.
            ImageError: It can't be decoded.
            OSError: The path can't be read.
        """
        source = file_or_picture(image)
        try:
            if isinstance(source, bytes):
                return self.preprocessor.from_bytes(source, reserve)
            return self.preprocessor.from_image(source)
        except ImageError as error:
            if not isinstance(image, str | os.PathLike):
                raise
            raise ImageError(f"{os.fspath(image)!r}: {error.message}", error.code) from error

    def warm(self) -> None:
        """Run both towers once, so that the first task does not pay for lazy set-up."""
        self._tower.warm()
        self.texts.encode(["warm"])


def _check_buckets(buckets: Sequence[int]) -> tuple[int, ...]:
    if not buckets or buckets[0] < 1 or list(buckets) != sorted(set(buckets)):
        raise InputError(f"The buckets are {buckets!r}; give batch sizes of 1 or more, ascending.")
    return tuple(buckets)


def check_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Give the labels as a tuple if there are some, none is blank and none is there twice.

    Raises:
        InputError: Naming the label at fault.
    """
    checked: dict[str, None] = {}
    for label in _members(labels):
        if not isinstance(label, str) or not label.strip():
            raise InputError(f"The label {quoted(label)} is blank or no text; leave it out.")
        if label in checked:
            raise InputError(f"The label {str(label)!r} is there twice; give each label once.")
        checked[str(label)] = None  # of a NumPy array's, Python's own str
    return tuple(checked)


def _members(labels: Iterable[str]) -> tuple[str, ...]:
    try:
        members = () if isinstance(labels, str | bytes) else tuple(labels)
    except TypeError:  # None, a number, an array without axes
        members = ()
    if not members:
        raise InputError(f"The labels are {quoted(labels)}; give a list of at least one label.")
    return members
