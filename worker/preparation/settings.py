"""What a preparation process needs to know; plain values, for they cross a process border."""

from __future__ import annotations

from dataclasses import dataclass, field

from clip_engine.images.transform import ImageTransform
from clip_engine.preprocess import DEFAULT_MAX_PIXELS, FORMATS, Mode
from worker.sources.policy import FetchLimits, FetchPolicy

CHUNK = 16  # images a message, where many wait


@dataclass(frozen=True, slots=True)
class PreparationSettings:
    """How images are prepared.

    Attributes:
        transform: How an image becomes the square of pixels that the model takes.
        processes: How many prepare images at a time; about one a core.
        slots: Images that shared memory has room for.
        fetch_threads: Fetches at the same time, of all processes together.
        mode: How exact the resizing is, see `clip_engine.preprocess.Preprocessor`.
        max_pixels: Largest width times height that is decoded.
        formats: Accepted image formats, by Pillow's names.
        policy: Where images may come from.
        limits: How much one fetch may take.
        memory_bytes: For files and decoding, of all processes together.
        decode_cpu_s: Seconds of processor time that one image may take to decode.
        asks: Whether a process asks, with the hash of each file that it has fetched, whether to
            decode it.
        decode_wall_s: Seconds by the clock after which a decode is given up however little
            processor time it has had.
    """

    transform: ImageTransform
    processes: int
    slots: int
    fetch_threads: int = 32
    mode: Mode = "fast"
    max_pixels: int = DEFAULT_MAX_PIXELS
    formats: tuple[str, ...] = FORMATS
    policy: FetchPolicy = field(default_factory=FetchPolicy)
    limits: FetchLimits = field(default_factory=FetchLimits)
    memory_bytes: int = 1024 * 1024 * 1024
    decode_cpu_s: float = 10.0
    decode_wall_s: float = 120.0
    asks: bool = False

    @property
    def places(self) -> int:
        """Most processes at a time: as many again may stand in for those with a slow image."""
        return 2 * self.processes

    @property
    def threads_each(self) -> int:
        """Fetch threads of one process."""
        return max(2, self.fetch_threads // self.processes)

    @property
    def window(self) -> int:
        """Most images that one process has: those it fetches, and one chunk."""
        return self.threads_each + CHUNK

    @property
    def file_bytes_each(self) -> int:
        """Files that one process has fetched and not decoded."""
        return self.memory_bytes // 4 // self.places

    @property
    def decode_bytes_each(self) -> int:
        """Memory that one process may use for decoding without asking for more."""
        return self.memory_bytes // 4 // self.places

    @property
    def all_bytes_each(self) -> int:
        """Memory that one process may map: as above, and for a file of the largest size, twice."""
        return self.decode_bytes_each + self.file_bytes_each + 2 * self.limits.max_bytes

    @property
    def shared_decode_bytes(self) -> int:
        """Memory that large images take turns to use, beside the process's own."""
        return self.memory_bytes // 2
