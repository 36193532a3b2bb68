r"""Messages that are larger than a worker takes: Redis cuts them before the worker gets them.

`take.lua` leaves the length of the message, its first bytes and its last bytes, behind a byte with
which no JSON begins: `b"\0150000000\n{\"body\": ... \"id\": \"5f3c\", ..."`. So neither the worker
nor the dead letter holds the whole of it.
"""

from __future__ import annotations

import re

from clip_worker.contract.message_headers import MOST_ID_CHARS
from clip_worker.contract.message_reader import Envelope

MARK = b"\0"
_ID = re.compile(rb'"id"\s*:\s*"([\w.:-]{1,%d})"' % MOST_ID_CHARS)
_TASK = re.compile(rb'"task"\s*:\s*"([\w.:-]{1,%d})"' % MOST_ID_CHARS)


class OversizedMessageError(ValueError):
    """A message is too large; the message says what is wrong with "it".

    Args:
        size_bytes: Of the message.

    Attributes:
        envelope: Its id and task, where its end shows them.
    """

    def __init__(self, size_bytes: int, envelope: Envelope) -> None:
        super().__init__(
            f"it has {size_bytes} bytes, more than CLIP_WORKER_MAX_MESSAGE_BYTES; upload the "
            "images, or send fewer in one task"
        )
        self.envelope = envelope


def check_size(message: bytes) -> None:
    """Refuse a message that was cut because it is too large.

    Raises:
        OversizedMessageError: It was.
    """
    if not message.startswith(MARK):
        return
    length, _, rest = message[len(MARK) :].partition(b"\n")
    headers = rest[rest.rfind(b'"headers"') :]
    found = (pattern.search(headers) for pattern in (_ID, _TASK))
    task_id, task = (match[1].decode() if match else "" for match in found)
    raise OversizedMessageError(int(length) if length.isdigit() else 0, Envelope(task_id, task))
