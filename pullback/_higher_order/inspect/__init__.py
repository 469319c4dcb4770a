"""Taps inside of the primitives that hold functions."""
