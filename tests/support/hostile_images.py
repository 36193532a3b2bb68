"""Pictures that cost a decoder far more than their size lets one expect."""

from __future__ import annotations

import struct


def segment(marker: int, body: bytes) -> bytes:
    """A JPEG segment."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg_of_scans(scans: int, side: int) -> bytes:
    """A grey progressive JPEG whose every scan says nothing about all of its blocks.

    One code stands for a run of 32,767 empty blocks, so a scan takes few bytes, and libjpeg goes
    through all coefficients each time.
    """
    blocks = (-(-side // 8)) ** 2
    no_codes = bytes(16)
    dc_table = segment(0xC4, b"\x00" + b"\x01" + no_codes[1:] + b"\x00")  # 0: no difference
    ac_table = segment(0xC4, b"\x10" + b"\x01" + no_codes[1:] + b"\xe0")  # 0: a run, in 14 bits
    quantisation = segment(0xDB, b"\x00" + b"\x01" * 64)
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\x01\x11\x00")
    dc_scan = segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes(-(-blocks // 8))
    ac_scan = segment(0xDA, b"\x01\x01\x00\x01\x3f\x00") + _runs(blocks)
    return (
        b"\xff\xd8" + quantisation + frame + dc_table + ac_table + dc_scan + ac_scan * (scans - 1)
    ) + b"\xff\xd9"


def _runs(blocks: int) -> bytes:
    bits = ""
    while blocks > 0:
        run = min(blocks, 2**15 - 1)
        bits += "0" + f"{max(0, run - 2**14):014b}"
        blocks -= max(run, 2**14)
    bits += "1" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
