"""A client for the command line's tests that answers by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Self

from support.answers import ANSWER

from clip_worker.contract import Failure, Outcome, Prediction


class FakeClient:
    """Gives the labels of each image in their order, the first with a probability of one half.

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

    def __call__(self, url: str, *, queue: str, **_limits: int) -> Self:
        """Stand for the class."""
        self.opened.append((url, queue))
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ping(self) -> None:
        pass

    def upload(self, data: bytes, *, ttl_s: float) -> str:
        self.uploads.append(data)
        return f"redis://uploads/{len(self.uploads) - 1}"

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
        predictions = tuple(
            Prediction(label=label, probability=0.5 ** (rank + 1), index=rank)
            for rank, label in enumerate(options["labels"][: options["k"]])
        )
        return Outcome(
            status="ok",
            result=ANSWER.model_copy(update={"predictions": predictions}),
        )
