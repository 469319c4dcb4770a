"""Integrals of sampled functions."""

from pullback.numpy._functional.calculus import trapezoid

__all__ = ["trapezoid"]
