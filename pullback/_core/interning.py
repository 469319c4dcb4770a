"""Interning of jaxprs: equal jaxprs are replaced by one object, so that everything derived from it is reused.

An eager call of a function with a function argument traces that argument every time, since its captured values and
globals may have changed. The equations show whether they did: arrays become operands, numbers become literals. A jaxpr
is therefore looked up by its content, never by the function it came from. Compiled programs are among what is reused.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from pullback._core.arguments import kind_of
from pullback._core.config import config
from pullback._core.jaxpr import Jaxpr, Literal
from pullback._core.trace import context
from pullback._core.typing import AnyValue

_LIMIT = 128
# least recently used first
_known: OrderedDict[Hashable, Jaxpr] = OrderedDict()


def interned(jaxpr: Jaxpr) -> Jaxpr:
    """An earlier jaxpr with the same equations, with the same options and lines, or else `jaxpr` itself."""
    try:
        key = (config.tracing, context.axis_sizes, _form(jaxpr))
        # removed and put back at the end: another thread may use the table meanwhile
        known = _known.pop(key, jaxpr)
    except TypeError:
        return jaxpr  # a parameter is not hashable
    _known[key] = known
    if len(_known) > _LIMIT:
        _known.popitem(last=False)
    return known


def _form(jaxpr: Jaxpr) -> Hashable:
    """The content of a jaxpr with its variables numbered; TypeError if a parameter is not hashable."""
    numbers: dict[Any, int] = {}

    def bind(variables):
        for v in variables:
            numbers[v] = len(numbers)
        return tuple([v.aval for v in variables])

    def read(atoms):
        return tuple([(a.aval, a.value.tobytes()) if type(a) is Literal else numbers[a] for a in atoms])

    form: list[Any] = [bind(jaxpr.constvars), bind(jaxpr.invars)]
    for eqn in jaxpr.eqns:
        if eqn.origin is not None:
            raise TypeError  # the origin refers to the caller's run
        form += (eqn.primitive, eqn.code, eqn.line, read(eqn.invars), bind(eqn.outvars))
        if eqn.params:
            form.append(tuple([(key, _form_of(value)) for key, value in eqn.params.items()]))
    return (*form, read(jaxpr.outvars))


def _form_of(value: AnyValue) -> Hashable:
    if isinstance(value, Jaxpr):
        return _form(value)
    if type(value) is tuple:
        return tuple(map(_form_of, value))
    return value, kind_of(value)
