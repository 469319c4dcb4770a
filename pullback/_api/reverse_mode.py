"""`vjp` and `fwd_and_bwd`: the forward pass, and the backward pass as an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

from pullback._api.auxiliary import strip_aux
from pullback._api.flat_functions import Flat, FlatWithRefs, contents_of, prepared, refs_among
from pullback._api.jit import jit
from pullback._api.vjp_object import VJP
from pullback._core.arguments import argument_path, canonical_argnums, check_callable, lift_leaves
from pullback._core.errors import (
    boundary,
    describe_function,
    described,
    function_name,
    standing_for,
    wrapping,
)
from pullback._core.tree import PyTreeDef, tree_flatten
from pullback._core.typing import Aux, PyTree, R
from pullback._transforms.linearize import Linearized, linearize_flat


@overload
def vjp(
    fun: Callable[..., R], *primals: PyTree, has_aux: Literal[False] = False, saveable_args: PyTree = True
) -> tuple[R, VJP]: ...
@overload
def vjp(
    fun: Callable[..., tuple[R, Aux]], *primals: PyTree, has_aux: Literal[True], saveable_args: PyTree = True
) -> tuple[R, VJP, Aux]: ...
@overload
def vjp(
    fun: Callable[..., Any], *primals: PyTree, has_aux: bool = False, saveable_args: PyTree = True
) -> tuple[Any, ...]: ...
@boundary
def vjp(
    fun: Callable[..., Any], *primals: PyTree, has_aux: bool = False, saveable_args: PyTree = True
) -> tuple[Any, ...]:
    """The value of `fun` at `primals` and its pullback (reverse mode).

    Args:
      fun: a function of arrays, or pytrees of arrays, returning an array or a pytree of them. It may take Refs: their
        gradient, with respect to what they hold before the call, goes to other Refs, see `with_refs`.
      primals: its arguments.
      has_aux: whether `fun` returns a pair, whose second element is returned without derivative.
      saveable_args: False for arguments whose values the pullback must not keep, since they are at hand when it is
        called: they are put back into `pullback.args_res` then. A bool, or a tuple with a bool or a pytree of them for
        each argument.

    Returns: `(primals_out, pullback)`, and with `has_aux` the auxiliary result. `pullback(cotangent)` takes a value
      with the structure, shapes and dtypes of the result and returns a tuple with a cotangent for each argument. It is
      an object with further methods, and a pytree, whose leaves are the arrays saved for the backward pass: `jit` can
      return it and take it.
    Raises: TypeError if `fun` is not callable, and for arguments or results that are not arrays, ValueError for
      `saveable_args` of another structure; of `pullback`, an error that is a TypeError and a ValueError for a cotangent
      with another structure or dtype than the result, ValueError for another shape.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> y, pullback = pb.vjp(lambda x, w: x * w, 2., 5.)
    >>> print(y, [float(g) for g in pullback(1.)])
    10.0 [5.0, 2.0]
    """
    check_callable("vjp", fun)
    leaves, tree = tree_flatten(primals)
    saveable = None if saveable_args is True else _spread_flags(fun, saveable_args, primals, tree)
    refs = refs_among(leaves)
    if refs:
        flat: Flat = FlatWithRefs("vjp", fun, primals, tree, has_aux, leaves)
        leaves = contents_of(leaves)
    else:
        flat = Flat("vjp", fun, primals, {}, tree, None, has_aux)
    xs = lift_leaves("vjp", fun, leaves, primals)
    outs, linear = linearize_flat(prepared(flat), xs, subject=f"vjp of {describe_function(fun)}")
    if isinstance(flat, FlatWithRefs):
        outs = flat.ended(outs)
        linear = Linearized(linear.tape, linear.records, linear.inputs, linear.outputs[: len(outs)])
    value = flat.out_tree.unflatten(outs)
    avals = [x.aval for x in xs]
    pullback = VJP(fun, linear, avals, tree, [o.aval for o in outs], flat.out_tree, xs, saveable, refs)
    return (value, pullback, strip_aux(flat.aux)) if has_aux else (value, pullback)


def _spread_flags(fun: Callable, flags: PyTree, primals: Sequence[Any], tree: PyTreeDef) -> list[bool]:
    """Flags for the leaves of the arguments."""
    if isinstance(flags, bool):
        return [flags] * tree.num_leaves
    name = f"vjp of {function_name(fun)}: saveable_args"
    if not isinstance(flags, (tuple, list)) or len(flags) != len(primals):
        raise ValueError(
            f"{name} must be a bool, or a tuple with an entry for each of the {len(primals)} arguments, got {flags!r}"
        )
    spread: list[bool] = []
    for i, (flag, primal) in enumerate(zip(flags, primals, strict=True)):
        leaves, structure = tree_flatten(primal)
        entries = [flag] * len(leaves) if isinstance(flag, bool) else tree_flatten(flag)[0]
        if len(entries) != len(leaves) or not all(isinstance(entry, bool) for entry in entries):
            raise ValueError(
                f"{name}: the entry of {argument_path(fun, i)} must be a bool, or a pytree of bools with the structure "
                f"{structure}, got {flag!r}"
            )
        spread += entries
    return spread


@boundary
def fwd_and_bwd(
    fun: Callable[..., Any], argnums: int | Sequence[int], has_aux: bool = False, jitted: bool = True
) -> tuple[Callable[..., Any], Callable[[VJP, PyTree], Any]]:
    """The forward and the backward pass of a function as two functions, compiled unless `jitted` is False.

    Args:
      fun: a function of arrays or pytrees of arrays.
      argnums: the position of the argument to differentiate, or several.
      has_aux: whether `fun` returns a pair, whose second element is returned without derivative. It consists of arrays,
        if the functions are compiled.

    Returns: `fwd` and `bwd`. `fwd(*args)` returns `(result, f_vjp)`, and the auxiliary result third if there is one;
      `bwd(f_vjp, cotangent)` the cotangent of the argument, or a tuple of them if `argnums` is a sequence. It may be
      called many times.
    Raises: TypeError if `fun` is not callable; at the call those of `vjp`, and ValueError for a position without
      argument.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> fwd, bwd = pb.fwd_and_bwd(lambda x, w: pnp.sin(x) * w, argnums=(0, 1))
    >>> y, f_vjp = fwd(2., 3.)
    >>> print(*bwd(f_vjp, 1.))
    -1.2484405 0.9092974
    """
    check_callable("fwd_and_bwd", fun)
    single = isinstance(argnums, int)

    @wrapping(fun)
    def fwd(*args, **kwargs):
        positions = canonical_argnums(f"fwd_and_bwd of {function_name(fun)}", argnums, len(args))

        @standing_for(fun)
        def of_dynamic(*dynamic):
            given = list(args)
            for i, x in zip(positions, dynamic, strict=True):
                given[i] = x
            return fun(*given, **kwargs)

        return vjp(of_dynamic, *[args[i] for i in positions], has_aux=has_aux)

    def bwd(f_vjp, cotangent):
        if not isinstance(f_vjp, VJP):
            raise TypeError(f"bwd of {function_name(fun)}: expected what fwd returned, got {described(f_vjp)}")
        cotangents = f_vjp(cotangent)
        return cotangents[0] if single else cotangents

    return (jit(fwd), jit(bwd)) if jitted else (fwd, boundary(bwd))


__all__ = ["fwd_and_bwd", "vjp"]
