"""What is known of the settings without loading them, which only the worker can, or torch."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Literal

ENV_PREFIX = "CLIP_WORKER_"
SUPERVISED = "_CLIP_WORKER_SUPERVISED"  # set in workers of a supervisor, see worker.cli.supervisor
LOG_FORMAT = ENV_PREFIX + "LOG_FORMAT"
METRICS_PORT = ENV_PREFIX + "METRICS_PORT"
TEST_PREFIX = ENV_PREFIX + "TEST_"  # of the test suite's own variables
START_OPTIONS = ("loglevel", "redis_wait_s")  # options of `clip-worker start` with a variable
COMMAND_VARIABLES = ("watch_secret",)  # of other commands; workers may share their environment
WATCH_SECRET = ENV_PREFIX + "WATCH_SECRET"
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


# What Kubernetes sets in each pod for each service of its namespace: names after that of the
# service, and values. A service `clip-worker-redis` gives CLIP_WORKER_REDIS_SERVICE_HOST and so on.
_SERVICE_LINKS = {
    r"SERVICE_HOST|PORT_\d+_(TCP|UDP|SCTP)_ADDR": r"[0-9A-Fa-f.:]+",
    r"SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)_PORT": r"\d+",
    r"PORT(_\d+_(TCP|UDP|SCTP))?": r"(tcp|udp|sctp)://\S+",
    r"PORT_\d+_(TCP|UDP|SCTP)_PROTO": r"tcp|udp|sctp",
}


def is_service_link(variable: str, value: str) -> bool:
    """Whether Kubernetes has set a variable for a service whose name begins with `clip-worker`."""
    name = variable.removeprefix(ENV_PREFIX)
    return name != variable and any(
        re.fullmatch(rf"([A-Z0-9_]+_)?({names})", name) and re.fullmatch(values, value)
        for names, values in _SERVICE_LINKS.items()
    )


def metrics_port_warning(environment: Mapping[str, str]) -> str | None:
    """What to say where a service of Kubernetes has taken the name of a setting."""
    value = environment.get(METRICS_PORT, "")
    if not is_service_link(METRICS_PORT, value):
        return None
    return (
        f"{METRICS_PORT} is {value!r}, which Kubernetes sets for a service named "
        "clip-worker-metrics, so no metrics port is opened; rename the service, or set the "
        "variable in the pod's `env` or `enableServiceLinks: false` in its `spec`."
    )


def unknown_variables(environment: Mapping[str, str], fields: Iterable[str]) -> list[str]:
    """A line for each variable that looks like a setting but is not one: mostly a typing error."""
    known = [field.upper() for field in (*fields, *START_OPTIONS, *COMMAND_VARIABLES)]
    lines = []
    for variable in sorted(environment):
        name = variable.removeprefix(ENV_PREFIX)
        if name in (variable, *known) or variable.startswith(TEST_PREFIX):
            continue
        if is_service_link(variable, environment[variable]):
            continue
        near = [ENV_PREFIX + match for match in get_close_matches(name, known, n=1)]
        remedy = f"Did you mean {near[0]}?" if near else "Unset it."
        lines.append(f"Unknown setting {variable}. {remedy}")
    return lines
