"""Decompositions of matrices and solutions of linear systems, close to LAPACK: strict about dtypes and shapes."""
from pullback._ops.cholesky import cholesky
from pullback._ops.triangular_solve import triangular_solve

__all__ = ["cholesky", "triangular_solve"]
