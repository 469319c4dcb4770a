"""The interpreter behind `checkify`: it watches every operation, and carries the outcomes of checks out of all bodies.

A check is a tap of `(failed, values, steps)`: whether it failed, what its message shows, and in which step of each loop
around it. A body is replaced by one with the checks of its operations as taps; where it is a loop, of all its steps the
first one that failed is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pullback import lax
from pullback._core import dtypes
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.primitive import HigherOrder, Primitive
from pullback._core.staging import stage_open
from pullback._core.trace import Trace, call_with, context
from pullback._core.tree import tree_flatten, tree_unflatten
from pullback._core.tree_paths import tree_map
from pullback._higher_order.control.scan import scan_p
from pullback._higher_order.control.while_loop import while_p
from pullback._ops.shape import zeros_like_aval
from pullback._transforms.harvest import CHECK, HarvestTrace, Site, TapValues, harvest_jaxpr, tap_p, tap_sites
from pullback.numpy import argmax, asarray, concatenate, isnan, logical_or, ravel, where, zeros

PREFIX = "checkify"
NAN, DIV, OOB = "nan", "div", "oob"

# the texts of checks, and their numbers, which their taps have: traced programs that are kept refer to them
texts: list[str] = []
_numbers: dict[tuple[str, bool], int] = {}
# the numbers of those that are left out where no checkify collects them
_only_collected: set[int] = set()
_loops = itertools.count()

# operations that choose, move or decompose, and so are not the first to have a nan, or return one for what they refuse
_PASSES_NAN = frozenset(
    "abs all_gather all_to_all approx_top_k bitcast_convert_type broadcast_in_dim by_parts cholesky clamp complex "
    "concatenate conj constant convert_element_type copy cummax cummin dynamic_slice dynamic_slice_add "
    "dynamic_update_slice eig eigh fft gather hessenberg imag lu lu_solve max min neg optimization_barrier pad "
    "ppermute qr real reduce_max reduce_min reduce_precision reshape rev rule_output scatter scatter_max scatter_min "
    "schur select select_n slice slice_add sort stop_gradient svd tap todense transpose triangular_solve "
    "tridiagonal_solve".split()
)


def _bind(leaves: Sequence[Any], site: Site) -> None:
    tap_p.bind(*leaves, site=site, kind=CHECK)


def note(
    text: str,
    failed: Any,
    values: Any,
    bind: Callable[[Sequence[Any], Site], Any] = _bind,
    only_collected: bool = False,
) -> None:
    """Bind the tap of a check, which is left out where it reaches no checkify if `only_collected`."""
    key = text, only_collected
    if key not in _numbers:
        texts.append(text)
    number = _numbers.setdefault(key, len(texts) - 1)
    if only_collected:
        _only_collected.add(number)
    leaves, tree = tree_flatten((asarray(failed), tree_map(asarray, values), zeros(0, np.int32)))
    bind(leaves, Site(f"{PREFIX} {number}", tree, tuple(range(len(leaves)))))


def must_hold(site: Site) -> bool:
    """Whether a check that reaches no checkify must hold nevertheless."""
    return text_and_loops(site)[0] not in _only_collected


def text_and_loops(site: Site) -> tuple[int, tuple[str, ...]]:
    """The number of a check's text, and the loops around it."""
    _, number, *loops = site.name.split()
    return int(number), tuple(loops)


def run(fun: Callable, *args: Any, kinds: frozenset[str]) -> tuple[Any, list[TapValues]]:
    """The result of a function, and the outcomes of its checks, those that the kinds of errors ask for too."""
    trace = CheckTrace(context.trace, kinds)
    try:
        return call_with(trace, fun, *args), trace.found
    finally:
        trace.alive = False


