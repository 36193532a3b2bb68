"""A collector of OpenTelemetry that keeps the spans it gets by OTLP over HTTP."""

from __future__ import annotations

import gzip
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Received:
    """A span.

    Attributes:
        name: Of the span.
        trace: Its trace's id, in hex.
        id: Its own, in hex.
        parent: Its parent's, in hex; empty without one.
        began: Unix time in nanoseconds.
        ended: Likewise.
        links: Ids of the spans that it links to.
        attributes: By name.
        is_error: Whether its status is an error.
        service: Attributes of what sent it.
    """

    name: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    links: tuple[str, ...]
    attributes: dict[str, Any]
    is_error: bool
    service: dict[str, Any]


@dataclass
class OtlpReceiver:
    """What was received, and where."""

    endpoint: str = ""
    spans: list[Received] = field(default_factory=list)

    def of_task(self, task_id: str) -> Received:
        """The span of a task, once it was received."""

        def found() -> list[Received]:
            return [
                one for one in self.spans if one.attributes.get("messaging.message.id") == task_id
            ]

        wait_until(found, lambda: f"no span of {task_id} among {self.spans}")
        return found()[0]

    def below(self, span: Received) -> list[Received]:
        """The spans whose parent it is."""
        return [one for one in self.spans if one.parent == span.id]


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """A collector while it is entered."""
    receiver = OtlpReceiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.spans += _spans(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _spans(request: Any) -> list[Received]:
    return [
        Received(
            name=span.name,
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            began=span.start_time_unix_nano,
            ended=span.end_time_unix_nano,
            links=tuple(link.span_id.hex() for link in span.links),
            attributes=_values(span.attributes),
            is_error=span.status.code == 2,
            service=_values(of_service.resource.attributes),
        )
        for of_service in request.resource_spans
        for scope in of_service.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
