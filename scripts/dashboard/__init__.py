"""Grafana's dashboard: its panels and their queries."""
