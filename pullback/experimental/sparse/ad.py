"""Derivatives with respect to sparse arrays: those of the stored entries, at their indices."""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable, Sequence
from typing import Any

from pullback._api import derivatives, jacobians
from pullback._core.arguments import check_callable
from pullback._core.errors import boundary, wrapping
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback.experimental.sparse._base import is_sparse
from pullback.experimental.sparse._bcoo import BCOO
from pullback.numpy import broadcast_to

__all__ = ["grad", "jacfwd", "jacobian", "jacrev", "value_and_grad"]


class _Entries:
    """Arguments as the entries of the sparse arrays among them, and the way back."""

    def __init__(self, args: Sequence[Any]):
        leaves, self.tree = tree_flatten(list(args), is_sparse)
        self.leaves = leaves
        self.entries = [x.data if is_sparse(x) else x for x in leaves]

    def filled(self, entries: Sequence[Any]) -> Any:
        """The arguments with other entries."""
        return tree_unflatten(self.tree, [_with(x, y) for x, y in zip(self.leaves, entries, strict=True)])


def _with(x: Any, entries: Any) -> Any:
    """A sparse array with other entries, in front of which there may be axes of the batch."""
    if not is_sparse(x):
        return entries
    more = entries.ndim - x.data.ndim
    if not more:
        children, aux = x.tree_flatten()
        return type(x).tree_unflatten(aux, (entries, *children[1:]))
    batch = entries.shape[:more]
    if not isinstance(x, BCOO):
        raise NotImplementedError(f"a Jacobian with respect to a {type(x).__name__}: use BCOO")
    return BCOO(
        (entries, broadcast_to(x.indices, (*batch, *x.indices.shape))),
        shape=(*batch, *x.shape),
        indices_sorted=x.indices_sorted,
        unique_indices=x.unique_indices,
    )


def _derivative(
    transform: Callable, name: str, fun: Callable, argnums: int | Sequence[int], has_aux: bool, kwargs: Any
):
    check_callable(name, fun)
    single = isinstance(argnums, int)
    places: tuple[int, ...] = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @wrapping(fun)
    @boundary
    def derivative(*args, **kw):
        if any(not -len(args) <= i < len(args) for i in places):
            raise ValueError(f"{name}: argnums={argnums} asks for an argument beyond the {len(args)} that were passed")
        chosen = [i % len(args) for i in places]
        entries = _Entries([args[i] for i in chosen])

        def of_entries(xs):
            full = list(args)
            for i, value in zip(chosen, entries.filled(xs), strict=True):
                full[i] = value
            return fun(*full, **kw)

        out = transform(of_entries, has_aux=has_aux, **kwargs)(entries.entries)
        return out, lambda xs: entries.filled(xs)[0] if single else tuple(entries.filled(xs))

    return derivative


@boundary
def value_and_grad(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, **kwargs: Any) -> Callable:
    """`value_and_grad`, with respect to sparse arrays too: the gradient has the indices of the argument.

    Args:
      fun: a function with a scalar result.
      argnums: which arguments it is differentiated with respect to.
      has_aux: whether it returns a pair, of which the second is passed on.
      kwargs: other keywords of `value_and_grad`.

    Raises: those of `value_and_grad`.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> value, g = sparse.value_and_grad(lambda M: (M @ pnp.array([1., 2.])).sum())(sparse.eye(2))
    >>> print(value, g, g.data)
    3.0 BCOO(float32[2, 2], nse=2) [1. 2.]
    """
    run = _derivative(derivatives.value_and_grad, "value_and_grad", fun, argnums, has_aux, kwargs)

    @wrapping(fun)
    @boundary
    def value_and_gradient(*args, **kw):
        (value, slopes), fill = run(*args, **kw)
        return value, fill(slopes)

    return value_and_gradient


@boundary
def grad(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, **kwargs: Any) -> Callable:
    """`grad`, with respect to sparse arrays too: the gradient has the indices of the argument.

    Args and Raises: those of `value_and_grad`.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> print(sparse.grad(lambda M: (M @ pnp.array([1., 2.])).sum())(sparse.eye(2)).data)
    [1. 2.]
    """
    both = value_and_grad(fun, argnums, has_aux, **kwargs)

    @wrapping(fun)
    @boundary
    def gradient(*args, **kw):
        value, slopes = both(*args, **kw)
        return (slopes, value[1]) if has_aux else slopes

    return gradient


def _jacobian(transform: Callable, name: str, fun: Callable, argnums: Any, has_aux: bool, kwargs: Any) -> Callable:
    run = _derivative(transform, name, fun, argnums, has_aux, kwargs)

    @wrapping(fun)
    @boundary
    def jacobian(*args, **kw):
        out, fill = run(*args, **kw)
        slopes, aux = out if has_aux else (out, None)
        slopes = tree_map(fill, slopes, is_leaf=lambda x: isinstance(x, list))
        return (slopes, aux) if has_aux else slopes

    return jacobian


@boundary
def jacfwd(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, **kwargs: Any) -> Callable:
    """`jacfwd`, with respect to sparse arrays too: the axes of the result are batch axes of the Jacobian.

    Args:
      fun: a function of arrays, whose result is an array or a pytree of arrays without lists.
      argnums, has_aux, kwargs: as in `jacfwd`.

    Raises: those of `jacfwd`.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> sparse.jacfwd(lambda M: M @ pnp.array([1., 2.]))(sparse.eye(2))
    BCOO(float32[2, 2, 2], nse=2, n_batch=1)
    """
    return _jacobian(jacobians.jacfwd, "jacfwd", fun, argnums, has_aux, kwargs)


@boundary
def jacrev(fun: Callable, argnums: int | Sequence[int] = 0, has_aux: bool = False, **kwargs: Any) -> Callable:
    """`jacrev`, with respect to sparse arrays too, as `jacfwd`. The errors of `jacrev`.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> sparse.jacrev(lambda M: M @ pnp.array([1., 2.]))(sparse.eye(2)).data.tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    return _jacobian(jacobians.jacrev, "jacrev", fun, argnums, has_aux, kwargs)


jacobian = jacrev

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
