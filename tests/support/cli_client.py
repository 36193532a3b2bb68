"""A client for the command line's tests that answers by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

from worker.contract import Classification, Failure, Outcome, Prediction, Timing

TIMING = Timing(
    queue=None,
    labels=0.0,
    fetch=0.0,
    decode=0.0,
    batch_wait=0.0,
    forward=0.0,
    score=0.0,
    batch_size=1,
)


class FakeClient:
    """Answers each picture with the labels as they come, the first at one half, and so on.

    Bytes that begin with `bad` are no picture. Each message's answers come last one first, to
    stand for workers of different speed.

    Attributes:
        uploads: What was uploaded, in order.
        questions: Of `classify_many`.
        most_in_hand: Most pictures that were sent and not answered.
    """

    def __init__(self) -> None:
        self.uploads: list[bytes] = []
        self.questions: list[dict[str, Any]] = []
        self.arguments: tuple[Any, ...] = ()
        self.most_in_hand = 0

    def __call__(self, url: str, *, queue: str) -> Self:
        """Stand for the class."""
        self.arguments = (url, queue)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ping(self) -> None:
        pass

    def upload(self, data: bytes, ttl_s: float) -> str:
        self.uploads.append(data)
        return f"redis://uploads/{len(self.uploads) - 1}"

    def classify_many(
        self, images: Iterable[str], *, chunk: int, in_flight: int, timeout: float, **question: Any
    ) -> Iterator[tuple[int, Outcome]]:
        self.questions.append(question)
        waiting: list[tuple[int, str]] = []
        for position, image in enumerate(images):
            waiting.append((position, image))
            self.most_in_hand = max(self.most_in_hand, len(waiting))
            if len(waiting) == chunk * in_flight:
                yield from self._answers(waiting, question)
        yield from self._answers(waiting, question)

    def _answers(
        self, waiting: list[tuple[int, str]], question: dict[str, Any]
    ) -> Iterator[tuple[int, Outcome]]:
        while waiting:
            position, image = waiting.pop()
            yield position, self._outcome(image, question)

    def _outcome(self, image: str, question: dict[str, Any]) -> Outcome:
        number = image.removeprefix("redis://uploads/")
        if number != image and self.uploads[int(number)].startswith(b"bad"):
            failure = Failure(
                type="ImageInvalidError",
                code="DECODE_UNRECOGNIZED",
                message=f"{image!r}: These bytes are no picture.",
            )
            return Outcome(status="error", error=failure)
        predictions = tuple(
            Prediction(label=label, probability=0.5 ** (rank + 1), index=rank)
            for rank, label in enumerate(question["labels"][: question["k"]])
        )
        return Outcome(
            status="ok",
            result=Classification(
                predictions=predictions, model="fake", model_digest="0", timing=TIMING
            ),
        )
