"""`find_nan`: run a function operation by operation, and report the operation that first produced a NaN."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from pullback._core.arguments import argument_path, check_callable
from pullback._core.array import ConcreteArray, is_array_like, lift
from pullback._core.errors import boundary, describe_function, fold, wrapping
from pullback._core.nans import Birth, describe_value, find, recording
from pullback._core.notebooks import preformatted
from pullback._core.option_contexts import debug_nans
from pullback._core.trace import context
from pullback._core.tree_paths import keystr, tree_flatten_with_path
from pullback._core.typing import AnyValue, PyTree


class NanReport:
    """The report of `find_nan`. True if there was a NaN anywhere; `str` gives the full text.

    `value` is the function's result. `births` are the operations that produced a NaN, in execution order, one for each
    source location, up to a limit; `birth` is the first, or None. If a NaN existed before the first operation, in an
    argument or a constant, the first entry is the operation that received it, with `made` False.
    `arguments` and `results` name the leaves of the arguments and of the result that contain one.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> report = pb.debug.find_nan(pnp.log)(-1.)
    >>> bool(report), report.birth.made, len(report.births), report.arguments
    (True, True, 1, [])
    """

    def __init__(
        self, subject: str, kinds: str, value: AnyValue, births: list[Birth], arguments: list[str], results: list[str]
    ):
        self.subject = subject
        self.kinds = kinds
        self.value = value
        self.births = births
        self.arguments = arguments
        self.results = results

    @property
    def birth(self) -> Birth | None:
        """The first operation that produced, or received, a NaN."""
        return self.births[0] if self.births else None

    def __bool__(self) -> bool:
        return bool(self.births or self.arguments or self.results)

    def __str__(self) -> str:
        if not self:
            return f"find_nan of {self.subject}: no {self.kinds}"
        lines = [f"find_nan of {self.subject}:"]
        lines += [f"it was given one: {where}" for where in self.arguments]
        if self.birth is not None:
            lines += str(self.birth).splitlines()
        if not self.arguments and (self.birth is None or not self.birth.made):
            lines.append("It was in a constant, or NumPy made it: something that the function or a rule closes over.")
        if len(self.births) > 1:
            lines.append("later, at other places:")
            for birth in self.births[1:]:
                where = birth.origin.lines()
                lines.append(f"  {birth.headline}. {where[0] if where else ''}")
        lines += [f"in the result: {where}" for where in self.results] or [
            f"in the result: no {self.kinds}. What was made did not reach it."
        ]
        return "\n  ".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return preformatted(str(self))


def _leaves_with_nan(kinds: tuple[str, ...], tree: PyTree, name: Callable[[tuple], str]) -> list[str]:
    """The leaves of a pytree that contain a NaN, each with its description."""
    found = []
    for path, leaf in tree_flatten_with_path(tree)[0]:
        x = lift(leaf) if is_array_like(leaf) else None
        if isinstance(x, ConcreteArray) and any(find(kind, x.value) is not None for kind in kinds):
            found.append(f"{name(path)}: {describe_value(np.asarray(x.value), None)}")
    return found


def _keyword_path(name: str, path: tuple) -> str:
    return f"argument '{name}'{', leaf ' + keystr(path) if path else ''}"


@boundary
def find_nan(fun: Callable, *, infs: bool = False) -> Callable:
    """A function that runs `fun` and reports where a NaN first arose, instead of raising or continuing silently.

    `fun` may be a transformed function: `find_nan(grad(loss))` covers the backward pass, and `find_nan(jit(f))`
    the compiled function. Everything runs operation by operation, so it is slower. The report names the first operation
    that produced a NaN from operands without one, the line that applied it (in a backward pass the line whose
    derivative it is), the custom rule it belongs to, the step of the loop, and the operands; `report.value` is the
    result of `fun`.

    Args:
      fun: a function of arrays or pytrees of arrays.
      infs: whether to report infinities too.

    Returns: a function with the arguments of `fun` that returns a `NanReport`.
    Raises: TypeError inside `jit`, `scan` and similar functions, where no values are known.

    >>> import pullback as pb, pullback.numpy as pnp
    >>> from pullback.debug import find_nan
    >>> report = find_nan(pb.grad(lambda x: pnp.sqrt(x) * 0.))(0.)
    >>> print(report.birth.headline, report.birth.backward, report.value)
    'mul' made a nan True nan
    >>> print(find_nan(pnp.sqrt)(4.))
    find_nan of sqrt...: no nan
    """
    check_callable("find_nan", fun)
    kinds = ("nan", "inf") if infs else ("nan",)

    @wrapping(fun)
    def found(*args, **kwargs):
        try:
            if not context.trace.transparent:
                raise TypeError(
                    f"find_nan of {describe_function(fun)} was called while another function is traced: "
                    "there are no values to look at. Call it outside, as find_nan(jit(f)) say."
                )
            arguments = [
                line
                for i, arg in enumerate(args)
                for line in _leaves_with_nan(kinds, arg, functools.partial(argument_path, fun, i))
            ]
            for name, arg in kwargs.items():
                arguments += _leaves_with_nan(kinds, arg, functools.partial(_keyword_path, name))
            with debug_nans(), recording(infs) as births:
                value = fun(*args, **kwargs)
            results = _leaves_with_nan(kinds, value, lambda path: keystr(path) or "it")
            return NanReport(describe_function(fun), " or ".join(kinds), value, births, arguments, results)
        except Exception as error:
            fold(error)
            raise

    return found


__all__ = ["NanReport", "find_nan"]
