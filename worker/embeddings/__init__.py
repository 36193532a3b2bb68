"""Keeps image embeddings, so that old images answer new questions without their pixels."""
