"""What a producer must not load."""

HEAVY = {"torch", "torchvision", "numpy", "PIL", "clip_engine", "ftfy"}
