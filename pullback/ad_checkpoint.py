"""`checkpoint`: derivatives that recompute intermediate values of a function instead of storing them."""

from __future__ import annotations

import functools
import typing as _typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass as _dataclass
from typing import Any, NamedTuple, overload

from pullback import checkpoint_policies as checkpoint_policies
from pullback._api.inspect import trace_function
from pullback._core.arguments import (
    aval_of,
    canonical_argnums,
    check_callable,
    check_leaves,
    flatten_result,
    input_names,
    lift_leaves,
    marked_arguments,
    signature,
)
from pullback._core.array import ConcreteArray
from pullback._core.config import debug_nans
from pullback._core.errors import boundary, described, standing_for, wrapping
from pullback._core.jaxpr import Equation, consts_to_args
from pullback._core.lazy import attributes as _attributes
from pullback._core.staging import StagedTracer, StagingTrace
from pullback._core.trace import call_with
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.types import ShapedArray
from pullback._core.typing import F, PyTree
from pullback._higher_order.bodies import lift_tree
from pullback._higher_order.call import jit_p
from pullback._higher_order.checkpoint import bind_checkpoint, checkpoint_p, name_p
from pullback._higher_order.control.scan import scan_p
from pullback._higher_order.custom.remat import remat_fwd_p
from pullback._higher_order.policy import Offloadable as Offloadable
from pullback._higher_order.policy import PolicyLike, shown
from pullback._higher_order.policy import Recompute as Recompute
from pullback._higher_order.policy import Saveable as Saveable
from pullback._transforms.linearize import Linearized, Node, linearize_flat

__all__ = [
    "Offloadable",
    "Recompute",
    "Saveable",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "print_saved_residuals",
    "remat",
    "residual_report",
    "saved_residuals",
]


@overload
def checkpoint(
    fun: F,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., Any] | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> F: ...
@overload
def checkpoint(
    fun: None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., Any] | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Callable[[F], F]: ...
@boundary
def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    prevent_cse: bool = True,
    policy: Callable[..., Any] | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Any:
    """The same function, whose derivative recomputes its intermediate values instead of storing them.

    Reverse mode keeps what the derivative of each operation needs until the backward pass. For a checkpointed function
    it keeps only the arguments, and the values that `policy` allows; in the backward pass the function runs once more.
    Checkpoint each of `n` layers, or the body of a `scan`, and memory is that of the layers' inputs and of one layer.

    Args:
      fun: a function of arrays or pytrees of arrays. It is traced, as by `jit`. Without it, returns a decorator.
      prevent_cse: keep the compiler from merging the second run with the first, which would undo the saving. Inside
        a `scan` nothing can be merged, and False lets the compiler optimize freely.
      policy: the results that may be kept, see `checkpoint_policies`: a function of a primitive, the types of its
        operands and its parameters to a bool. By default none. A policy applies inside calls of `jit`, bodies of `scan`
        and branches of `cond`: values kept in a loop are stacked.
      static_argnums, static_argnames: arguments that are passed as Python values, by position or keyword.

    An operation with a side effect (a callback) runs once; its results are kept.
    See: Griewank and Walther, Evaluating Derivatives (2008), chapter 12; Chen et al., arXiv:1604.06174. TypeError for a
    `fun` or a policy that is not callable; at the call, TypeError for arguments or results that are not arrays,
    ValueError for a static argument that is not passed by position.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> layer = pb.checkpoint(lambda x, w: pnp.tanh(x @ w))
    >>> w = pnp.eye(2)
    >>> print(pb.grad(lambda x: layer(layer(x, w), w).sum())(pnp.array([0., 1.])).round(4))
    [1.     0.2469]
    """
    if fun is None:
        return functools.partial(
            checkpoint,
            prevent_cse=prevent_cse,
            policy=policy,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
        )
    check_callable("checkpoint", fun)
    if policy is not None and not callable(policy):
        raise TypeError(
            f"checkpoint: policy must be a function such as checkpoint_policies.dots_saveable, got {described(policy)}"
        )
    prevent, static = bool(prevent_cse), static_argnums
    places, names = marked_arguments("checkpoint", fun, signature(fun), "static", (), static_argnames)

    @wrapping(fun)
    @boundary
    def checkpointed(*args, **kwargs):
        fixed = canonical_argnums("checkpoint", static, len(args), "static_argnums")
        called = fun
        if names:
            # a name covers the argument however it is passed
            fixed = tuple({*fixed, *(i for i in places if i < len(args))})
            given = {k: kwargs.pop(k) for k in names if k in kwargs}
            called = standing_for(fun)(functools.partial(fun, **given))
        closed, out_tree, leaves = trace_function("checkpoint", called, args, kwargs, fixed)
        positions = [i for i in range(len(args)) if i not in fixed]
        operands = lift_leaves("checkpoint", fun, leaves, [args[i] for i in positions], kwargs, positions)
        outs = bind_checkpoint(consts_to_args(closed.jaxpr), [*closed.consts, *operands], prevent, policy)
        return tree_unflatten(out_tree, outs)

    return checkpointed


