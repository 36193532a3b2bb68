"""PPM, PGM and PBM: limits headers full of comments, and pixels that Pillow decodes in Python.

It does so if the pixels are text, or if the largest level is neither 255 nor, for grey, 65535; that
takes up to 0.7 µs a byte.
"""

from __future__ import annotations

import re

from clip_engine.image_checks.refusal import MOST_JUNK_BYTES, check_junk, too_expensive

MOST_BYTES_IN_PYTHON = 8_000_000  # 2 to 6 s
MOST_COMMENTS = 1000  # among the pixels, where Pillow copies a megabyte for each

_COMMENT = re.compile(rb"#[^\r\n]*[\r\n]?")
_TEXT = (b"P1", b"P2", b"P3")
_BITS = (b"P1", b"P4")  # without a largest level
_FAST_LEVELS = {(b"P5", b"255"), (b"P5", b"65535"), (b"P6", b"255")}


def check_ppm(data: bytes) -> None:
    """Refuse a header full of comments or spaces, and a large image that is slow to decode."""
    kind = data[:2]
    numbers = 3 if kind in _BITS else 4  # tokens of the header, including the kind
    tokens = _COMMENT.sub(b" ", data[: MOST_JUNK_BYTES + 1]).split(maxsplit=numbers)
    if len(tokens) < numbers:
        check_junk("PPM", len(data))
        return
    if kind in _TEXT and data.count(b"#") > MOST_COMMENTS:
        raise too_expensive(f"The PPM has more than {MOST_COMMENTS} comments", f"{MOST_COMMENTS}")
    is_fast = kind in _BITS or kind not in (*_TEXT, b"P5", b"P6")
    if not is_fast and (kind, tokens[3]) not in _FAST_LEVELS and len(data) > MOST_BYTES_IN_PYTHON:
        raise too_expensive(
            f"The PPM is of a kind that is slow to decode and has {len(data)} bytes",
            f"{MOST_BYTES_IN_PYTHON}",
        )
