"""`clip-worker retag`: classifies stored embeddings with other labels."""
