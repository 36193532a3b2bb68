"""A gallery of examples/gallery over HTTP: requests, and what its event stream says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Self
from uuid import uuid4

import urllib3


class GalleryClient:
    """One gallery, and all that its stream has told so far.

    Args:
        http: For requests and for the stream.
        site: Address of the server.

    Attributes:
        news: The latest event, with the answers of all events.
    """

    def __init__(self, http: urllib3.PoolManager, site: str) -> None:
        self._http = http
        self._site = site
        self.path = f"/galleries/{self.request('POST', '/galleries').json()['id']}"
        self._stream = http.request(
            "GET", f"{site}{self.path}/events", preload_content=False, decode_content=False
        )
        self._events = self._read()
        self.news: dict[str, Any] = {"revision": 0, "trouble": "", "answers": {}}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        return self._http.request(method, f"{self._site}{path}", **options)

    def put(self, data: bytes, picture_id: str | None = None) -> tuple[str, int]:
        """Add a picture: its id, and the answer's status."""
        picture_id = picture_id or str(uuid4())
        answer = self.request("PUT", f"{self.path}/pictures/{picture_id}", body=data)
        return picture_id, answer.status

    def put_url(self, url: str) -> tuple[str, int]:
        picture_id = str(uuid4())
        path = f"{self.path}/pictures/{picture_id}/url"
        return picture_id, self.request("PUT", path, json={"url": url}).status

    def relabel(self, *labels: str) -> urllib3.BaseHTTPResponse:
        return self.request("PUT", f"{self.path}/labels", json={"labels": labels})

    def wait(self, condition: Callable[[dict[str, Any]], object]) -> None:
        """Read events until the news are as they should be."""
        while not condition(self.news):
            event = next(self._events)
            self.news = {**event, "answers": self.news["answers"] | event["answers"]}

    def wait_for_answers(self, *picture_ids: str) -> dict[str, Any]:
        """The answers of these pictures to the present labels."""

        def are_there(news: dict[str, Any]) -> bool:
            answers = [news["answers"].get(each) for each in picture_ids]
            return all(
                answer and ("code" in answer or answer["revision"] == news["revision"])
                for answer in answers
            )

        self.wait(are_there)
        return {each: self.news["answers"][each] for each in picture_ids}

    def _read(self) -> Iterator[dict[str, Any]]:
        for line in self._lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))

    def _lines(self) -> Iterator[str]:
        left = b""
        for part in self._stream.stream(65_536):
            *lines, left = (left + part).split(b"\n")
            yield from (line.decode() for line in lines)


def best(answer: dict[str, Any]) -> str:
    """The best label of an answer."""
    return str(answer["tags"][0][0])
