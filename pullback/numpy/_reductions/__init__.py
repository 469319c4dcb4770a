"""Sums, extrema, quantiles and what runs along an axis."""
