"""What `build_reference.py` generates, one kind a module, as Markdown."""
