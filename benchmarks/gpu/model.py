"""Forecasts images a second of a host with a GPU, and says what binds.

    python benchmarks/gpu/model.py --cores 16 --gpu H100 --model ViT-B/32 --pictures 500x375
    python -m benchmarks.gpu.model --overview
    python -m benchmarks.gpu.model --check

It prints a Markdown table of every part that an image passes: what the image costs there, where
that figure comes from, and how many images a second the part allows. The figures are in
`benchmarks/gpu/costs.json`; `benchmarks.gpu.run --costs FILE` writes such a file with what it has
measured. `--overview` has a row for each of several models, image sizes and numbers of workers.
`--check` runs workers on this machine without a GPU and compares the forecast with what they do;
it takes about two minutes.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.gpu.costs import FILE, UnknownError, host_of, load
from benchmarks.gpu.host import Host, sentences, table

TARGETS = (10_000.0,)
# Of the overview.
MODELS = ("ViT-B/32", "ViT-L/14")
PICTURES = ("500x375", "1920x1280")
WORKERS = (1, 2, 4)
LARGE_MODEL_SHARE = 0.9  # of the bare encoder: the aim for models as slow as ViT-L/14


def main() -> int:
    """Print the table of one host, or of the check."""
    options = _options()
    if options.check:
        from benchmarks.gpu.check import check  # starts workers, which needs their packages

        print(check(quick=options.quick))
        return 0
    try:
        print(overview(options) if options.overview else one_host(options))
    except UnknownError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def one_host(options: argparse.Namespace) -> str:
    """Every part of one host.

    Raises:
        UnknownError: There is no figure of the GPU, the model or the image size.
    """
    host = _host(options, options.model, options.pictures, options.workers)
    encoder = host.encoder_images_per_s
    targets = [*TARGETS, LARGE_MODEL_SHARE * encoder.value] if encoder else TARGETS
    return (
        f"{options.model} on one {options.gpu}, {options.pictures} JPEGs, {options.cores} cores, "
        f"{options.workers} worker{'s' if options.workers > 1 else ''}:\n\n{table(host)}\n\n"
        f"{sentences(host, targets)}"
    )


def overview(options: argparse.Namespace) -> str:
    """A row a case.

    Raises:
        UnknownError: There is no figure of the GPU.
    """
    lines = [
        f"One {options.gpu}, {options.cores} cores:\n",
        "| model | images | workers | forecast, images/s | what binds | of the bare encoder |",
        "|---|---|---|---|---|---|",
    ]
    for model, pictures, workers in itertools.product(MODELS, PICTURES, WORKERS):
        host = _host(options, model, pictures, workers)
        binding, encoder = host.binding(), host.encoder_images_per_s
        assert encoder
        lines.append(
            f"| {model} | {pictures} | {workers} | {binding.allows:,.0f} | {binding.name} | "
            f"{binding.allows / encoder.value:.2f} |"
        )
    return "\n".join(lines)


def _host(options: argparse.Namespace, model: str, pictures: str, workers: int) -> Host:
    return host_of(
        load(options.costs),
        cores=options.cores,
        gpu=options.gpu,
        model=model,
        pictures=pictures,
        workers=workers,
        network_gbit=options.network_gbit,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cores", type=int, default=16, help="of the host [16]")
    parser.add_argument("--gpu", default="H100", help="one of costs.json [H100]")
    parser.add_argument("--model", default="ViT-B/32", help="[ViT-B/32]")
    parser.add_argument("--pictures", default="500x375", help="their size [500x375]")
    parser.add_argument("--workers", type=int, default=1, help="model processes [1]")
    parser.add_argument(
        "--network-gbit", type=float, default=25.0, help="of the host; 0 for local files [25]"
    )
    parser.add_argument("--costs", type=Path, default=FILE, metavar="FILE")
    parser.add_argument("--overview", action="store_true", help="a row for each of several cases")
    parser.add_argument("--check", action="store_true", help="compare with workers here")
    parser.add_argument("--quick", action="store_true", help="with --check: short rounds")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
