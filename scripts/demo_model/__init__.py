"""Training and evaluation of the demo model (`clip_engine/demo/demo.pt`)."""
