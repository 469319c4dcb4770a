"""Integrals of sampled functions."""
from pullback.numpy.calculus import trapezoid

__all__ = ["trapezoid"]
