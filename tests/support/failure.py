"""The error that a call ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from clip_worker.errors import ClipWorkerError

if TYPE_CHECKING:
    from collections.abc import Callable


def failure_of(call: Callable[..., Any], *args: Any, **options: Any) -> ClipWorkerError:
    """The error of this package that a call raises: one sentence, on one line."""
    with pytest.raises(ClipWorkerError) as caught:
        call(*args, **options)
    caught.value.message.encode()
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith(".")
    return caught.value


def code_of(call: Callable[..., Any], *args: Any, **options: Any) -> str:
    """The code of the error that a call raises."""
    return failure_of(call, *args, **options).code
