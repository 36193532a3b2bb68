"""Spans of OpenTelemetry about the tasks of a worker; off unless it is told where to send them."""
