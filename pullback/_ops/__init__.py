"""Primitives by family, each with all its rules."""
