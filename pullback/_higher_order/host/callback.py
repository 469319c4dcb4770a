"""Calls of Python functions on the host, from eager and from compiled code, as primitives.

`pure_callback_p` is for functions without side effects: calls may be dropped, repeated or moved. `io_callback_p` and
`debug_callback_p` have side effects: they run once each time they are executed, in program order. A debug callback
is the identity to differentiation, and is called with primal values where the function runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback._core import dtypes
from pullback._core.array import ConcreteArray, array_of, is_array_like
from pullback._core.config import config
from pullback._core.errors import describe_function, described, function_name
from pullback._core.jaxpr import Jaxpr, gathered, without
from pullback._core.nans import inspect_operation
from pullback._core.primitive import HigherOrder, Primitive
from pullback._core.tree import PyTreeDef, tree_flatten, tree_unflatten
from pullback._core.tree_paths import equality_errors, keystr
from pullback._core.types import ShapedArray
from pullback._core.typing import AnyValue, PyTree
from pullback._higher_order.bodies import path_of
from pullback._ops.shape import expand_dims
from pullback._transforms.vmap import BatchTrace, with_leading
from pullback._xla.evaluate import eagerly
from pullback._xla.host_calls import emit_host_call

VMAP_METHODS = ("sequential", "sequential_unrolled", "expand_dims", "broadcast_all", "legacy_vectorized")

_NARROWED = {
    np.dtype(wide): np.dtype(narrow)
    for wide, narrow in (
        (np.float64, np.float32),
        (np.int64, np.int32),
        (np.uint64, np.uint32),
        (np.complex128, np.complex64),
    )
}


class HostFunction:
    """A Python function on flat NumPy arrays, with the types of its results, which are checked.

    `fun(*arrays)` returns a pytree of structure `out_tree`; `what` and `user_fun` identify it in messages.
    """

    __slots__ = ("fun", "out_tree", "out_avals", "what", "user_fun", "narrow")

    def __init__(
        self, fun: Callable, out_tree: PyTreeDef | None, out_avals: Sequence[ShapedArray], what: str, user_fun: Callable
    ):
        self.fun = fun
        self.out_tree = out_tree
        self.out_avals = tuple(aval.strip_weak_type() for aval in out_avals)
        self.what = what
        self.user_fun = user_fun
        # without 64-bit types, a NumPy function that computes in 64 bits is no mistake
        self.narrow = not config.enable_x64

    @property
    def __name__(self) -> str:
        return function_name(self.user_fun)

    def __call__(self, *values: np.ndarray) -> list[np.ndarray]:
        """The results as arrays of the declared types; TypeError if they have others."""
        result = eagerly(self.fun, *values)
        if self.out_tree is None:
            return []
        leaves, tree = tree_flatten(result)
        if tree != self.out_tree and not (
            len(leaves) == self.out_tree.num_leaves
            and _same_nesting(tree_unflatten(self.out_tree, [0] * len(leaves)), result)
        ):
            raise TypeError(self._structure_message(result))
        return [self._checked(i, x, aval) for i, (x, aval) in enumerate(zip(leaves, self.out_avals, strict=True))]

    def _checked(self, i: int, x: AnyValue, aval: ShapedArray) -> np.ndarray:
        if not is_array_like(x):
            raise TypeError(f"{self._must()} {aval.str_short()}{self._place(i)}, got {described(x)}")
        value: Any = x.value if type(x) is ConcreteArray else np.asarray(x)
        dtype = aval.dtype
        if (
            value.dtype != dtype
            and value.shape == aval.shape
            and (
                (self.narrow and _NARROWED.get(value.dtype) == dtype)
                or (type(x) in (bool, int, float, complex) and _rank(value.dtype) <= _rank(dtype))
            )
        ):
            return value.astype(dtype)
        if value.dtype != dtype or value.shape != aval.shape:
            raise TypeError(
                f"{self._must()} {aval.str_short()}{self._place(i)}, got an array of dtype "
                f"{value.dtype.name} and shape {value.shape}"
            )
        return value

    def _must(self) -> str:
        return f"{self.what}: {describe_function(self.user_fun)} must return what was declared of its result: expected"

    def _place(self, i: int) -> str:
        path = path_of(self.out_tree, i) if self.out_tree is not None else ""
        return f" at {path}" if path else ""

    def _structure_message(self, result: PyTree) -> str:
        assert self.out_tree is not None
        declared = tree_unflatten(self.out_tree, [np.empty(0)] * self.out_tree.num_leaves)
        for path, expected, got, _ in equality_errors(declared, result):
            where = keystr(path)
            return f"{self._must()} {expected}{f' at {where}' if where else ''}, got {got}"
        return f"{self._must()} a pytree of structure {self.out_tree}, got {tree_flatten(result)[1]}"

    # --- under vmap ---

    def looped(self, batched: Sequence[bool], size: int) -> HostFunction:
        """The function called for one example after the other, with the results stacked."""
        inner = self

        def fun(*values):
            rows = [inner(*[v[i] if b else v for v, b in zip(values, batched, strict=True)]) for i in range(size)]
            return (
                [np.stack(column) for column in zip(*rows, strict=True)]
                if rows
                else [np.zeros((0, *aval.shape), aval.dtype) for aval in inner.out_avals]
            )

        out_avals = [with_leading(aval, size) for aval in self.out_avals]
        out_tree = None if self.out_tree is None else tree_flatten(list(out_avals))[1]
        return HostFunction(fun, out_tree, out_avals, self.what, self.user_fun)

    def vectorized(self, size: int) -> HostFunction:
        """The same function, called with all examples at once; results have a leading batch axis."""
        return HostFunction(
            self.fun, self.out_tree, [with_leading(aval, size) for aval in self.out_avals], self.what, self.user_fun
        )


def _same_nesting(declared: Any, got: AnyValue) -> bool:
    """Return whether two trees differ at most in the types of sequences: NumPy returns named tuples, for example."""
    if isinstance(declared, (tuple, list)) and isinstance(got, (tuple, list)):
        return len(declared) == len(got) and all(map(_same_nesting, declared, got))
    return tree_flatten(declared)[1] == tree_flatten(got)[1]


def _rank(dtype: np.dtype) -> int:
    """The capacity of a dtype: a Python number fits if its own rank is not greater."""
    if dtype.kind == "b":
        return 0
    return 1 if dtypes.is_integer(dtype) else 3 if dtypes.is_complex(dtype) else 2


def host_value_of(x: AnyValue) -> np.ndarray:
    """The data of a concrete array as passed to a host function: not to be modified."""
    return x.__array__()


def run_on_host(function: HostFunction, args: Sequence[Any], primitive: Primitive) -> list[Any]:
    """Call the function on concrete arrays."""
    # the function's results are copied, since their owner may modify them later
    outs = [
        array_of(aval, np.array(out))
        for aval, out in zip(function.out_avals, function(*map(host_value_of, args)), strict=True)
    ]
    if config.debugging:
        inspect_operation(primitive, args, outs, {})
    return outs


def batched_call(
    trace: BatchTrace, function: HostFunction, operands: Sequence[Any], dims: Sequence[int | None], method: str
) -> tuple[list[Any], HostFunction]:
    """The operands and the function of the call for a whole batch."""
    size = trace.size
    moved = [x if d is None else trace.materialize(x, d) for x, d in zip(operands, dims, strict=True)]
    if method == "expand_dims":
        moved = [expand_dims(x, (0,)) if d is None else x for x, d in zip(moved, dims, strict=True)]
    elif method == "broadcast_all":
        moved = [trace.materialize(x, None) if d is None else x for x, d in zip(moved, dims, strict=True)]
    return moved, batched_function(size, function, dims, method)


def batched_function(size: int, function: HostFunction, dims: Sequence[int | None], method: str) -> HostFunction:
    """The function for a whole batch; an operand whose dim is not None has a leading batch axis."""
    if method in ("sequential", "sequential_unrolled"):
        return function.looped([d is not None for d in dims], size)
    return function.vectorized(size)


def without_debug_callbacks(jaxpr: Jaxpr) -> Jaxpr:
    """The jaxpr without its debug callbacks, in held jaxprs too, for a recomputation."""
    return without(jaxpr, "debug callbacks", lambda eqn: eqn.primitive is debug_callback_p)


def has_ordered_call(jaxpr: Jaxpr) -> bool:
    """Return whether an equation, here or in a held jaxpr, is an ordered call."""

    def ordered(eqn):
        return [eqn.primitive] if eqn.primitive is io_callback_p and eqn.params["ordered"] else ()

    return bool(gathered(jaxpr, "ordered calls", ordered))


ORDERED_BATCH = (
    "vmap of an ordered io_callback: the examples of a batch have no order. Use ordered=False, which "
    "calls the function once for each example, or lax.map in place of vmap."
)


def _callback(name: str, effectful: bool) -> HigherOrder:
    primitive = HigherOrder(name)
    primitive.has(effectful=effectful)

    def bind_flat(args, params):
        return primitive.bind(*args, **params)

    def evaluate(*args, function, **_):
        return run_on_host(function, args, primitive)

    def lower(ctx, *operands, function, **_):
        return emit_host_call(ctx, function, operands, function.out_avals, effectful)

    def batch(trace, operands, dims, function, **params):
        if all(d is None for d in dims):
            return bind_flat(operands, {"function": function, **params}), [None] * len(function.out_avals)
        if params.get("ordered") and primitive is io_callback_p:
            raise ValueError(ORDERED_BATCH)
        method = params.get("vmap_method", "sequential")
        if method is None:
            raise NotImplementedError(
                f"vmap of pure_callback: how to call {describe_function(function.user_fun)} for a batch was not said. "
                "Pass vmap_method='sequential' to call it for one example after the other; 'expand_dims' or "
                "'broadcast_all' if it takes all examples at once, along a leading axis."
            )
        moved, function = batched_call(trace, function, operands, dims, method)
        return bind_flat(moved, {"function": function, **params}), [0] * len(function.out_avals)

    primitive.abstract_eval = lambda *avals, function, **_: list(function.out_avals)
    primitive.evaluate = evaluate
    primitive.lower = lower
    primitive.batch = batch
    return primitive


pure_callback_p = _callback("pure_callback", False)
io_callback_p = _callback("io_callback", True)
debug_callback_p = _callback("debug_callback", True)


def _refuse_derivative(primals, tangents, function, **_):
    advice = (
        "Give it one: wrap it in custom_jvp or custom_vjp with a rule, or decorate the function with "
        "pullback.external and say its derivative there."
    )
    if function.what == "external":
        # otherwise the rules of that primitive would have been called
        advice = (
            "The rules of an external function do not cover keyword-only arguments, nor what a method's object "
            "holds: make what is differentiated a positional argument."
        )
    raise ValueError(
        f"{function.what}: {describe_function(function.user_fun)} has no derivative: what a function does on the "
        f"host cannot be followed. {advice} If the result is to count as a constant, pass lax.stop_gradient(x)."
    )


def _refuse_tangent(tape, args, params):
    return _refuse_derivative(args, args, **params)


for _p in (pure_callback_p, io_callback_p):
    _p.jvp = _refuse_derivative
    _p.record = _refuse_tangent


def _debug_jvp(primals, tangents, **params):
    debug_callback_p.bind(*primals, **params)
    return [], []


debug_callback_p.jvp = _debug_jvp

__all__ = [
    "ORDERED_BATCH",
    "VMAP_METHODS",
    "HostFunction",
    "batched_call",
    "batched_function",
    "debug_callback_p",
    "has_ordered_call",
    "io_callback_p",
    "pure_callback_p",
    "run_on_host",
    "without_debug_callbacks",
]
