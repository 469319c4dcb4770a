"""Primitives that hold functions."""
