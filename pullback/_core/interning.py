"""One jaxpr for all that say the same, so that what was derived from it, compiled programs too, is found again.

An eager call that takes a function traces it anew: what the function closes over, or reads from a global, may have
changed since. Whatever it is, the equations tell: arrays become operands, numbers are literals. So a jaxpr is looked up
by what it says, never by the function that it came from.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

from pullback._core.arguments import kind_of
from pullback._core.config import config
from pullback._core.jaxpr import Jaxpr, Literal
from pullback._core.trace import context

_LIMIT = 128
# the one used last at the end
_known: OrderedDict[Hashable, Jaxpr] = OrderedDict()


def interned(jaxpr: Jaxpr) -> Jaxpr:
    """An earlier jaxpr with the same equations, made under the same options at the same lines; or this one."""
    try:
        key = (config.tracing, context.axis_sizes, _form(jaxpr))
        # taken out and put back last: another thread may be at work on the table
        known = _known.pop(key, jaxpr)
    except TypeError:
        return jaxpr  # something in it can be compared with nothing
    _known[key] = known
    if len(_known) > _LIMIT:
        _known.popitem(last=False)
    return known


def _form(jaxpr: Jaxpr) -> Hashable:
    """What a jaxpr says, its variables numbered; TypeError where a parameter has no hash."""
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
            raise TypeError  # it reports to whoever made it
        form += (eqn.primitive, eqn.code, eqn.line, read(eqn.invars), bind(eqn.outvars))
        if eqn.params:
            form.append(tuple([(key, _form_of(value)) for key, value in eqn.params.items()]))
    return (*form, read(jaxpr.outvars))


def _form_of(value: Any) -> Hashable:
    if isinstance(value, Jaxpr):
        return _form(value)
    if type(value) is tuple:
        return tuple(map(_form_of, value))
    return value, kind_of(value)
