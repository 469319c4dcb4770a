"""`checkpoint`: derivatives that recompute intermediate values of a function instead of storing them."""

from __future__ import annotations

import functools
import itertools
import math
import typing as _typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass as _dataclass
from typing import Any, overload

from pullback import checkpoint_policies as checkpoint_policies
from pullback._api.inspect import trace_function
from pullback._api.residuals import Residual
from pullback._api.residuals import print_saved_residuals as print_saved_residuals
from pullback._api.residuals import saved_residuals as saved_residuals
from pullback._core.arguments import (
    canonical_argnums,
    check_callable,
    lift_leaves,
    marked_arguments,
    signature,
)
from pullback._core.errors import boundary, described, standing_for, wrapping
from pullback._core.jaxpr import consts_to_args
from pullback._core.lazy import attributes as _attributes
from pullback._core.tree import tree_unflatten
from pullback._core.typing import Aux, F, PyTree, R
from pullback._higher_order.bodies import known_count, lift_tree
from pullback._higher_order.checkpoint import bind_checkpoint, name_p
from pullback._higher_order.control.checkpointed_scan import bind_checkpointed_scan
from pullback._higher_order.control.loops import scan_by
from pullback._higher_order.policy import Offloadable as Offloadable
from pullback._higher_order.policy import PolicyLike, shown
from pullback._higher_order.policy import Recompute as Recompute
from pullback._higher_order.policy import Saveable as Saveable

__all__ = [
    "Offloadable",
    "Recompute",
    "Saveable",
    "checkpoint",
    "checkpoint_name",
    "checkpoint_policies",
    "checkpointed_scan",
    "print_saved_residuals",
    "recursive_checkpoint",
    "remat",
    "residual_report",
    "saved_residuals",
]


@overload
def checkpoint(
    fun: F,
    *,
    concrete: bool = ...,
    prevent_cse: bool = True,
    policy: Callable[..., Any] | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> F: ...
@overload
def checkpoint(
    fun: None = None,
    *,
    concrete: bool = ...,
    prevent_cse: bool = True,
    policy: Callable[..., Any] | None = None,
    static_argnums: int | Sequence[int] = (),
    static_argnames: str | Sequence[str] = (),
) -> Callable[[F], F]: ...
@boundary
def checkpoint(
    fun: Callable[..., Any] | None = None,
    *,
    concrete: bool = False,
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
      concrete: JAX's, which it has given up: NotImplementedError for True.
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
    if concrete:
        raise NotImplementedError(
            "checkpoint: concrete=True is JAX's former way to keep values known; give static_argnums"
        )
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
        closed, out_tree, leaves, _ = trace_function("checkpoint", called, args, kwargs, fixed)
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


@boundary
def recursive_checkpoint(
    funs: Sequence[Callable[[Any], Any]],
    *,
    levels: int | None = None,
    policy: Callable[..., Any] | None = None,
    prevent_cse: bool = True,
) -> Callable[[Any], Any]:
    """The composition of functions, with checkpoints around checkpoints: `funs[0]` runs first.

    Args:
      funs: functions of one array or pytree, each of what the one before returns.
      levels: None halves the functions again and again. For `n` of them, reverse mode keeps the inputs of about log₂n
        and computes each up to log₂n more times. A number `k` splits them `k` times into about ᵏ√n groups: about k·ᵏ√n
        inputs are kept, each function is computed at most `k` more times.
      policy, prevent_cse: as for `checkpoint`.

    Raises: TypeError for what is not a sequence of functions, ValueError if it is empty or `levels` is less than 1.
    See: Griewank and Walther, Evaluating Derivatives (2008), chapter 12.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> layers = [pnp.sin] * 64
    >>> def kept(f):
    ...     return len(pb.ad_checkpoint.saved_residuals(f, pnp.ones(5)))
    >>> print([kept(recursive_checkpoint(layers, levels=k)) for k in (None, 1, 2, 3)])
    [7, 64, 15, 10]
    """
    if not isinstance(funs, Sequence) or not funs or not all(map(callable, funs)):
        kind = ValueError if isinstance(funs, Sequence) and not funs else TypeError
        raise kind(f"recursive_checkpoint: expected a list of functions, at least one, got {described(funs)}")
    if levels is not None:
        levels = known_count("recursive_checkpoint", "levels", levels, 1)

    def composed(parts: Sequence[Callable[[Any], Any]], levels: int | None) -> Callable[[Any], Any]:
        n = len(parts)
        if n == 1:
            return parts[0]
        groups = 2 if levels is None else math.ceil(round(n ** (1 / levels), 9))
        bounds = [n * i // groups for i in range(groups + 1)]
        below = None if levels is None else levels - 1
        inner = [composed(parts[a:b], below) for a, b in itertools.pairwise(bounds)]
        # the last group is differentiated first, when its values are there
        steps = [*(checkpoint(f, policy=policy, prevent_cse=prevent_cse) for f in inner[:-1]), inner[-1]]

        def run(x):
            for step in steps:
                x = step(x)
            return x

        return run

    return composed(funs, levels)


@boundary
def checkpointed_scan(
    f: Callable[[Any, Any], tuple[R, Aux]],
    init: PyTree,
    xs: PyTree = None,
    length: int | None = None,
    reverse: bool = False,
    *,
    levels: int | None = 2,
    policy: Callable[..., Any] | None = None,
) -> tuple[R, Aux]:
    """`lax.scan` with the same results, of which reverse mode keeps few carries: steps in blocks, blocks in blocks.

    A scan of `n` steps keeps something of each step, and `n` carries if its body is checkpointed. This keeps about
    `levels` times the root of that order of `n`: those between blocks from the first run, as the example counts them,
    and those inside of one block at a time in the backward pass. A step is computed at most `levels` more times.

    Args:
      f, init, xs, length, reverse: as for `lax.scan`.
      levels: the number of times that the loop is split. With 2 about 2√n carries are kept, with 3 about 3∛n; with None
        about 2 log₂n.
      policy: what `checkpoint` may keep of one step while it is computed again.

    Raises: as `lax.scan`; ValueError if `levels` is less than 1.
    See: Griewank and Walther, Evaluating Derivatives (2008), chapter 12.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> def loss(x, levels):
    ...     return checkpointed_scan(lambda c, _: (pnp.sin(c), None), x, length=1024, levels=levels)[0].sum()
    >>> def carries(levels):
    ...     kept = pb.ad_checkpoint.saved_residuals(lambda x: loss(x, levels), pnp.ones(5))
    ...     return sum(r.aval.size for r in kept) // 5
    >>> [carries(levels) for levels in (1, 2, 3, None)]
    [1024, 32, 14, 2]
    """
    if levels is not None:
        levels = known_count("checkpointed_scan", "levels", levels, 1)
    if policy is not None and not callable(policy):
        raise TypeError(f"checkpointed_scan: policy must be a function, got {described(policy)}")

    def bind(consts, carry, rows, body, n, from_end):
        return bind_checkpointed_scan(consts, carry, rows, body, n, from_end, levels, policy)

    return scan_by(bind, "checkpointed_scan", f, init, xs, length, reverse)


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
