"""`sparsify`: run a function written for arrays on sparse arrays.

The function is traced with an array in the place of each sparse one. Its equations are then evaluated one by one: those
without sparse operands as they are, the others by a rule for their primitive.
"""

from __future__ import annotations

import typing as _typing
from collections.abc import Callable, Sequence
from typing import Any

from pullback import lax
from pullback._api.inspect import make_jaxpr
from pullback._api.jit import jit
from pullback._core.arguments import check_callable
from pullback._core.errors import boundary, wrapping
from pullback._core.jaxpr import Equation, Jaxpr, Var, literal_value
from pullback._core.lazy import attributes as _attributes
from pullback._core.primitive import Primitive
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.types import ShapeDtypeStruct
from pullback._core.typing import P
from pullback._ops.families import ANY, unary
from pullback.experimental.sparse import _arithmetic, _layouts, _products, _slicing
from pullback.experimental.sparse._base import dense, is_sparse
from pullback.experimental.sparse._bcoo import BCOO
from pullback.numpy import asarray

__all__ = ["sparsify"]

todense_p: Primitive = unary("todense", lambda x: x, lambda ctx, x: x, lambda t, x, y: t, ANY)

# primitive -> a function of operands, of which one is sparse at least, and parameters
_rules: dict[str, Callable[..., Any]] = {}


@boundary
def sparsify(f: Callable[P, Any], use_tracer: bool = False) -> Callable[P, Any]:
    """A function written for arrays, for sparse arrays too.

    Args:
      f: a function of pytrees of arrays.
      use_tracer: ignored.

    Returns: a function that takes BCOOs among its arguments, and returns some.
    Raises: TypeError if `f` is not callable; at a call NotImplementedError for an operation without a sparse rule, such
      as one whose result is dense, where `sparse.todense(x)` inside `f` helps.

    >>> import pullback.numpy as pnp
    >>> from pullback.experimental import sparse
    >>> f = sparse.sparsify(lambda M, v: 2 * (M.T @ v))
    >>> print(f(sparse.eye(2), pnp.array([1., 3.])))
    [2. 6.]
    """
    check_callable("sparsify", f)

    @wrapping(f)
    @boundary
    def sparsified(*args, **kwargs):
        leaves, tree = tree_flatten((args, kwargs), is_sparse)
        leaves = [x if is_sparse(x) else asarray(x) for x in leaves]
        found = {}

        def flat(*xs):
            args, kwargs = tree_unflatten(tree, xs)
            out, found["tree"] = tree_flatten(f(*args, **kwargs), is_sparse)
            return out

        stand_ins = (ShapeDtypeStruct(x.shape, x.dtype) if is_sparse(x) else x for x in leaves)
        closed = make_jaxpr(flat)(*stand_ins)
        return tree_unflatten(found["tree"], _evaluated(closed.jaxpr, closed.consts, leaves))

    return sparsified


