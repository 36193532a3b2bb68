"""int8 on a CPU: our own image tower beside what other runtimes make of the same weights.

    python -W ignore -m benchmarks.int8_runtimes           (under four minutes, the first time)
    python -W ignore -m benchmarks.int8_runtimes --quick   (a small tower: shows that it works)

ViT-B/32 with random weights on noise, batches of 1 and 8, one thread. `pip install onnx
onnxruntime openvino` adds the other runtimes; a runtime that isn't installed is named. None of
them is a dependency of clip-worker. Processor time is that of this process, which does nothing
else; the runtimes take turns, and a figure is the median of the rounds.

The tower is exported once with torch's own exporter, and quantized with ONNX Runtime's tools:
weights per output channel, activations per tensor. "dynamic" finds their range while it runs,
"static" from a few batches of noise before. OpenVINO reads the same files. Where the processor has
no VNNI instructions the weights get 7 bits (`reduce_range`), as its 8-bit products would overflow.
"""
