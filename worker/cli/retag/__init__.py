"""`clip-worker retag`: answers new questions about stored embeddings."""
