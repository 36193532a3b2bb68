"""Classifies many images from a feed into a sink, and continues where it stopped."""
