"""What visitors are told when something fails, by the error's code."""

from __future__ import annotations

import re
from typing import Final

REDIS_AWAY: Final = "The queue can't be reached. Pictures are tagged as soon as it is back."
NO_WORKER: Final = (
    "No worker has answered for a while. Pictures are tagged as soon as one is running."
)
BUSY: Final = "Many pictures are waiting. Yours follow as soon as there is room."
LABEL_CODES: Final = frozenset(
    {"LABEL_TOO_LONG", "UNKNOWN_LABEL_SET", "BAD_LABEL_SET", "BAD_LABELS", "DUPLICATE_LABEL"}
)
SENTENCES: Final = {
    "QUEUE_UNAVAILABLE": REDIS_AWAY,
    "QUEUE_FULL": BUSY,
    "EMPTY_UPLOAD": "The file is empty.",
    "EMPTY_IMAGE": "The file is empty.",
    "DECODE_UNRECOGNIZED": "This is not an image in a format that the worker reads.",
    "DECODE_TRUNCATED": "The image is incomplete. Copy or download it again.",
    "DECODE_BROKEN": "The image is damaged. Save it again in another program.",
    "DECODE_CRASHED": "The image is damaged. Save it again in another program.",
    "DECODE_TOO_EXPENSIVE": "The image would take too long to read. Save it as JPEG or PNG.",
    "TOO_MANY_PIXELS": "The image has too many pixels. Make it smaller.",
    "FETCH_TOO_LARGE": "The file is too large. Make it smaller.",
    "FETCH_FORBIDDEN_ADDRESS": "This address is not on the public web.",
    "FETCH_UNKNOWN_HOST": "There is no host of this name. Check the address.",
    "FETCH_TLS": "The host's certificate is not valid.",
    "FETCH_TIMEOUT": "The host took too long to answer.",
    "FETCH_CONNECTION": "The host can't be reached.",
    "FETCH_TOO_MANY_REDIRECTS": "The address is redirected too often.",
    "FETCH_BAD_REDIRECT": "The address leads to one that is not permitted.",
    "BAD_URI": "This is not the address of a picture. It begins with https://.",
    "UNSUPPORTED_SCHEME": "The workers fetch no pictures from the web.",
    "UPLOAD_NOT_FOUND": "The picture is no longer stored. Add it again.",
    "BAD_QUERY": "Type what the pictures show, in fewer words.",
    "SEARCH_DISABLED": "The workers keep nothing to search in.",
    "EMBEDDING_STORE": "The pictures can't be searched now. Try again later.",
    "RESULT_TIMEOUT": "No worker has answered. Try again later.",
    "LABEL_TOO_LONG": "A label is too long for the model. Use fewer words.",
    "UNKNOWN_LABEL_SET": "This label set no longer exists. Choose another one.",
    "BAD_LABEL_SET": "This label set can't be read. Choose another one.",
    "BAD_LABELS": "A label has characters that can't be read. Type it again.",
    "DUPLICATE_LABEL": "A label is there twice. Remove one of them.",
}
_STATUS = re.compile(r"FETCH_(\d{3})")


def sentence_for(code: str) -> str:
    """A sentence for an error's code.

    >>> sentence_for("FETCH_404")
    "The picture's host answered with status 404."
    """
    if status := _STATUS.fullmatch(code):
        return f"The picture's host answered with status {status[1]}."
    return SENTENCES.get(code, f"The picture can't be tagged ({code}).")
