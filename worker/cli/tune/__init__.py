"""`clip-worker tune`: measures settings of a worker on the user's machine, images and labels."""
