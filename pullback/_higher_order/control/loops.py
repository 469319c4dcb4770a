"""Public loops of known length: `scan`, `fori_loop`, `map`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.arguments import check_callable, flatten_result
from pullback._core.array import Array, ArrayLike, ConcreteArray
from pullback._core.errors import boundary, describe_function, standing_for
from pullback._core.flat_function import FlatFunction
from pullback._core.jaxpr import Var
from pullback._core.ref_arguments import holds_refs
from pullback._core.refs import Ref
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten, treedef_tuple
from pullback._core.tree_paths import skeleton
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, Aux, PyTree, R
from pullback._higher_order.bodies import (
    check_same_structure,
    check_same_types,
    known_count,
    lift_operand,
    lift_tree,
    path_of,
    promote_weak,
    trace_body,
)
from pullback._higher_order.control.scan import bind_scan
from pullback._higher_order.control.while_loop import while_loop
from pullback._ops.assemble import concatenate
from pullback._ops.compare import lt
from pullback._ops.elementwise import add
from pullback._ops.own_types import leading_length
from pullback._ops.shape import convert_element_type, reshape
from pullback._ops.slicing import slice_in_dim
from pullback._transforms.vmap import batch_flat, without_leading


@boundary
def scan(
    f: Callable[[Any, Any], tuple[R, Aux]],
    init: PyTree,
    xs: PyTree = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
    _split_transpose: bool = False,
) -> tuple[R, Aux]:
    """A loop over the leading axis of `xs` that carries a value and stacks results.

    Args:
      f: `f(carry, x) -> (carry, y)`; the carry keeps its structure, shapes and dtypes.
      init: the first carry, a pytree of arrays.
      xs: a pytree of arrays with one leading length, or None for a loop without inputs.
      length: the number of steps, an int; needed only where `xs` has no leaves.
      reverse: run from the last entry to the first; results keep the place of their inputs.
      unroll: the number of steps that the compiled loop runs at a time; True or 0 for all, False for one.
      _split_transpose: accepted for programs that ask JAX to split the backward loop; without effect.

    Returns: the last carry, and the results of all steps stacked along a new leading axis.
    Raises: ValueError if leading lengths differ, for a negative length and a negative `unroll`; TypeError naming
    the leaf of the carry whose type changes.

    >>> import pullback.numpy as pnp
    >>> from pullback import lax
    >>> total, sums = lax.scan(lambda c, x: (c + x, c + x), 0., pnp.array([1., 2., 3.]))
    >>> print(total, sums)
    6.0 [1. 3. 6.]
    """
    return _scan("scan", f, init, xs, length, reverse, unroll)


def _scan(
    function: str,
    f: Callable,
    init: PyTree,
    xs: PyTree,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """`scan` for the functions of this module; messages name `function`."""
    steps = _unrolled(function, unroll)

    def bind(consts, carry, xs, body, n, reverse):
        return bind_scan(consts, carry, xs, body, n, reverse, steps or max(n, 1))

    return scan_by(bind, function, f, init, xs, length, reverse)


def scan_by(
    bind: Callable[..., tuple[list[Any], list[Any]]],
    function: str,
    f: Callable,
    init: PyTree,
    xs: PyTree,
    length: int | None,
    reverse: bool,
) -> tuple[Any, Any]:
    """`scan` of pytrees by a loop over their leaves, `bind(consts, carry, xs, body, n, reverse)`."""
    check_callable(function, f)
    carry, carry_tree = lift_tree(function, "init", init)
    given, given_tree = tree_flatten(xs)
    if holds_refs(given):
        sized = [Var(x.aval_of_part) if isinstance(x, Ref) else lift_operand(function, "xs", x) for x in given]
        f, xs = _over_refs(f, xs, _length(function, sized, given_tree, length))
    scanned, xs_tree = lift_tree(function, "xs", xs, refs=True)
    n = _length(function, scanned, xs_tree, length)
    rows = [without_leading(x.aval) for x in scanned]
    in_tree = treedef_tuple((carry_tree, xs_tree))
    label = describe_function(f)

    def trace(values):
        body = trace_body(function, f, in_tree, [*(c.aval for c in values), *rows], "the body")
        children = body.out_tree.children()
        if not isinstance(skeleton(body.out_tree), (tuple, list)) or len(children) != 2:
            raise TypeError(f"{function}: the body {label} must return a pair (carry, y), got {body.out_tree}")
        check_same_structure(
            function,
            f"the body {label} must return a carry with the structure of init",
            carry_tree,
            children[0],
            "Return the carry as it came in; y may be None.",
        )
        return body, children

    body, children = trace(carry)
    promoted = promote_weak(carry, body.jaxpr.out_avals[: len(carry)])
    if promoted is not None:
        carry = promoted
        body, children = trace(carry)
    check_same_types(
        function,
        f"the body {label} must keep the types of the carry",
        carry_tree,
        [c.aval for c in carry],
        body.jaxpr.out_avals[: len(carry)],
        "Convert with .astype() in the body, or give init the type that the body returns.",
    )
    last, stacked = bind(body.consts, carry, scanned, body.jaxpr, n, bool(reverse))
    return tree_unflatten(carry_tree, last), tree_unflatten(children[1], stacked)


def _over_refs(f: Callable, xs: PyTree, n: int) -> tuple[Callable, PyTree]:
    """The body and its inputs, where some of these are references: each step gets a Ref to its entry."""

    @standing_for(f)
    def step(carry, numbered):
        i, x = numbered
        leaves, tree = tree_flatten(x)
        return f(carry, tree_unflatten(tree, [leaf.at[i] if isinstance(leaf, Ref) else leaf for leaf in leaves]))

    return step, (np.arange(n, dtype=np.int32), xs)


def _unrolled(function: str, unroll: int | bool) -> int:
    """The number of steps to run at a time; 0 stands for all."""
    return int(not unroll) if isinstance(unroll, bool) else known_count(function, "unroll", unroll, 0)


def _length(function: str, xs: list, tree: PyTree, length: int | None) -> int:
    for i, x in enumerate(xs):
        if type(x.aval) is not ShapedArray:
            without_leading(x.aval)
        elif x.aval.ndim == 0:
            raise ValueError(
                f"{function}: xs{path_of(tree, i)} is a scalar, but {function} goes over the leading axis "
                "of every leaf of xs. A value shared by all steps can be closed over."
            )
    lengths = {leading_length(x.aval) for x in xs}
    if length is not None:
        lengths.add(known_count(function, "length", length, 0))
    if len(lengths) > 1:
        lines = [f"  xs{path_of(tree, i)} of {_size_text(x.aval)}" for i, x in enumerate(xs)]
        lines += [f"  length={length}"] if length is not None else []
        raise ValueError(f"{function}: the leading axes must have one length, but\n" + "\n".join(lines))
    if not lengths:
        advice = "Pass length=." if function == "scan" else "Use scan with length=."
        raise ValueError(f"{function}: xs has no leaves, so the number of steps is unknown. {advice}")
    return lengths.pop()  # type: ignore[return-value]


def _size_text(aval: Any) -> str:
    return f"shape {aval.shape}" if type(aval) is ShapedArray else f"type {aval.str_short()}"


def _constant(x: AnyValue) -> int | None:
    """A loop bound as an int, if its value is known now; else None."""
    if isinstance(x, (int, np.integer)):
        return int(x)
    return int(x) if type(x) is ConcreteArray and x.aval.ndim == 0 and dtypes.is_integer(x.dtype) else None


@boundary
def fori_loop(
    lower: ArrayLike,
    upper: ArrayLike,
    body_fun: Callable[[Any, Any], R],
    init_val: PyTree,
    *,
    unroll: int | bool | None = None,
) -> R:
    """Apply `body_fun(i, value)` for `i` from `lower` up to but not including `upper`.

    With bounds that are known when the loop is traced it is a `scan`, which supports `unroll` and reverse mode; with
    traced bounds it is a `while_loop`, which supports forward mode only. If a bound on the number of steps is known,
    use a `while_loop` with `max_steps`, which supports both modes. TypeError for bounds that are not scalar integers,
    and if the type of the value changes; OverflowError for bounds outside the integer type in use, ValueError for 2**31
    steps or more and for an `unroll` with traced bounds.

    >>> from pullback import lax
    >>> print(lax.fori_loop(0, 4, lambda i, x: x + i, 0))
    6
    """
    low, high = _loop_bound("lower", lower), _loop_bound("upper", upper)
    unroll = False if unroll is None else unroll
    at_once = _unrolled("fori_loop", unroll)
    dtype, weak = dtypes.join(low.aval.dtype, low.aval.weak_type, high.aval.dtype, high.aval.weak_type)
    low, high = convert_element_type(low, dtype, weak), convert_element_type(high, dtype, weak)
    check_callable("fori_loop: body_fun", body_fun)
    tree = lift_tree("fori_loop", "init_val", init_val)[1]
    first, last = _constant(lower), _constant(upper)
    if first is not None and last is not None:

        @standing_for(body_fun)
        def step(carry, _):
            i, value = carry
            return (add(i, 1), _next(body_fun, i, value, tree)), None

        steps = known_count("fori_loop", "upper - lower", max(last - first, 0), 0)
        (_, out), _ = _scan("fori_loop", step, (low, init_val), None, steps, unroll=unroll)
        return out

    if at_once != 1:
        raise ValueError(
            f"fori_loop: unroll={unroll!r} needs bounds that are known when the loop is traced. Leave "
            "it out, or make the bounds Python integers (jit: static_argnums or static_argnames)."
        )

    @standing_for(body_fun)
    def advance(carry):
        i, end, value = carry
        return add(i, 1), end, _next(body_fun, i, value, tree)

    return while_loop(lambda carry: lt(carry[0], carry[1]), advance, (low, high, init_val))[2]


def _loop_bound(name: str, bound: Any) -> Array:
    """A bound of `fori_loop` as an array."""
    x = lift_operand("fori_loop", name, bound)
    if x.aval.shape != () or not dtypes.is_integer(x.aval.dtype):
        raise TypeError(f"fori_loop: {name} must be a scalar integer, got {x.aval.str_short()}")
    known = _constant(bound)
    if type(x) is ConcreteArray and known is not None and known != int(x):
        raise OverflowError(
            f"fori_loop: {name}={known} does not fit {x.aval.dtype.name}: turn on 64-bit types with "
            "pullback.config.update('enable_x64', True)"
        )
    return x


def _next(body_fun: Callable, i: Any, value: AnyValue, tree: PyTreeDef) -> Any:
    """The next value of `body_fun`; the error for changed types names `fori_loop`."""
    label = f"body_fun ({describe_function(body_fun)})"
    xs = tree_flatten(value)[0]
    outs, got = flatten_result("fori_loop", body_fun, body_fun(i, value))
    check_same_structure(
        "fori_loop",
        f"{label} must return a value with the structure of init_val",
        tree,
        got,
        "Return the value as it came in.",
    )
    avals = [out.aval for out in outs]
    if promote_weak(xs, avals) is None:  # otherwise the body is traced once more
        check_same_types(
            "fori_loop",
            f"{label} must keep the types of the value",
            tree,
            [x.aval for x in xs],
            avals,
            "Convert with .astype() in the body, or give init_val the type that the body returns.",
        )
    return tree_unflatten(tree, outs)


@boundary
def map(f: Callable[[Any], R], xs: PyTree, *, batch_size: int | None = None) -> R:
    """`f` of each entry along the leading axis of `xs`, one after the other, with the results stacked.

    It needs the memory of a single call, where `vmap` computes all at once.

    Args:
      f: a function of one entry.
      xs: a pytree of arrays with one leading length.
      batch_size: the number of entries to process at a time, vectorized.

    Raises:
      ValueError if leading lengths differ, and for a `batch_size` below 1; TypeError if `f` is not callable.

    >>> import pullback.numpy as pnp
    >>> from pullback import lax
    >>> print(lax.map(lambda x: x ** 2, pnp.arange(3.)))
    [0. 1. 4.]
    """
    check_callable("map", f)
    if batch_size is None:

        @standing_for(f)
        def step(_, x):
            outs, tree = flatten_result("map", f, f(x))
            return None, tree_unflatten(tree, outs)

        return _scan("map", step, None, xs)[1]
    return _map_in_batches(f, xs, batch_size)


def _map_in_batches(f: Callable, xs: PyTree, batch_size: int) -> Any:
    batch_size = known_count("map", "batch_size", batch_size, 1)
    leaves, tree = lift_tree("map", "xs", xs)
    n = _length("map", leaves, tree, None)
    whole = n // batch_size * batch_size

    def batch(rows):
        flat = FlatFunction("map", f, treedef_tuple((tree,)))
        values = tree_flatten(rows)[0]
        outs, dims, trace = batch_flat(flat, values, [0] * len(values), values[0].shape[0])
        return tree_unflatten(flat.out_tree, [trace.materialize(v, d) for v, d in zip(outs, dims, strict=True)])

    parts = []
    if whole or not n:
        blocks = [
            reshape(slice_in_dim(x, 0, whole), (whole // batch_size, batch_size, *x.aval.shape[1:])) for x in leaves
        ]
        stacked, out_tree = tree_flatten(
            _scan("map", lambda _, x: (None, batch(x)), None, tree_unflatten(tree, blocks))[1]
        )
        parts.append([reshape(y, (whole, *y.aval.shape[2:])) for y in stacked])
    if n > whole:
        rest, out_tree = tree_flatten(batch(tree_unflatten(tree, [slice_in_dim(x, whole, n) for x in leaves])))
        parts.append(rest)
    columns = zip(*parts, strict=True)
    return tree_unflatten(out_tree, [c[0] if len(c) == 1 else concatenate(c, 0) for c in columns])
