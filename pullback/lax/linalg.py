"""Decompositions of matrices and solutions of linear systems, close to LAPACK: strict about dtypes and shapes."""

import typing as _typing

from pullback._api.primitive_names import IN_LINALG as _IN_LINALG
from pullback._api.primitive_names import subset as _primitives
from pullback._core.errors import publish
from pullback._core.lazy import attributes as _attributes
from pullback._ops.cholesky import cholesky
from pullback._ops.eig import eig
from pullback._ops.eigh import eigh
from pullback._ops.lu import lu, lu_pivots_to_permutation
from pullback._ops.qr import householder_product, qr
from pullback._ops.svd import svd
from pullback._ops.triangular_solve import triangular_solve

__all__ = [
    "cholesky",
    "eig",
    "eigh",
    "householder_product",
    "lu",
    "lu_pivots_to_permutation",
    "qr",
    "svd",
    "triangular_solve",
]

publish(globals())

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, _primitives(_IN_LINALG))
