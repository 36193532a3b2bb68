"""One script that checks and measures clip-worker on a GPU, and a model of the host around it.

    python -m benchmarks.gpu.run [--json FILE]       checks and measures, in under 8 minutes
    python -m benchmarks.gpu.run --device cpu --quick    shows without a GPU that the script works
    python -m benchmarks.gpu.model --cores 16 --gpu H100    forecasts images a second

`docs/gpu.md` says what each section does. Neither needs a network.
"""
