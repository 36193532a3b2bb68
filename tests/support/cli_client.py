"""A client for the command line's tests that answers by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

from support.answers import ANSWER

from clip_worker.contract import Failure, LabelSet, Outcome, Prediction, UsedLabelSet

LABEL_SET = LabelSet(labels=("animal > cat", "animal > dog"), hierarchical=True)


class FakeClient:
    """Gives the labels of each image in their order, the first with a probability of one half.

    The label set `animals` is `LABEL_SET`; no label fits with a probability of one eighth; cosines
    are half the probabilities.

    Bytes that begin with `bad` are not an image. Outcomes arrive in reverse order, as from workers
    of different speed.

    Attributes:
        uploads: What was uploaded, in order.
        requests: Options of `classify_many`.
        opened: URL and queue of each client.
        most_in_flight: Maximum number of images without an outcome.
    """

    def __init__(self) -> None:
        self.uploads: list[bytes] = []
        self.requests: list[dict[str, Any]] = []
        self.opened: list[tuple[str, str]] = []
        self.most_in_flight = 0

    def __call__(self, url: str, *, queue: str, **_options: object) -> Self:
        """Stand for the class."""
        self.opened.append((url, queue))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ping(self) -> None:
        pass

    def upload(self, data: bytes, *, ttl_s: float, name: str) -> str:
        del ttl_s, name
        self.uploads.append(data)
        return f"redis://uploads/{len(self.uploads) - 1}"

    def get_label_set(self, name: str) -> LabelSet:
        assert name == "animals"
        return LABEL_SET

    def classify_many(
        self, images: Iterable[str], *, chunk: int, in_flight: int, timeout: float, **options: Any
    ) -> Iterator[tuple[int, Outcome]]:
        self.requests.append(options)
        waiting: list[tuple[int, str]] = []
        for position, image in enumerate(images):
            waiting.append((position, image))
            self.most_in_flight = max(self.most_in_flight, len(waiting))
            if len(waiting) == chunk * in_flight:
                yield from self._outcomes(waiting, options)
        yield from self._outcomes(waiting, options)

    def _outcomes(
        self, waiting: list[tuple[int, str]], options: dict[str, Any]
    ) -> Iterator[tuple[int, Outcome]]:
        while waiting:
            position, image = waiting.pop()
            yield position, self._outcome(image, options)

    def _outcome(self, image: str, options: dict[str, Any]) -> Outcome:
        number = image.removeprefix("redis://uploads/")
        if number != image and self.uploads[int(number)].startswith(b"bad"):
            failure = Failure(
                type="ImageInvalidError",
                code="DECODE_UNRECOGNIZED",
                message=f"{image!r}: These bytes are no image.",
            )
            return Outcome(status="error", error=failure)
        is_plain = options["score"] in ("softmax", "sigmoid")
        predictions = tuple(
            Prediction(
                label=label,
                probability=0.5 ** (rank + 1),
                index=rank,
                score=None if is_plain else 0.5 ** (rank + 2),
            )
            for rank, label in enumerate(options.get("labels", LABEL_SET.labels)[: options["k"]])
        )
        fields: dict[str, Any] = {"predictions": predictions}
        if options["none_of_these"]:
            fields["none_of_these"] = 0.125
        if "label_set" in options:
            used = UsedLabelSet(name="animals", version=LABEL_SET.version, calibration=None)
            animal = Prediction(label="animal", probability=0.75, index=0)
            fields |= {"label_set": used, "levels": ((animal,), predictions)}
        return Outcome(status="ok", result=ANSWER.model_copy(update=fields))
