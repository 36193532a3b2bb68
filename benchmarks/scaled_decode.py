"""How far `preprocessing="fast"` is from `exact` where libjpeg scales while it decodes.

    python benchmarks/scaled_decode.py [FOLDER]

Differences in levels of 255: of each image the mean over its pixels, and the largest. Without a
folder, drawn images at 224x224, of sizes that are scaled by 1/2, 1/4 or 1/8, most of them to no
whole number: in detail for the shortest side by bicubic resampling, as most models take their
images, then for every resize mode and interpolation. With one, its images, cut by a few pixels so
that this is so, at resolutions of a quarter to a sixteenth of their shorter side.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import TypeAlias, get_args

import numpy as np
from PIL import ExifTags, Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from support.image_zoo import photo  # tests'

from clip_engine.images.transform import ImageTransform, Interpolation, ResizeMode
from clip_engine.preprocess import Preprocessor

RESOLUTION = 224
TRANSFORMS = [
    ImageTransform(RESOLUTION, resize, interpolation)
    for resize in get_args(ResizeMode)
    for interpolation in get_args(Interpolation)
]
SIZES = (
    (1920, 1280),
    (2048, 1365),
    (1365, 2048),
    (897, 899),
    (1001, 999),
    (1355, 903),
    (1793, 1795),
    (2049, 1367),
    (3593, 3591),
    (3999, 2999),
)
ORIENTATIONS = (1, 3, 6)
CUTS = ((0, 0), (1, 3), (3, 1), (5, 7))  # pixels, from right and bottom
PARTS = (4.0, 4.6, 8.0, 9.3, 16.0)  # of the shorter side, for each resolution


def waves(size: tuple[int, int]) -> Image.Image:
    """Rings that get finer outwards, down to two pixels: as much detail as pixels can hold."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    squares = (x - width / 2) ** 2 + (y - height / 2) ** 2
    return _grey(127.5 + 127.5 * np.cos(np.pi * squares / max(size)))


def bars(size: tuple[int, int]) -> Image.Image:
    """Black and white bars of about six pixels of the result, upright and level, hard edges."""
    width, height = size
    step = min(size) // 37
    y, x = np.mgrid[:height, :width]
    return _grey(255.0 * (((x // step) + (y // step)) % 2))


def grain(size: tuple[int, int]) -> Image.Image:
    """Independent levels: sharper than any lens."""
    return _grey(np.random.default_rng(size[0]).integers(0, 256, size[::-1]).astype(float))


def sharpened(size: tuple[int, int]) -> Image.Image:
    """A photo-like field with half of its contrast in patches of two pixels, hard-edged."""
    rng = np.random.default_rng(size[1])
    cells = rng.integers(0, 256, (size[1] // 2 + 1, size[0] // 2 + 1, 3)).astype(np.uint8)
    fine = cells.repeat(2, axis=0).repeat(2, axis=1)[: size[1], : size[0]]
    return Image.blend(photo(size, seed=size[0]), Image.fromarray(fine), 0.5)


KINDS: dict[str, Callable[[tuple[int, int]], Image.Image]] = {
    "smooth, photo-like": lambda size: photo(size, seed=size[0]),
    "photo-like, with fine hard-edged grain": sharpened,
    "rings down to two pixels": waves,
    "checks, hard edges": bars,
    "independent pixels": grain,
}


def jpeg(image: Image.Image, orientation: int) -> bytes:
    """Its file, of good quality and with all the colour there is."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, subsampling=0, exif=exif)
    return file.getvalue()


def off(data: bytes, transform: ImageTransform) -> tuple[float, float]:
    """Mean and largest difference of the two modes, in levels."""
    exact, fast = (Preprocessor(transform, mode).from_bytes(data) for mode in ("exact", "fast"))
    difference = (exact.float() - fast.float()).abs()
    return float(difference.mean()), float(difference.max())


Found: TypeAlias = dict[tuple[int, int], list[tuple[float, float]]]  # by size


def measure() -> dict[tuple[ImageTransform, str], Found]:
    """What each transform makes of each kind of image, of all sizes and orientations."""
    found: dict[tuple[ImageTransform, str], Found] = {}
    for (name, draw), size in product(KINDS.items(), SIZES):
        image = draw(size)
        files = [jpeg(image, orientation) for orientation in ORIENTATIONS]
        for transform in TRANSFORMS:
            by_size = found.setdefault((transform, name), {})
            by_size[size] = [off(data, transform) for data in files]
    return found


def of_drawn_pictures() -> None:
    """Print a row for each kind of image, then one for each transform."""
    found = measure()
    print("| image | mean difference | at 2048x1365 | worst size, mean | one pixel at most |")
    print("| --- | --- | --- | --- | --- |")
    for name in KINDS:
        by_size = found[TRANSFORMS[0], name]
        means = {size: max(mean for mean, _ in each) for size, each in by_size.items()}
        worst = max(means, key=lambda size: means[size])
        print(
            f"| {name} | {np.mean(list(means.values())):.2f} | {means[2048, 1365]:.2f} "
            f"| {means[worst]:.2f} ({worst[0]}x{worst[1]}) | {_largest(by_size):.0f} |"
        )
    print("\n| resize mode | interpolation | " + " | ".join(KINDS) + " |")
    print("| --- " * (2 + len(KINDS)) + "|")
    for transform in TRANSFORMS:
        cells = [_cell(found[transform, name]) for name in KINDS]
        print(f"| {transform.resize} | {transform.interpolation} | {' | '.join(cells)} |")


def _cell(by_size: Found) -> str:
    """Mean over all sizes, and at the worst; the largest difference of a pixel."""
    means = [max(mean for mean, _ in each) for each in by_size.values()]
    return f"{np.mean(means):.2f}, {max(means):.2f}; {_largest(by_size):.0f}"


def _largest(by_size: Found) -> float:
    return max(most for each in by_size.values() for _, most in each)


def of_folder(folder: Path) -> None:
    """Print a row for each image in a folder, and one for all."""
    print("| image | mean difference | worst mean | one pixel at most |")
    print("| --- | --- | --- | --- |")
    everything: list[tuple[float, float]] = []
    for path in sorted(folder.iterdir()):
        image = Image.open(path).convert("RGB")
        found = []
        for cut_x, cut_y in CUTS:
            data = jpeg(image.crop((0, 0, image.width - cut_x, image.height - cut_y)), 1)
            resolutions = {int(min(image.size) / part) for part in PARTS}
            found += [off(data, ImageTransform(resolution)) for resolution in resolutions]
        print(_row(path.stem, found), flush=True)
        everything += found
    print(_row("all", everything))


def _row(name: str, found: list[tuple[float, float]]) -> str:
    means, largest = zip(*found, strict=True)
    return f"| {name} | {np.mean(means):.2f} | {max(means):.2f} | {max(largest):.0f} |"


def main() -> None:
    """Print a table."""
    if len(sys.argv) > 1:
        of_folder(Path(sys.argv[1]))
    else:
        of_drawn_pictures()


def _grey(levels: np.ndarray) -> Image.Image:
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8)).convert("RGB")


if __name__ == "__main__":
    main()
