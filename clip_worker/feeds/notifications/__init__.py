"""What object stores send when an object was created, and how it is received."""
