"""Rearranging, joining, splitting, padding."""
