"""Elementwise functions of numbers, and the promotion of their operands."""
