"""Images that cost a decoder far more than their size lets one expect."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from PIL import Image
from support.image_files import encoded


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


def bmp(width: int, height: int, body: bytes, compression: int) -> bytes:
    """A BMP of 8 bits, or of 4 with compression 2, with a palette of blacks."""
    bits = 4 if compression == 2 else 8
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 256, 0)
    start = 14 + len(info) + 1024
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + bytes(1024) + body


def tiff(
    entries: dict[int, tuple[int, int, int]], tail: bytes = b"", *, big: bool = False
) -> bytes:
    """A TIFF of one directory; an entry is its type, its length and its value or offset."""
    if big:
        head = b"II" + struct.pack("<HHHQ", 43, 8, 0, 16) + struct.pack("<Q", len(entries))
        rows = (struct.pack("<HHQQ", tag, *entry) for tag, entry in sorted(entries.items()))
        return head + b"".join(rows) + bytes(8) + tail
    head = b"II" + struct.pack("<HI", 42, 8) + struct.pack("<H", len(entries))
    rows = (struct.pack("<HHII", tag, *entry) for tag, entry in sorted(entries.items()))
    return head + b"".join(rows) + bytes(4) + tail


def tiff_with_tile(side: int, *, big: bool = False) -> bytes:
    """A grey image of one pixel in a tile, deflated, of this many a side."""
    values = {256: 1, 257: 1, 258: 8, 259: 8, 262: 1, 277: 1, 322: side, 323: side, 324: 8, 325: 9}
    return tiff({tag: (4, 1, value) for tag, value in values.items()}, big=big)


def png_chunk(kind: bytes, body: bytes = b"") -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of_chunks(chunks: bytes) -> bytes:
    """A PNG of one grey pixel with these chunks before it."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixels = png_chunk(b"IDAT", zlib.compress(b"\0\0"))
    return b"\x89PNG\r\n\x1a\n" + header + chunks + pixels + png_chunk(b"IEND")


def ico(picture: bytes) -> bytes:
    """An ICO that says that this image is one of 16x16."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(picture), 22) + picture


MB = 1_000_000
REFUSED = {
    "20,000 scans": lambda: jpeg_of_scans(20_000, 9000),
    "RLE": lambda: bmp(9000, 9000, bytes(40_000), 1),
    "PPM of fill bytes": lambda: b"P6 1 1" + b" " * 60 * MB,
    "JPEG of fill bytes": lambda: b"\xff\xd8" + b"\xff" * 60 * MB,
    "15 million segments": lambda: b"\xff\xd8" + b"\xff\xfe\0\x02" * 15 * MB,
    "GIF of comments": lambda: b"GIF89a\x01\0\x01\0\0\0\0" + b"!\xfe\x01a\0" * 12 * MB,
    "a tile for one pixel": lambda: tiff_with_tile(46_336),
}
LARGE: dict[str, Callable[[], bytes]] = {
    "lossless WebP": lambda: encoded(Image.new("RGB", (9400, 9400), "teal"), "WEBP", lossless=True),
    "float TIFF": lambda: encoded(
        Image.new("F", (9400, 9400), 0.5), "TIFF", compression="tiff_deflate"
    ),
    "PNG": lambda: encoded(Image.new("RGB", (9400, 9400), "teal"), "PNG", compress_level=1),
    "scans": lambda: jpeg_of_scans(200, 9000),
}
