"""Selects the check by a file's first bytes, as Pillow selects its decoder."""

from __future__ import annotations

from collections.abc import Callable

from clip_engine.image_checks.bmp import check_bmp
from clip_engine.image_checks.gif import check_gif
from clip_engine.image_checks.ico import check_ico
from clip_engine.image_checks.jpeg import check_jpeg
from clip_engine.image_checks.png import check_png
from clip_engine.image_checks.ppm import check_ppm
from clip_engine.image_checks.tiff import check_tiff
from clip_engine.image_checks.webp import check_webp

_CHECKS: tuple[tuple[bytes, Callable[[bytes], None]], ...] = (
    (b"\xff\xd8\xff", check_jpeg),
    (b"\x89PNG\r\n\x1a\n", check_png),
    (b"RIFF", check_webp),
    (b"GIF8", check_gif),
    (b"BM", check_bmp),
    (b"MM", check_tiff),
    (b"II", check_tiff),
    (b"P", check_ppm),
    (b"\0\0\1\0", check_ico),
)


def check_image_file(data: bytes) -> None:
    """Refuse a file that would take its decoder far more time or memory than an image should.

    A file that passes may still be broken; the decoder finds that out.

    Raises:
        ImageError: `DECODE_TOO_EXPENSIVE`, or `TOO_MANY_PIXELS`.
    """
    for beginning, check in _CHECKS:
        if data.startswith(beginning):
            check(data)
            return
