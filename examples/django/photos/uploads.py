"""Stops an upload that is too large before its file is stored."""

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler

FORM_BYTES = 10_000  # for the form around the file


class MaximumSizeHandler(FileUploadHandler):
    """Answers 413 for a request that says it is too large.

    Under WSGI Django reads no more of a request than it says; under ASGI chunks have to be counted.
    """

    _received = 0

    def handle_raw_input(self, _input, _meta, content_length, *_) -> None:  # noqa: ANN001, ANN002
        """Called before anything is read."""
        self._check(content_length)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:  # noqa: ARG002
        """Count, and hand on to the next handler."""
        self._received += len(raw_data)
        self._check(self._received)
        return raw_data

    def file_complete(self, file_size: int) -> None:
        """The next handler returns the file."""

    def _check(self, size: int) -> None:
        if size > settings.PHOTO_MAX_BYTES + FORM_BYTES:
            raise RequestDataTooBig(f"An upload has more than {settings.PHOTO_MAX_BYTES} bytes.")
