"""Sums, extrema, quantiles and cumulative operations."""
