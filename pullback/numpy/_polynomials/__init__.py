"""Polynomials, as vectors of their coefficients."""