class CheckTrace(HarvestTrace):
    """Records the outcomes of checks; all else passes to the parent."""

    __slots__ = ("errors",)

    def __init__(self, parent: Trace, errors: frozenset[str]):
        super().__init__(parent, (CHECK,))
        self.errors = errors

    def describe(self) -> str:
        return "checkify"

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if primitive is tap_p:
            before = len(self.found)
            outs = super().process_primitive(primitive, args, params)
            self.found[before:] = [call_with(self.parent, _of_one_example, found) for found in self.found[before:]]
            return outs
        if primitive is while_p:
            return self._while(args, params)
        if type(primitive) is HigherOrder:
            return self._bodies(primitive, args, params)
        outs = super().process_primitive(primitive, args, params)
        if self.errors:
            results = outs if primitive.multiple_results else [outs]
            call_with(self.parent, self._check, primitive, args, results, params)
        return outs

    def _record(self, text: str, failed: Any, *values: Any) -> None:
        def bind(leaves: Sequence[Any], site: Site) -> None:
            self.found.append(TapValues(site, CHECK, leaves))

        note(text, failed, (values, {}), bind)

    def _check(self, primitive: Primitive, args: Sequence[Any], outs: Sequence[Any], params: dict[str, Any]) -> None:
        name = primitive.name
        if OOB in self.errors and name in _PLACES:
            self._check_places(_PLACES[name](*args, **params), args[0].shape)
        divides = name == "div" or (name == "integer_pow" and params["y"] < 0)
        if DIV in self.errors and divides:
            self._record("division by zero", (asarray(args[-1]) == 0).any())
        inexact = [x for x in outs if dtypes.is_inexact(x.dtype)]
        if NAN in self.errors and inexact and name not in _PASSES_NAN:
            failed = isnan(inexact[0]).any()
            for x in inexact[1:]:
                failed = logical_or(failed, isnan(x).any())
            self._record(f"nan generated by primitive: {name}.", failed)

    def _check_places(self, places: Sequence[tuple[Any, int, int]], shape: Sequence[int]) -> None:
        """Check starts of windows, each with its axis and the length of the window."""
        text = (
            f"out-of-bounds indexing for array of shape {tuple(shape)}: index {{}} is out of bounds for axis {{}} with "
            "size {}. "
        )
        for starts, axis, length in places:
            starts = ravel(asarray(starts))
            if not starts.size:
                continue
            beyond = (starts < 0) | (starts > shape[axis] - length)
            self._record(text, beyond.any(), starts[argmax(beyond)], axis, shape[axis])

    def _bodies(self, primitive: HigherOrder, args: Sequence[Any], params: dict[str, Any]) -> Any:
        held = primitive.bodies(params)
        known = [h.returns and h.operands is not None and h.times is not None for h in held]
        jaxprs = [checked(h.jaxpr, self.errors) if k else h.jaxpr for h, k in zip(held, known, strict=True)]
        if any(new is not h.jaxpr for new, h in zip(jaxprs, held, strict=True)):
            params = primitive.rebuilt(params, jaxprs)
        before = len(self.found)
        outs = super().process_primitive(primitive, args, params)
        found = self.found[before:]
        if primitive is scan_p and found:
            loop = next(_loops)
            self.found[before:] = [call_with(self.parent, _of_first_step, x, loop) for x in found]
        else:
            self.found[before:] = [call_with(self.parent, _of_one_example, x) for x in found]
        return outs

    def _while(self, args: Sequence[Any], params: dict[str, Any]) -> list[Any]:
        """A loop that carries, for each check inside, the outcome of the first step in which it failed."""
        test, body = (checked(params[name], self.errors) for name in ("cond_jaxpr", "body_jaxpr"))
        if not (tap_sites(test, (CHECK,)) or tap_sites(body, (CHECK,))):
            return super().process_primitive(while_p, args, params)
        n, m = params["cond_consts"], params["cond_consts"] + params["body_consts"]
        outs, outcomes, marks = call_with(
            self.parent, _checked_while, args[:n], args[n:m], args[m:], test, body, params["max_steps"]
        )
        loop = next(_loops)
        self.found += [
            TapValues(_inside(site, loop), kind, leaves)
            for (site, kind, _), leaves in zip(marks, outcomes, strict=True)
        ]
        return outs


def _checked_while(
    test_consts: Sequence[Any],
    body_consts: Sequence[Any],
    init: Sequence[Any],
    test: Jaxpr,
    body: Jaxpr,
    max_steps: int | None,
) -> tuple[list[Any], list[list[Any]], list[tuple[Site, str, int]]]:
    tested, test_marks = harvest_jaxpr(test, (CHECK,))
    moved, body_marks = harvest_jaxpr(body, (CHECK,))
    count = len(init)
    types = [*tested.out_avals[1:], *moved.out_avals[count:]]
    marks = [*test_marks, *body_marks]

    def outcomes(further: Sequence[Any], marks: Sequence[tuple[Site, str, int]], step: Any) -> list[list[Any]]:
        parts = iter(further)
        return [
            [*(next(parts) for _ in range(length - 1)), concatenate([step[None], next(parts)])]
            for _, _, length in marks
        ]

    def more(state: Any) -> Any:
        return eval_jaxpr(tested, [], *test_consts, *state[1])[0]

    def step(state: Any) -> Any:
        number, carry, kept = state
        of_test = eval_jaxpr(tested, [], *test_consts, *carry)[1:]
        outs = eval_jaxpr(moved, [], *body_consts, *carry)
        new = outcomes(of_test, test_marks, number) + outcomes(outs[count:], body_marks, number)
        return number + 1, outs[:count], [_earlier(a, b) for a, b in zip(kept, new, strict=True)]

    number = asarray(0, np.int32)
    start = outcomes([zeros_like_aval(aval) for aval in types], marks, number)
    number, carry, kept = lax.while_loop(more, step, (number, list(init), start), max_steps=max_steps)
    last = outcomes(eval_jaxpr(tested, [], *test_consts, *carry)[1:], test_marks, number)
    at_end = [_earlier(a, b) for a, b in zip(kept, last, strict=False)]
    return carry, [*at_end, *kept[len(last) :]], marks