def _evaluated(jaxpr: Jaxpr, consts: Sequence[Any], args: Sequence[Any]) -> list[Any]:
    env: dict[Var, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    env.update(zip(jaxpr.invars, args, strict=True))

    def value(v: Any) -> Any:
        return env[v] if isinstance(v, Var) else literal_value(v)

    for eqn in jaxpr.eqns:
        operands = list(map(value, eqn.invars))
        if any(map(is_sparse, operands)):
            out = _applied(eqn, operands)
        else:
            out = eqn.primitive.bind(*operands, **eqn.params)
        env.update(zip(eqn.outvars, out if eqn.primitive.multiple_results else [out], strict=True))
    return list(map(value, jaxpr.outvars))


def _applied(eqn: Equation, operands: list[Any]) -> Any:
    name = eqn.primitive.name
    rule = _rules.get(name) or _elementwise(eqn)
    if rule is not None:
        return rule(*operands, **eqn.params)
    why = " because it would result in dense output" if name in _DENSE else ""
    raise NotImplementedError(
        f"sparse rule for {name} is not implemented{why}. If a dense array is what you want, use sparse.todense() to "
        "convert your arguments to dense arrays."
    )


_DENSE = ("eq", "ne", "lt", "le", "gt", "ge", "cos", "cosh", "exp", "log", "acos", "acosh")


# --- rules ---

# functions of one number that are zero at zero; of the first also the entries of one index may be added after them
_LINEAR = "neg real imag conj convert_element_type stop_gradient"
_ZERO_AT_ZERO = (
    "abs sign sin tan sinh tanh asin atan asinh atanh sqrt cbrt expm1 log1p square ceil floor round erf erf_inv"
)


def _of_entries(primitive: Primitive, linear: bool) -> Callable[..., Any]:
    def rule(x: Any, **params: Any) -> Any:
        return _arithmetic.with_each(lambda data: primitive.bind(data, **params), x, linear)

    return rule


def _elementwise(eqn: Equation) -> Callable[..., Any] | None:
    name = eqn.primitive.name
    if name in _LINEAR.split() or name in _ZERO_AT_ZERO.split():
        return _of_entries(eqn.primitive, name in _LINEAR.split())
    return None


def _subtracted(x: Any, y: Any) -> Any:
    return _arithmetic.summed_up(x, -y)


def _powers(x: BCOO, *, y: int) -> BCOO:
    if y <= 0:
        raise NotImplementedError(
            f"sparse rule for integer_pow with non-positive exponent {y} is not implemented because it would result in "
            "dense output. If this is your intent, use sparse.todense() to convert your argument to a dense array."
        )
    return _arithmetic.with_each(lambda data: lax.integer_pow(data, y), x)


def _summed(x: BCOO, *, axes: Sequence[int]) -> Any:
    out = _arithmetic.bcoo_reduce_sum(x, axes=axes)
    return out if out.shape else out.todense()


def _joined(*xs: Any, dimension: int) -> BCOO:
    return _layouts.bcoo_concatenate([x if is_sparse(x) else BCOO.fromdense(x) for x in xs], dimension=dimension)


def _dot(x: Any, y: Any, *, dimension_numbers: Any, precision: Any, preferred_element_type: Any) -> Any:
    return _products.bcoo_dot_general(
        x,
        y,
        dimension_numbers=dimension_numbers,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )


def _jit(*xs: Any, jaxpr: Jaxpr, **_: Any) -> list[Any]:
    def program() -> Any:
        return jit(lambda *xs: _evaluated(jaxpr, [], xs))

    return jaxpr.derive("sparsify", program)(*xs)


def _custom_call(*xs: Any, jaxpr: Jaxpr, **_: Any) -> list[Any]:
    return _evaluated(jaxpr, [], xs)


def _scan(
    *xs: Any, jaxpr: Jaxpr, num_consts: int, num_carry: int, length: int, reverse: bool, unroll: Any
) -> list[Any]:
    consts, carry, rows = xs[:num_consts], xs[num_consts : num_consts + num_carry], xs[num_consts + num_carry :]

    def step(carry: Any, row: Any) -> tuple[Any, Any]:
        out = _evaluated(jaxpr, [], [*consts, *carry, *row])
        return out[:num_carry], out[num_carry:]

    last, ys = lax.scan(step, list(carry), list(rows), length, reverse, unroll)
    return [*last, *ys]


def _cond(index: Any, *xs: Any, branches: Sequence[Jaxpr]) -> list[Any]:
    return lax.switch(index, [_branch(branch) for branch in branches], *xs)


def _branch(jaxpr: Jaxpr) -> Callable[..., Any]:
    return lambda *xs: _evaluated(jaxpr, [], xs)


def _while(
    *xs: Any, cond_jaxpr: Jaxpr, body_jaxpr: Jaxpr, cond_consts: int, body_consts: int, max_steps: int | None
) -> list[Any]:
    first, second = xs[:cond_consts], xs[cond_consts : cond_consts + body_consts]

    def more(carry: Any) -> Any:
        return _evaluated(cond_jaxpr, [], [*first, *carry])[0]

    def step(carry: Any) -> Any:
        return _evaluated(body_jaxpr, [], [*second, *carry])

    return lax.while_loop(more, step, list(xs[cond_consts + body_consts :]), max_steps=max_steps)


def _gathered(x: BCOO, indices: Any, *, dimension_numbers: Any, slice_sizes: Any, mode: Any, **_: Any) -> BCOO:
    return _slicing.bcoo_gather(x, indices, dimension_numbers, slice_sizes, mode=mode)


_rules.update(
    todense=lambda x: dense(x),
    add=_arithmetic.summed_up,
    sub=_subtracted,
    mul=_arithmetic.multiplied,
    div=_arithmetic.divided,
    integer_pow=_powers,
    reduce_sum=_summed,
    dot_general=_dot,
    transpose=lambda x, permutation: _layouts.bcoo_transpose(x, permutation=permutation),
    reshape=lambda x, shape: _layouts.bcoo_reshape(x, new_sizes=shape),
    broadcast_in_dim=lambda x, shape, dims: _layouts.bcoo_broadcast_in_dim(x, shape=shape, broadcast_dimensions=dims),
    concatenate=_joined,
    slice=lambda x, **at: _slicing.bcoo_slice(x, **at),
    dynamic_slice=lambda x, *starts, slice_sizes: _slicing.bcoo_dynamic_slice(x, starts, slice_sizes),
    gather=_gathered,
    rev=lambda x, dimensions: _slicing.bcoo_rev(x, dimensions),
    jit=_jit,
    custom_call=_custom_call,
    scan=_scan,
    cond=_cond,
)
_rules["while"] = _while

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