remat = checkpoint


@boundary
def checkpoint_name(x: PyTree, name: str) -> PyTree:
    """`x` itself, with a name that policies of `checkpoint` can refer to: a pytree of arrays.

    TypeError for leaves that are not arrays, and for a name that is not a string.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.ad_checkpoint import checkpoint_name
    >>> policy = pb.checkpoint_policies.save_only_these_names("hidden")
    >>> f = pb.checkpoint(lambda x: pnp.sin(checkpoint_name(pnp.exp(x), "hidden")), policy=policy)
    >>> print(f"{pb.grad(f)(0.):.4f}")
    0.5403
    """
    if not isinstance(name, str):
        raise TypeError(f"checkpoint_name: the name must be a string, got {described(name)}")
    leaves, tree = lift_tree("checkpoint_name", "x", x)
    return tree_unflatten(tree, [name_p.bind(leaf, name=name) for leaf in leaves])


class Residual(NamedTuple):
    """An array that reverse mode keeps: its type, and its origin in words."""

    aval: ShapedArray
    source: str

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        return self.aval.size * self.aval.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.aval.str_short()} {self.source}"


@boundary
def saved_residuals(f: Callable[..., Any], *args: PyTree, **kwargs: PyTree) -> list[Residual]:
    """The residuals that reverse mode would keep of a call, for its backward pass; nothing is computed.

    Arguments may be arrays or `ShapeDtypeStruct`s. See `print_saved_residuals`. TypeError if `f` is not callable, and
    for arguments or results that are not arrays.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> for kept in pb.ad_checkpoint.saved_residuals(lambda w, x: w * pnp.sin(x), 2., 1.):
    ...     print(kept)
    f32[] from the argument 'w'
    f32[] output of cos from ...
    f32[] output of sin from ...
    """
    check_callable("saved_residuals", f)
    check_leaves("saved_residuals", f, args, kwargs, structs=True)
    leaves, tree = tree_flatten((args, kwargs))
    names = input_names(f, args, kwargs, range(len(args)))
    trace = StagingTrace("saved_residuals")
    inputs = [trace.new_input(aval_of(x)) for x in leaves]

    def flat(*xs):
        inner_args, inner_kwargs = tree_unflatten(tree, xs)
        return flatten_result("saved_residuals", f, f(*inner_args, **inner_kwargs))[0]

    try:
        # with this option on, equations record the user's line that they come from, through every transformation
        with debug_nans(True):
            _, linear = call_with(trace, linearize_flat, flat, inputs)
        places = {x.atom: f"from the argument {name}" for x, name in zip(inputs, names, strict=True)}
        found: dict[int, Residual] = {}
        operands = _operands(linear)
        kept = {id(value) for value in operands}
        # arguments come first, as they are passed
        for value in [*(x for x in inputs if id(x) in kept), *operands]:
            if isinstance(value, ConcreteArray):
                if value.aval.ndim:
                    found[id(value)] = Residual(value.aval, "from a constant")
            elif isinstance(value, StagedTracer) and value.owner is trace:
                source = places.get(value.atom) or _source(trace.eqns, value.atom)
                found[id(value.atom)] = Residual(value.aval, source)
            else:
                found[id(value)] = Residual(value.aval, f"from {value.owner.describe()}")
        return list(found.values())
    finally:
        trace.alive = False


def _operands(linear: Linearized) -> list[Any]:
    """The operands other than tangents of the operations that give the tangents of the results."""
    return [
        x for record, _ in linear.needed() for x in record.inputs if not (type(x) is Node and x.owner is linear.tape)
    ]


