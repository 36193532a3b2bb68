"""The model families: implementations of `clip_engine.dual_encoder.DualEncoder`."""
