"""Text features of labels that the workers of a fleet share, each encoded once."""
