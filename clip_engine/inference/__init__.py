"""How batches run: buckets, encoders, memory limits, errors of a device."""
