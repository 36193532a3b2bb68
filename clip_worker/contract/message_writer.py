"""Writes Celery messages as kombu puts them on a Redis list, without Celery and kombu.

Protocol 2 in kombu's JSON envelope, byte for byte what `app.send_task` writes except for ids, and
for secrets in URIs, which are removed from what logs and Flower show
(`tests/contract/test_message_writer.py`). `benchmarks/producer.py` measures what that saves.
See https://docs.celeryq.dev/en/stable/internals/protocol.html.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from celery.signals import before_task_publish
from celery.utils.saferepr import saferepr

from clip_worker.contract import SENT_AT_HEADER
from clip_worker.contract.signatures import SIGNATURE_HEADER
from clip_worker.contract.tenants import TENANT_HEADER
from clip_worker.contract.trace_context import trace_headers
from clip_worker.contract.uri import find_uploads
from clip_worker.quoting import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from clip_worker.contract import RequestOptions
    from clip_worker.contract.search import SearchRequest
    from clip_worker.contract.signatures import SigningKey
    from clip_worker.contract.uri import Upload

MOST_SHOWN = 1024  # characters of the arguments that logs and Flower show; Celery's own limit
MOST_SHOWN_IMAGE = 256
MOST_SHOWN_IMAGES = MOST_SHOWN // 4  # no more fit: each has a character, two quotes and a comma
# Left out where they have their defaults, because earlier workers don't know them.
_LATER_OPTIONS = ("score", "none_of_these")
_EMBED = '{"callbacks": null, "errbacks": null, "chain": null, "chord": null}'


class Arguments(NamedTuple):
    """A task's keyword arguments.

    Attributes:
        encoded: As JSON.
        shown: As shown in logs.
        uploads: Those among its images.
    """

    encoded: str
    shown: str
    uploads: Sequence[Upload] = ()


class EncodedRequest:
    """A request, encoded once for any number of images.

    Args:
        request: The validated request; its images are ignored.
    """

    def __init__(self, request: RequestOptions) -> None:
        usual = {
            name
            for name in _LATER_OPTIONS
            if getattr(request, name) == type(request).model_fields[name].default
        }
        fields = request.model_dump(
            mode="json", exclude_none=True, exclude={"image", "images", *usual}
        )
        self._encoded = json.dumps(fields)[:-1]
        if request.webhook is not None:
            fields["webhook"] = without_secrets(request.webhook)
        self._shown = saferepr(fields, MOST_SHOWN)[:-1]

    def with_image(self, image: str, webhook: str | None = None) -> Arguments:
        """Arguments of `clip.classify`; with a webhook if the request has none."""
        encoded, shown = self._with("image", image, _shown(image))
        if webhook is not None:
            encoded = f'{encoded[:-1]}, "webhook": {json.dumps(webhook)}}}'
            shown = f"{shown[:-1]}, 'webhook': {_shown(webhook)}}}"
        return Arguments(encoded, shown, find_uploads((image,)))

    def with_images(self, images: list[str]) -> Arguments:
        """Arguments of `clip.classify_many`."""
        shown = [without_secrets(image) for image in images[:MOST_SHOWN_IMAGES]]
        arguments = self._with("images", images, saferepr(shown, MOST_SHOWN))
        return Arguments(*arguments, find_uploads(images))

    def _with(self, name: str, value: Any, shown: str) -> tuple[str, str]:
        return (
            f'{self._encoded}, "{name}": {json.dumps(value)}}}',
            f"{self._shown}, '{name}': {shown}}}",
        )


def search_arguments(request: SearchRequest) -> Arguments:
    """Arguments of `clip.search`."""
    fields = request.model_dump(mode="json", exclude_none=True)
    image = {} if request.image is None else {"image": without_secrets(request.image)}
    shown = saferepr(fields | image, MOST_SHOWN)
    return Arguments(json.dumps(fields), shown, find_uploads((request.image,)))


class MessageWriter:
    """Writes messages for one queue.

    Args:
        queue: Name of the queue.
        key: Signs them; None to leave them unsigned.
    """

    def __init__(self, queue: str, key: SigningKey | None = None) -> None:
        self._queue = queue
        self._key = key
        self._route = json.dumps({"exchange": "", "routing_key": queue})
        self._origin = json.dumps(f"gen{os.getpid()}@{socket.gethostname()}")
        self._reply_to = uuid.uuid4()

    def write(  # noqa: PLR0913  # what may be set, by name
        self,
        task_id: str,
        task: str,
        arguments: Arguments,
        *,
        priority: int = 0,
        expires_s: float | None = None,
        tenant: str | None = None,
    ) -> str:
        """Write one message.

        Where somebody listens, Celery's signal `before_task_publish` is sent first; its receivers
        may add headers, as those that trace requests do.

        Args:
            task_id: A UUID.
            task: Name of the task.
            arguments: Its arguments.
            priority: 0 to 9, 0 the most urgent.
            expires_s: Seconds from now after which the task expires.
            tenant: Tenant of the message; None for none.
        """
        plain = f"[[], {arguments.encoded}, {_EMBED}]".encode()
        body = base64.b64encode(plain).decode()
        now = time.time()
        expires, expiration = "null", ""
        if expires_s is not None:
            expires = f'"{datetime.fromtimestamp(now + expires_s, UTC).isoformat()}"'
            expiration = f'"expiration": "{int(expires_s * 1000)}", '
        signature = ""
        own = {} if tenant is None else {TENANT_HEADER: tenant}
        if self._key:
            headers = {"task": task, "id": task_id, "root_id": task_id, **own}
            headers |= {"expires": expires[1:-1]} if expires_s is not None else {}
            made = self._key.sign(headers, plain, self._queue, now)
            signature = f', "{SIGNATURE_HEADER}": {json.dumps(made)}'
        message = (
            f'{{"body": "{body}", "content-encoding": "utf-8", '
            '"content-type": "application/json", "headers": {"lang": "py", '
            f'"task": "{task}", "id": "{task_id}", "shadow": null, "eta": null, '
            f'"expires": {expires}, "group": null, "group_index": null, "retries": 0, '
            f'"timelimit": [null, null], "root_id": "{task_id}", "parent_id": null, '
            f'"argsrepr": "()", "kwargsrepr": {json.dumps(arguments.shown)}, '
            f'"origin": {self._origin}, "ignore_result": false, "replaced_task_nesting": 0, '
            f'"stamped_headers": null, "stamps": {{}}, "{SENT_AT_HEADER}": {now!r}{_more(own)}'
            f"{_more(trace_headers())}{signature}}}, "
            f'"properties": {{"correlation_id": "{task_id}", "reply_to": "{self._reply_to}", '
            f'"delivery_mode": 2, {expiration}"delivery_info": {self._route}, '
            f'"priority": {priority}, "body_encoding": "base64", '
            f'"delivery_tag": "{uuid.uuid4()}"}}}}'
        )
        return self._signalled(task, message) if before_task_publish.receivers else message

    def _signalled(self, task: str, text: str) -> str:
        """A message as the receivers of Celery's signal leave it."""
        message = json.loads(text)
        body = json.loads(base64.b64decode(message["body"]))
        before_task_publish.send(
            sender=task,
            body=tuple(body),
            exchange="",
            routing_key=self._queue,
            declare=[],
            headers=message["headers"],
            properties=message["properties"],
            retry_policy=None,
        )
        plain = json.dumps(body).encode()
        message["body"] = base64.b64encode(plain).decode()
        if self._key:
            headers = message["headers"]
            headers[SIGNATURE_HEADER] = self._key.sign(headers, plain, self._queue, time.time())
        return json.dumps(message)


def _more(headers: Mapping[str, Any]) -> str:
    """Headers, as they follow others in JSON."""
    return f", {json.dumps(headers)[1:-1]}" if headers else ""


def _shown(uri: str) -> str:
    """A URI as Celery shows a string, without secrets."""
    uri = without_secrets(uri)
    cut = uri if len(uri) < MOST_SHOWN_IMAGE else f"{uri[: MOST_SHOWN_IMAGE - 3]}..."
    return "'" + cut.replace("'", "\\'") + "'"
