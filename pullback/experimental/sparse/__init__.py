"""Sparse arrays: BCOO, which stores entries with their indices, in batches, and the classic formats of matrices.

A BCOO is a pytree of its entries and its indices: `jit`, `vmap`, loops and branches take and return it, and derivatives
with respect to the entries are those of any array (`sparse.grad` takes them at the indices of the argument). What is
made of an array in traced code needs the number of entries, `nse`.
"""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.experimental.sparse._arithmetic import (
    bcoo_multiply_dense,
    bcoo_multiply_sparse,
    bcoo_reduce_sum,
)
from pullback.experimental.sparse._base import JAXSparse, SparseEfficiencyError, SparseEfficiencyWarning
from pullback.experimental.sparse._bcoo import (
    BCOO,
    bcoo_extract,
    bcoo_fromdense,
    bcoo_sort_indices,
    bcoo_sum_duplicates,
    bcoo_todense,
)
from pullback.experimental.sparse._bcsr import (
    BCSR,
    bcsr_dot_general,
    bcsr_fromdense,
    bcsr_sum_duplicates,
    bcsr_todense,
)
from pullback.experimental.sparse._creation import empty, eye, random_bcoo, todense
from pullback.experimental.sparse._layouts import (
    bcoo_broadcast_in_dim,
    bcoo_concatenate,
    bcoo_reshape,
    bcoo_squeeze,
    bcoo_transpose,
    bcoo_update_layout,
)
from pullback.experimental.sparse._matrices import (
    COO,
    CSC,
    CSR,
    coo_fromdense,
    coo_matmat,
    coo_matvec,
    coo_todense,
    csr_fromdense,
    csr_matmat,
    csr_matvec,
    csr_todense,
)
from pullback.experimental.sparse._operators import install as _install
from pullback.experimental.sparse._products import bcoo_dot_general, bcoo_dot_general_sampled
from pullback.experimental.sparse._slicing import bcoo_dynamic_slice, bcoo_gather, bcoo_rev, bcoo_slice
from pullback.experimental.sparse.ad import grad, jacfwd, jacobian, jacrev, value_and_grad
from pullback.experimental.sparse.transform import sparsify, todense_p

if _typing.TYPE_CHECKING:
    from pullback.experimental.sparse import linalg as linalg

__all__ = [
    "BCOO",
    "BCSR",
    "COO",
    "CSC",
    "CSR",
    "JAXSparse",
    "SparseEfficiencyError",
    "SparseEfficiencyWarning",
    "bcoo_broadcast_in_dim",
    "bcoo_concatenate",
    "bcoo_dot_general",
    "bcoo_dot_general_sampled",
    "bcoo_dynamic_slice",
    "bcoo_extract",
    "bcoo_fromdense",
    "bcoo_gather",
    "bcoo_multiply_dense",
    "bcoo_multiply_sparse",
    "bcoo_reduce_sum",
    "bcoo_reshape",
    "bcoo_rev",
    "bcoo_slice",
    "bcoo_sort_indices",
    "bcoo_squeeze",
    "bcoo_sum_duplicates",
    "bcoo_todense",
    "bcoo_transpose",
    "bcoo_update_layout",
    "bcsr_dot_general",
    "bcsr_fromdense",
    "bcsr_sum_duplicates",
    "bcsr_todense",
    "coo_fromdense",
    "coo_matmat",
    "coo_matvec",
    "coo_todense",
    "csr_fromdense",
    "csr_matmat",
    "csr_matvec",
    "csr_todense",
    "empty",
    "eye",
    "grad",
    "jacfwd",
    "jacobian",
    "jacrev",
    "random_bcoo",
    "sparsify",
    "todense",
    "todense_p",
    "value_and_grad",
]

_install()

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__, {"linalg": "pullback.experimental.sparse.linalg"})
