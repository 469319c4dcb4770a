"""The executable specification of jaxprs: the invariants that hold after every pass. Tests run it; users may."""

from __future__ import annotations

import numpy as np

from pullback._core.jaxpr import ClosedJaxpr, Equation, Jaxpr, Literal, Var
from pullback._core.types import matches


class JaxprTypeError(TypeError):
    """A jaxpr violates an invariant: a defect of a transformation or of a primitive's rule.

    >>> from pullback.core import Jaxpr, ShapedArray, Var, check_jaxpr
    >>> a, b = Var(ShapedArray((), "float32")), Var(ShapedArray((), "float32"))
    >>> try:
    ...     check_jaxpr(Jaxpr([], [a], [], [b]))
    ... except JaxprTypeError:
    ...     print("the result is bound nowhere")
    the result is bound nowhere
    """

    __module__ = "pullback.errors"  # which tracebacks show


def check_jaxpr(jaxpr: Jaxpr | ClosedJaxpr) -> None:
    """Check scope, single assignment and types, in nested jaxprs too; raises JaxprTypeError.

    >>> import pullback as pb
    >>> from pullback.core import check_jaxpr
    >>> check_jaxpr(pb.make_jaxpr(lambda x: x * 2.)(1.))
    """
    if isinstance(jaxpr, ClosedJaxpr):
        if len(jaxpr.consts) != len(jaxpr.jaxpr.constvars):
            raise JaxprTypeError(f"{len(jaxpr.jaxpr.constvars)} constant variables but {len(jaxpr.consts)} constants")
        for v, const in zip(jaxpr.jaxpr.constvars, jaxpr.consts, strict=True):
            if not matches(v.aval, const.aval):
                raise JaxprTypeError(f"a constant has type {const.aval}, its variable {v.aval}")
        jaxpr = jaxpr.jaxpr
    bound: set[Var] = set()
    for v in (*jaxpr.constvars, *jaxpr.invars):
        _bind(v, bound, jaxpr)
    for eqn in jaxpr.eqns:
        for atom in eqn.invars:
            _check_atom(atom, bound, jaxpr)
        _check_types(eqn, jaxpr)
        for held in eqn.held:
            sub = held.jaxpr
            if sub.constvars:
                raise JaxprTypeError(f"a jaxpr inside '{eqn.primitive.name}' has constants: they must be its operands")
            check_jaxpr(sub)
        for v in eqn.outvars:
            _bind(v, bound, jaxpr)
    for atom in jaxpr.outvars:
        _check_atom(atom, bound, jaxpr)


def _bind(v: Var, bound: set[Var], jaxpr: Jaxpr) -> None:
    if not isinstance(v, Var):
        raise JaxprTypeError(f"{v!r} is bound but is no variable, in\n{jaxpr}")
    if v in bound:
        raise JaxprTypeError(f"a variable of type {v.aval} is bound twice, in\n{jaxpr}")
    bound.add(v)


def _check_atom(atom: Var | Literal, bound: set[Var], jaxpr: Jaxpr) -> None:
    if isinstance(atom, Literal):
        if atom.aval.shape != () or np.shape(atom.value) != ():
            raise JaxprTypeError(
                f"a literal has shape {atom.aval.shape or np.shape(atom.value)}: only scalars are literals"
            )
        if np.asarray(atom.value).dtype != atom.aval.dtype:
            raise JaxprTypeError(f"a literal of type {atom.aval} holds {atom.value!r}, in\n{jaxpr}")
    elif atom not in bound:
        raise JaxprTypeError(f"a variable of type {atom.aval} is used before it is bound, in\n{jaxpr}")


def _check_types(eqn: Equation, jaxpr: Jaxpr) -> None:
    try:
        expected = eqn.primitive.infer(tuple(v.aval for v in eqn.invars), eqn.params)
    except Exception as error:
        raise JaxprTypeError(f"'{eqn.primitive.name}' refuses its operands: {error}, in\n{jaxpr}") from error
    expected = expected if eqn.primitive.multiple_results else [expected]
    got = [v.aval for v in eqn.outvars]
    if len(expected) != len(got) or not all(map(matches, expected, got)):
        raise JaxprTypeError(f"'{eqn.primitive.name}' gives {expected}, but its equation binds {got}, in\n{jaxpr}")
