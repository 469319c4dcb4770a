"""Sorting, searching, counting, sets."""
