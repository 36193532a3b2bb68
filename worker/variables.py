"""What is known of the settings without loading them, which only the worker can, or torch."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

ENV_PREFIX = "CLIP_WORKER_"
SUPERVISED = "_CLIP_WORKER_SUPERVISED"  # set in workers of a supervisor, see worker.cli.supervisor
TEST_PREFIX = ENV_PREFIX + "TEST_"  # of the test suite's own variables
START_OPTIONS = ("loglevel", "redis_wait_s")  # options of `clip-worker start` with a variable
OBJECT_STORE_SCHEMES = ("s3", "gs", "az")  # the default of CLIP_WORKER_OBJECT_STORE_SCHEMES
DEVICE_PATTERN = r"auto|cpu|cuda(:(\d+|(GPU|MIG)-[\w/-]+))?"  # of CLIP_WORKER_DEVICE
# Read when torch is loaded: threads of a forward pass sleep at a barrier, they don't spin. Beside
# busy preparation processes spinning makes a pass up to ten times slower.
SLEEP_AT_BARRIERS = ("OMP_WAIT_POLICY", "PASSIVE")

# As in clip_engine.acceleration and clip_engine.preprocess, which load torch.
AccelerationName = Literal[
    "linear_patches",
    "folded_gelu",
    "folded_batch_norm",
    "prepacked",
    "trimmed_text",
    "shared_prefixes",
    "cached_text",
    "pinned_upload",
    "cuda_graphs",
    "channels_last",
]
ImageFormat = Literal["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "ICO"]


def unknown_variables(environment: Iterable[str], fields: Iterable[str]) -> list[str]:
    """A line for each variable that looks like a setting but is not one: mostly a typing error."""
    known = [field.upper() for field in (*fields, *START_OPTIONS)]
    lines = []
    for variable in sorted(environment):
        name = variable.removeprefix(ENV_PREFIX)
        if name in (variable, *known) or variable.startswith(TEST_PREFIX):
            continue
        near = [ENV_PREFIX + match for match in get_close_matches(name, known, n=1)]
        remedy = f"Did you mean {near[0]}?" if near else "Unset it."
        lines.append(f"Unknown setting {variable}. {remedy}")
    return lines
