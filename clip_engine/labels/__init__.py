"""Checks label lists for what would spoil their results."""
