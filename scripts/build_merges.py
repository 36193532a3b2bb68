"""Rebuild `clip_engine/data/bpe_merges.txt.gz` from the vocabulary file in `open_clip_torch`.

The vocabulary that CLIP was published with lists 262,144 merges, of which CLIP uses the first
48,894: 49,152 tokens less 256 bytes and 2 special tokens (256 bytes come twice, the second time
ending a word: 512 + 48,894 + 2 = 49,408 token ids). Keeping only these shrinks the file to a
sixth. The product holds one merge a line, `a b`, in order of rank, without a header.

    pip install --no-deps open_clip_torch
    python scripts/build_merges.py
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
from pathlib import Path

from open_clip_source import DATA, parse_arguments

PRODUCT = DATA / "bpe_merges.txt.gz"
SOURCE_NAME = "bpe_simple_vocab_16e6.txt.gz"
MERGES = 49_152 - 256 - 2
# Of the compressed file, as OpenAI published it.
SOURCE_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
# Of the text: compressed bytes differ between zlib versions, the text does not.
PRODUCT_TEXT_SHA256 = "d308b7377a8ceaa9707a21614fe8c831b9196e197b7aeb69833359362907af02"


def main() -> int:
    """Read the source, check it, write the product; 0 if both are what they should be."""
    try:
        arguments = parse_arguments((__doc__ or "").splitlines()[0], SOURCE_NAME, PRODUCT)
        text = extract_merges(arguments.source)
        arguments.output.write_bytes(compress(text))
    except (OSError, ValueError) as error:
        print(f"build_merges: {error}", file=sys.stderr)
        return 1
    print(f"wrote {arguments.output}: {MERGES:,} merges, text SHA-256 {sha256(text)} as expected")
    return 0


def extract_merges(source: Path) -> bytes:
    """Return the used merges as UTF-8 text, one a line.

    Raises:
        ValueError: The source or the result is not the one known.
    """
    packed = source.read_bytes()
    verify(str(source), sha256(packed), SOURCE_SHA256)
    lines = gzip.decompress(packed).decode("utf-8").split("\n")
    used = lines[1 : MERGES + 1]  # the first line is a header
    text = ("\n".join(used) + "\n").encode("utf-8")
    verify("the extracted text", sha256(text), PRODUCT_TEXT_SHA256)
    return text


def verify(what: str, actual: str, expected: str) -> None:
    """Compare two digests.

    Raises:
        ValueError: They differ.
    """
    if actual != expected:
        raise ValueError(f"{what} has SHA-256 {actual}, expected {expected}")
    print(f"{what}: SHA-256 {actual} as expected")


def compress(text: bytes) -> bytes:
    """Gzip without file name and time, so that the same text gives the same bytes."""
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as stream:
        stream.write(text)
    return packed.getvalue()


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
