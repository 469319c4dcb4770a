"""Decompositions, linear systems, least squares: what `pullback.numpy.linalg` shows."""