def _source(eqns: Sequence[Equation], var: Any) -> str:
    eqn, i = next((eqn, i) for eqn in reversed(eqns) for i, v in enumerate(eqn.outvars) if v is var)
    if eqn.primitive in (checkpoint_p, jit_p) or (eqn.primitive is scan_p and i >= eqn.params["num_carry"]):
        inner = eqn.params["jaxpr"]
        made = inner.outvars[i]
        if any(v is made for e in inner.eqns for v in e.outvars):
            return _source(inner.eqns, made)
    # the name may be given to the value, or be the value
    name = (
        eqn
        if eqn.primitive is name_p
        else next((e for e in eqns if e.primitive is name_p and e.invars[0] is var), None)
    )
    what = f"named {name.params['name']!r}" if name else f"output of {eqn.primitive.name}"
    if eqn.primitive is remat_fwd_p and eqn.params["rules"] is not None:
        what = f"residual of the fwd rule of {eqn.params['rules'].name}"
    told = name or eqn
    place = told.origin.location if told.origin is not None else told.location
    return f"{what} from {place}" if place else what


@boundary
def print_saved_residuals(f: Callable[..., Any], *args: PyTree, **kwargs: PyTree) -> None:
    """Print the residuals that reverse mode would keep of a call, a line each: type, origin, source line.

    TypeError as for `saved_residuals`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> f = pb.checkpoint(lambda x, w: pnp.sin(x @ w))
    >>> print_saved_residuals(f, pnp.ones((2, 3)), pnp.ones((3, 3)))
    f32[2,3] from the argument 'x'
    f32[3,3] from the argument 'w'
    """
    for residual in saved_residuals(f, *args, **kwargs):
        print(residual)


@_dataclass(frozen=True, slots=True)
class ResidualReport:
    """What `residual_report` returns: a table as text, and its rows.

    `kept` are the residuals under the policy, `recomputed` those that only the function without `checkpoint` keeps.
    """

    policy: PolicyLike | None
    kept: list[Residual]
    recomputed: list[Residual]

    @property
    def nbytes(self) -> int:
        """The memory of what is kept, arguments included."""
        return sum(r.nbytes for r in self.kept)

    def __str__(self) -> str:
        more = sum(r.nbytes for r in self.recomputed)
        arguments = sum(r.nbytes for r in self.kept if r.source.startswith("from the argument"))
        lines = [
            f"policy {shown(self.policy)}: {self.nbytes:,} bytes are kept, {arguments:,} of them arguments; "
            f"{more:,} bytes are recomputed"
        ]
        for mark, residuals in (("kept", self.kept), ("recomputed", self.recomputed)):
            for r in sorted(residuals, key=lambda r: -r.nbytes):
                lines.append(f"{r.nbytes:>13,}  {mark:<10}  {r}")
        return "\n".join(lines)


@boundary
def residual_report(
    policy: Callable[..., Any] | None, f: Callable[..., Any], *args: PyTree, **kwargs: PyTree
) -> ResidualReport:
    """Report what `checkpoint(f, policy=policy)` keeps of a call and what it recomputes, by line and bytes.

    Nothing is computed; arguments may be `ShapeDtypeStruct`s. `print` the result, or read its `nbytes`, `kept` and
    `recomputed`. Of a function that is called in a loop or in several places, checkpoint and report each separately.
    TypeError as for `checkpoint` and `saved_residuals`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def layer(w, x):
    ...     return pnp.sin(pnp.sin(w @ x)).sum()
    >>> print(residual_report(pb.checkpoint_policies.dots_saveable, layer, pnp.ones((4, 2)), pnp.ones(2)))
    policy dots_saveable: 56 bytes are kept, 40 of them arguments; 32 bytes are recomputed
               32  kept        f32[4,2] from the argument 'w'
               16  kept        f32[4] output of dot_general from ...
                8  kept        f32[2] from the argument 'x'
               16  recomputed  f32[4] output of cos from ...
               16  recomputed  f32[4] output of cos from ...
    """
    kept = saved_residuals(checkpoint(f, policy=policy), *args, **kwargs)
    rest = list(kept)
    recomputed = []
    for residual in saved_residuals(f, *args, **kwargs):
        if residual in rest:
            rest.remove(residual)
        else:
            recomputed.append(residual)
    return ResidualReport(policy, kept, recomputed)


if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
