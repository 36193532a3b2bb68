"""Programs that the benchmark runs as processes of their own; none of them imports another."""
