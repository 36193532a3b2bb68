"""Metadata that would fill the memory: many entries that all point at the same bytes."""

from __future__ import annotations

import struct
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from PIL import Image
from support import image_files
from support.hostile_images import png_chunk, segment

ROOT = Path(__file__).resolve().parents[2]
ENTRIES, SHARED_BYTES = 4000, 1_100_000  # 4.4 GB, if each entry gets its own copy
FIRST_TAG = 1000  # above those that mean something to a decoder
MOST_BYTES = 300_000_000  # a TIFF's metadata are parsed more than once
# These copy for each entry: with 3 GB to be had, 1.1 MB took all of it within 7 s.
UNBOUNDED = ("11.3.0", "12.0.0", "12.1.1", "12.2.0", "12.3.0")


def entries(data_at: int) -> bytes:
    """A TIFF directory of entries that share their data."""
    table = b"".join(
        struct.pack("<HHII", FIRST_TAG + index, 7, SHARED_BYTES, data_at)
        for index in range(ENTRIES)
    )
    return struct.pack("<H", ENTRIES) + table + b"\0\0\0\0"


def exif() -> bytes:
    header = b"II*\0" + struct.pack("<I", 8)
    return header + entries(8 + len(entries(0))) + bytes(SHARED_BYTES)


def encoded(kind: str, **options: bytes) -> bytes:
    return image_files.encoded(Image.new("RGB", (8, 8), (200, 30, 90)), kind, **options)


def png() -> bytes:
    plain = encoded("PNG")
    return plain[:33] + png_chunk(b"eXIf", exif()) + plain[33:]  # behind the header


def jpeg() -> bytes:
    plain, body = encoded("JPEG"), exif()
    pieces = [b"Exif\0\0" + body[start : start + 65_000] for start in range(0, len(body), 65_000)]
    segments = [segment(0xE1, piece) for piece in pieces]
    return plain[:2] + b"".join(segments) + plain[2:]


def tiff() -> bytes:
    """With the directory of a sound one, and behind it the entries."""
    plain = encoded("TIFF")
    [start] = struct.unpack_from("<I", plain, 4)
    [count] = struct.unpack_from("<H", plain, start)
    sound = plain[start + 2 : start + 2 + 12 * count]
    data_at = len(plain) + len(sound) + len(entries(0))
    more = entries(data_at)
    directory = struct.pack("<H", count + ENTRIES) + sound + more[2:]
    return plain[:4] + struct.pack("<I", len(plain)) + plain[8:] + directory + bytes(SHARED_BYTES)


FILES = {"png": png, "jpeg": jpeg, "webp": lambda: encoded("WEBP", exif=exif()), "tiff": tiff}
# A process of its own: a decoder that takes too much must not take the tests' memory.
DECODE = """
import resource, sys, warnings
from pathlib import Path
from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import Preprocessor

warnings.simplefilter("ignore")  # Pillow complains of each entry
folder, most_bytes = Path(sys.argv[1]), int(sys.argv[2])
files = {path.stem: path.read_bytes() for path in folder.glob("*.sound")}
sound = {kind: Preprocessor(ImageTransform(32)).from_bytes(data) for kind, data in files.items()}
mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + most_bytes,) * 2)
for kind, pixels in sound.items():
    data = (folder / f"{kind}.hostile").read_bytes()
    try:
        same = Preprocessor(ImageTransform(32)).from_bytes(data).equal(pixels)
        print(f"{kind}: {'as without them' if same else 'another picture'}")
    except Exception as error:
        print(f"{kind}: {error}")
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each hostile image in a process that may take so much more memory."""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux's /proc")
    folder = tmp_path_factory.mktemp("metadata")
    for kind, make in FILES.items():
        (folder / f"{kind}.hostile").write_bytes(make())
        (folder / f"{kind}.sound").write_bytes(encoded(kind))
        assert len(make()) < 1_200_000
    command = [sys.executable, "-c", DECODE, str(folder), str(MOST_BYTES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("kind", FILES)
def test_entries_that_share_their_bytes_are_not_copied_for_each(
    kind: str, outcomes: dict[str, str]
) -> None:
    assert outcomes[kind] == "as without them"


def pillow() -> Requirement:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    worker = map(Requirement, project["optional-dependencies"]["worker"])
    [pillow] = [requirement for requirement in worker if requirement.name == "pillow"]
    return pillow


@pytest.mark.parametrize("version", UNBOUNDED)
def test_a_pillow_that_copies_for_each_entry_can_not_be_installed_with_us(version: str) -> None:
    assert not pillow().specifier.contains(version)


def test_the_pillow_in_use_and_the_one_in_the_constraints_are_ones_that_we_ask_for() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    [pin] = [line.partition("==")[2] for line in pins if line.startswith("pillow==")]
    assert pillow().specifier.contains(pin)
    assert pillow().specifier.contains(metadata.version("pillow"))
