"""Decompositions, linear systems, least squares: the implementation of `pullback.numpy.linalg`."""
