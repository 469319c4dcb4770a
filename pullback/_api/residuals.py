"""The residuals of a function: what reverse mode keeps for its backward pass, and which lines made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pullback._core.arguments import aval_of, check_callable, check_leaves, flatten_result, input_names
from pullback._core.array import ConcreteArray
from pullback._core.errors import boundary
from pullback._core.hitypes import part_types
from pullback._core.jaxpr import Equation
from pullback._core.notebooks import table
from pullback._core.option_contexts import debug_nans
from pullback._core.staging import StagedTracer, StagingTrace
from pullback._core.trace import call_with
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.types import ShapedArray
from pullback._core.typing import PyTree
from pullback._higher_order.call import jit_p
from pullback._higher_order.checkpoint import checkpoint_p, name_p
from pullback._higher_order.control.scan import scan_p
from pullback._higher_order.control.when import when_p
from pullback._higher_order.custom.remat import described_result, remat_fwd_p, remat_p
from pullback._transforms.linearize import Linearized, Node, linearize_flat


class Residual(NamedTuple):
    """An array that reverse mode keeps: its type, and its origin in words."""

    aval: ShapedArray
    source: str

    @property
    def nbytes(self) -> int:
        """The memory that it takes."""
        parts = [self.aval] if isinstance(self.aval, ShapedArray) else part_types(self.aval)
        return sum([aval.size * aval.dtype.itemsize for aval in parts])

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
    found = traced_residuals(f, args, kwargs)
    # arguments come first, as they are passed
    found = sorted(found, key=lambda kept: len(found) if kept.argument is None else kept.argument)
    return [kept.residual for kept in found if kept.residual.source != _CONSTANT or kept.residual.aval.ndim]


_CONSTANT = "from a constant"


class Kept(NamedTuple):
    """A residual, and the leaf of the arguments that it is, or None."""

    residual: Residual
    argument: int | None


def traced_residuals(f: Callable[..., Any], args: Sequence[PyTree], kwargs: dict[str, PyTree]) -> list[Kept]:
    """The residuals of a call, constants included, in the order in which the derivative reads them, each once."""
    check_callable("saved_residuals", f)
    check_leaves("saved_residuals", f, args, kwargs, structs=True)
    leaves, tree = tree_flatten((tuple(args), kwargs))
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
        places = {x._atom: i for i, x in enumerate(inputs)}
        found: dict[int, Kept] = {}
        for value in _operands(linear):
            if isinstance(value, ConcreteArray):
                found[id(value)] = Kept(Residual(value.aval, _CONSTANT), None)
            elif isinstance(value, StagedTracer) and value._trace is trace:
                i = places.get(value._atom)
                source = _source(trace.eqns, value._atom) if i is None else f"from the argument {names[i]}"
                found[id(value._atom)] = Kept(Residual(value.aval, source), i)
            else:
                found[id(value)] = Kept(Residual(value.aval, f"from {value._trace.describe()}"), None)
        return list(found.values())
    finally:
        trace.alive = False


def _operands(linear: Linearized) -> list[Any]:
    """The operands other than tangents of the operations that give the tangents of the results."""
    return [
        x for record, _ in linear.needed() for x in record.inputs if not (type(x) is Node and x._trace is linear.tape)
    ]


def _source(eqns: Sequence[Equation], var: Any) -> str:
    eqn, i = next((eqn, i) for eqn in reversed(eqns) for i, v in enumerate(eqn.outvars) if v is var)
    if eqn.primitive in (checkpoint_p, jit_p, when_p) or (eqn.primitive is scan_p and i >= eqn.params["num_carry"]):
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
    if not name and eqn.primitive in (remat_p, remat_fwd_p):
        what = described_result(eqn, i) or what
    told = name or eqn
    place = told.origin.location if told.origin is not None else told.location
    return f"{what} from {place}" if place else what


@boundary
def print_saved_residuals(f: Callable[..., Any], *args: PyTree, **kwargs: PyTree) -> None:
    """Print the residuals that reverse mode would keep of a call, a line each: type, origin, source line.

    TypeError as for `saved_residuals`.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> f = pb.checkpoint(lambda x, w: pnp.sin(x @ w))
    >>> pb.ad_checkpoint.print_saved_residuals(f, pnp.ones((2, 3)), pnp.ones((3, 3)))
    f32[2,3] from the argument 'x'
    f32[3,3] from the argument 'w'
    """
    for residual in saved_residuals(f, *args, **kwargs):
        print(residual)


@dataclass(frozen=True, slots=True)
class SavedResiduals:
    """What `f_vjp.saved()` returns: a table as text, and its rows, the residuals of a backward pass."""

    residuals: list[Residual]

    @property
    def nbytes(self) -> int:
        """The memory of all residuals."""
        return sum([r.nbytes for r in self.residuals])

    def __len__(self) -> int:
        return len(self.residuals)

    def _repr_html_(self) -> str:
        rows = sorted(self.residuals, key=lambda r: -r.nbytes)
        heading = f"{len(rows)} residual{'s' * (len(rows) != 1)} of {self.nbytes:,} bytes"
        cells = [(f"{r.nbytes:,}", r.aval.str_short(), r.source) for r in rows]
        return table(heading, ("bytes", "type", "where it is made"), cells)

    def __repr__(self) -> str:
        rows = sorted(self.residuals, key=lambda r: -r.nbytes)
        lines = [f"{len(rows)} residual{'s' * (len(rows) != 1)} of {self.nbytes:,} bytes"]
        return "\n".join([*lines, *(f"{r.nbytes:>13,} bytes  {r}" for r in rows)])
