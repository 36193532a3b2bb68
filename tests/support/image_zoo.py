"""Real image files of mixed formats and sizes, for suites that need many images.

`write_zoo(folder, 500, seed=0)` takes about 25 s on one core. The files are the same for the same
seed and Pillow. Half of them show scenes of the demo model, half photo-like fields.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import ExifTags, Image

from clip_engine.demo.world.draw import draw_scene
from clip_engine.demo.world.scenes import VALUES, Scene

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.random import Generator
    from numpy.typing import NDArray
    from torch import Tensor

    from clip_engine.engine import Engine

    Writer = Callable[[Image.Image, Path, Generator], None]

# Width and height in pixels: landscape, portrait, square, tiny, strips.
SIZES: Final = (
    (320, 240),
    (240, 320),
    (500, 375),
    (256, 256),
    (64, 48),
    (640, 480),
    (17, 400),
    (333, 1),
    (449, 600),
)
_LARGEST_FIELD: Final = 1_500_000  # pixels
_LARGEST_SCENE: Final = 400 * 400  # pixels; a scene is drawn at four times its size


def write_zoo(folder: Path, count: int, seed: int) -> list[Path]:
    """Write image files.

    Args:
        folder: Where they go; made if it is not there.
        count: How many files; from 9 on, every format occurs.
        seed: Decides the contents.

    Returns:
        Their paths, in the order in which they were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kinds = itertools.cycle(WRITERS.items())
    return [_write(folder, index, next(kinds), seed) for index in range(count)]


def photo(size: tuple[int, int], seed: int) -> Image.Image:
    """A photo-like RGB field: noise of six octaves, the coarse ones strong, as in photographs.

    Args:
        size: Width and height in pixels.
        seed: Decides the field.
    """
    if size[0] * size[1] > _LARGEST_FIELD:
        quarter = photo((size[0] // 4, size[1] // 4), seed)  # as smooth, in a tenth of the time
        return quarter.resize(size, Image.Resampling.BICUBIC)
    rng = np.random.default_rng(seed)
    total = np.zeros((size[1], size[0], 3), dtype=np.float32)
    for octave in range(1, 7):
        total += _noise(size, 2**octave, rng) / 2 ** (octave - 1)
    total = 128 + 70 * total / total.std()
    return Image.fromarray(np.clip(total, 0, 255).astype(np.uint8))


def pixels_of(engine: Engine, count: int, seed: int = 0) -> list[Tensor]:
    """Photo-like images that an engine has prepared, uint8 `[3, R, R]` each."""
    side = engine.preprocessor.transform.resolution
    return [engine.prepare(photo((side, side), seed=seed + index)) for index in range(count)]


def _noise(size: tuple[int, int], cells: int, rng: Generator) -> NDArray[np.float32]:
    """Standard normal noise in `cells` by `cells` patches, smoothly blown up to the size."""
    coarse = rng.standard_normal((3, cells, cells), dtype=np.float32)
    planes = [Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC) for plane in coarse]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def _write(folder: Path, index: int, kind: tuple[str, Writer], seed: int) -> Path:
    name, write = kind
    rng = np.random.default_rng((seed, index))
    size = SIZES[int(rng.integers(len(SIZES)))]
    path = folder / f"{index:04d}-{name.replace('.', f'-{size[0]}x{size[1]}.')}"
    write(_content(size, rng), path, rng)
    return path


def _content(size: tuple[int, int], rng: Generator) -> Image.Image:
    content_seed = int(rng.integers(2**32))
    if rng.random() < 0.5 or size[0] * size[1] > _LARGEST_SCENE or min(size) < 16:
        return photo(size, content_seed)
    return draw_scene(
        Scene(*(str(rng.choice(values)) for values in VALUES.values())), size, content_seed
    )


def _jpeg(picture: Image.Image, path: Path, rng: Generator) -> None:
    picture.save(path, quality=int(rng.integers(60, 96)), subsampling=int(rng.integers(3)))


def _progressive_jpeg(picture: Image.Image, path: Path, rng: Generator) -> None:
    picture.save(path, quality=85, progressive=True)


def _cmyk_jpeg(picture: Image.Image, path: Path, rng: Generator) -> None:
    picture.convert("CMYK").save(path, quality=90)


def _rotated_jpeg(picture: Image.Image, path: Path, rng: Generator) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = int(rng.integers(2, 9))
    picture.save(path, quality=85, exif=exif)


def _png_with_alpha(picture: Image.Image, path: Path, rng: Generator) -> None:
    alpha = Image.linear_gradient("L").resize(picture.size)
    picture.putalpha(alpha)
    picture.save(path, compress_level=1)


def _palette_png(picture: Image.Image, path: Path, rng: Generator) -> None:
    picture.quantize(64).save(path, transparency=int(rng.integers(64)))


def _deep_png(picture: Image.Image, path: Path, rng: Generator) -> None:
    """Grey of 16 bits: the value and a random low byte."""
    high = np.asarray(picture.convert("L"), dtype=np.uint16) << 8
    low = rng.integers(256, size=high.shape, dtype=np.uint16)
    Image.fromarray(high | low).save(path, compress_level=1)


def _webp(picture: Image.Image, path: Path, rng: Generator) -> None:
    picture.save(path, quality=80, method=0)


def _gif(picture: Image.Image, path: Path, rng: Generator) -> None:
    """Two frames; the first one counts."""
    picture.save(path, save_all=True, append_images=[picture.rotate(180)], duration=100)


WRITERS: Final[dict[str, Writer]] = {
    "baseline.jpg": _jpeg,
    "progressive.jpg": _progressive_jpeg,
    "cmyk.jpg": _cmyk_jpeg,
    "rotated.jpg": _rotated_jpeg,
    "alpha.png": _png_with_alpha,
    "palette.png": _palette_png,
    "deep.png": _deep_png,
    "lossy.webp": _webp,
    "animated.gif": _gif,
}
