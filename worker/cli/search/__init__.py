"""`clip-worker search`: finds stored images by a text or by another image."""
