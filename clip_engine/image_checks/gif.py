"""GIF: limits the extension blocks before the first frame, which Pillow reads one by one."""

from __future__ import annotations

from clip_engine.image_checks.refusal import check_blocks, check_junk

_SCREEN_BYTES = 13
_EXTENSION, _FRAME, _END = b"!", b",", b";"


def check_gif(data: bytes) -> None:
    """Refuse too many blocks before the first frame."""
    flags = data[10] if len(data) >= _SCREEN_BYTES else 0
    position = _SCREEN_BYTES + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    blocks = junk = 0
    while position < len(data):
        kind = data[position : position + 1]
        if kind in (_FRAME, _END):
            return
        position += 1
        if kind != _EXTENSION:  # Pillow skips it
            junk += 1
            check_junk("GIF", junk)
            continue
        position += 1  # the extension's label
        while position < len(data) and (length := data[position]):
            position += 1 + length
            blocks += 1
            check_blocks("GIF", blocks)
        position += 1
        blocks += 1
        check_blocks("GIF", blocks)
