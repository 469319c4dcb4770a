"""Decompositions of matrices and solutions of linear systems, close to LAPACK: strict about dtypes and shapes."""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback._core.publishing import publish
from pullback._higher_order.solvers.rank_updates import cholesky_update, symmetric_product
from pullback._ops.cholesky import cholesky, cholesky_p
from pullback._ops.compositions import Composition
from pullback._ops.eig import eig, eig_p
from pullback._ops.eigh import eigh, eigh_p
from pullback._ops.hessenberg import hessenberg, hessenberg_p, tridiagonal, tridiagonal_p
from pullback._ops.implementations import EighImplementation, EigImplementation, SvdAlgorithm
from pullback._ops.lu import lu, lu_p, lu_pivots_to_permutation, lu_pivots_to_permutation_p
from pullback._ops.polar import qdwh
from pullback._ops.qr import householder_product, householder_product_p, qr, qr_p
from pullback._ops.reflections import ormqr
from pullback._ops.schur import schur, schur_p
from pullback._ops.svd import svd, svd_p
from pullback._ops.triangular_solve import triangular_solve, triangular_solve_p
from pullback._ops.tridiagonal import tridiagonal_solve, tridiagonal_solve_p

cholesky_update_p: Composition = Composition("cholesky_update", cholesky_update)
ormqr_p: Composition = Composition("ormqr", ormqr)
symmetric_product_p: Composition = Composition("symmetric_product", symmetric_product)

__all__ = [
    "EigImplementation",
    "EighImplementation",
    "SvdAlgorithm",
    "cholesky",
    "cholesky_p",
    "cholesky_update",
    "cholesky_update_p",
    "eig",
    "eig_p",
    "eigh",
    "eigh_p",
    "hessenberg",
    "hessenberg_p",
    "householder_product",
    "householder_product_p",
    "lu",
    "lu_p",
    "lu_pivots_to_permutation",
    "lu_pivots_to_permutation_p",
    "ormqr",
    "ormqr_p",
    "qdwh",
    "qr",
    "qr_p",
    "schur",
    "schur_p",
    "svd",
    "svd_p",
    "symmetric_product",
    "symmetric_product_p",
    "triangular_solve",
    "triangular_solve_p",
    "tridiagonal",
    "tridiagonal_p",
    "tridiagonal_solve",
    "tridiagonal_solve_p",
]

publish(globals())

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
