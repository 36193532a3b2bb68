"""The log of a worker: text or JSON, without secrets, bodies of messages and floods."""
