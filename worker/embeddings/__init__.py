"""Keeps image embeddings, so that images get new labels without being decoded again."""
