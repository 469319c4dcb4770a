"""Calls of functions with derivative and batching rules written by their authors."""