def _earlier(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """The first outcome if it is a failure, else the second."""
    return [where(first[0], a, b) for a, b in zip(first, second, strict=True)]


def _inside(site: Site, loop: int) -> Site:
    """The site of a check with the loop around it, outside of those that it has."""
    prefix, number, *loops = site.name.split()
    return site._replace(name=" ".join([prefix, number, str(loop), *loops]))


def _of_one_example(found: TapValues) -> TapValues:
    """Of a check that ran for several examples, the first that failed."""
    failed, values, steps = tree_unflatten(found.site.tree, found.values)
    if not failed.ndim:
        return found
    flags, axes = ravel(failed), failed.ndim
    at = argmax(flags) if flags.size else 0

    def chosen(x: Any) -> Any:
        return x.reshape((flags.size, *x.shape[axes:]))[at] if flags.size else zeros(x.shape[axes:], x.dtype)

    outcome = flags.any(), tree_map(chosen, values), chosen(steps)
    return found._replace(values=tree_flatten(outcome)[0])


def _of_first_step(found: TapValues, loop: int) -> TapValues:
    """Of a check in a loop, whose outcomes are stacked, that of the first step that failed."""
    failed, values, steps = tree_unflatten(found.site.tree, found.values)
    at = argmax(failed) if failed.size else asarray(0, np.int32)

    def chosen(x: Any) -> Any:
        return x[at] if failed.size else zeros(x.shape[1:], x.dtype)

    outcome = failed.any(), tree_map(chosen, values), concatenate([at[None].astype(np.int32), chosen(steps)])
    return TapValues(_inside(found.site, loop), found.kind, tree_flatten(outcome)[0])


def checked(jaxpr: Jaxpr, kinds: frozenset[str]) -> Jaxpr:
    """The jaxpr with the outcomes of all checks inside as its own taps."""

    def make() -> Jaxpr:
        any_found = False

        def fun(*args: Any) -> Any:
            nonlocal any_found
            outs, found = run(lambda *xs: eval_jaxpr(jaxpr, [], *xs), *args, kinds=kinds)
            any_found = bool(found)
            for site, kind, leaves in found:
                tap_p.bind(*leaves, site=site, kind=kind)
            return outs

        new = stage_open(fun, jaxpr.in_avals)[0]
        return new if any_found else jaxpr

    return jaxpr.derive(("checked", kinds), make)


# --- places that operations read or write ---


def _of_slice(x: Any, *starts: Any, slice_sizes: Sequence[int]) -> list[tuple[Any, int, int]]:
    return [(start, d, size) for d, (start, size) in enumerate(zip(starts, slice_sizes, strict=True))]


def _of_update(x: Any, update: Any, *starts: Any) -> list[tuple[Any, int, int]]:
    return [(start, d, size) for d, (start, size) in enumerate(zip(starts, update.shape, strict=True))]


def _of_gather(x: Any, indices: Any, *, dimension_numbers: Any, slice_sizes: Sequence[int], **_: Any) -> list[Any]:
    axes = dimension_numbers.start_index_map
    return [(indices[..., k], d, slice_sizes[d]) for k, d in enumerate(axes)]


def _of_scatter(x: Any, indices: Any, updates: Any, *, dimension_numbers: Any, **_: Any) -> list[Any]:
    gone = {*dimension_numbers.inserted_window_dims, *dimension_numbers.operand_batching_dims}
    windows = [d for d in range(x.ndim) if d not in gone]
    lengths = dict(zip(windows, (updates.shape[d] for d in dimension_numbers.update_window_dims), strict=True))
    axes = dimension_numbers.scatter_dims_to_operand_dims
    return [(indices[..., k], d, lengths.get(d, 1)) for k, d in enumerate(axes)]


_PLACES: dict[str, Callable[..., Any]] = {
    "dynamic_slice": _of_slice,
    "dynamic_update_slice": _of_update,
    "gather": _of_gather,
    **{f"scatter{kind}": _of_scatter for kind in ("", "_add", "_mul", "_min", "_max")},
}
