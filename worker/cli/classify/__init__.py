"""`clip-worker classify`: ask the workers which labels fit images."""
