"""The first tier of a compiled function: its jaxpr, evaluated by the NumPy kernels until the program is there.

If the compiler is done before the kernels are, the evaluation is given up, and the program runs: unless a side effect
has happened, which would happen twice. So no call takes much longer than the compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback._core import counters
from pullback._core.array import ConcreteArray, array_of
from pullback._core.compilations import Compilation
from pullback._core.hitypes import all_parts, all_values, types_of_parts
from pullback._core.jaxpr import Jaxpr, eval_jaxpr, gathered
from pullback._core.primitive import Primitive
from pullback._core.trace import call_with
from pullback._core.types import ShapedArray
from pullback._higher_order.call import jit_p
from pullback._higher_order.control.eager_budget import cost
from pullback._higher_order.host.callback import HostFunction
from pullback._ops import blas
from pullback._xla.background import Job
from pullback._xla.evaluate import Evaluator

# The time that compiling takes, in equations that the kernels evaluate in it, at a hundredth of a millisecond each.
# Measured with jaxlib 0.10.2: a program of n equations takes about 20 + n ms, one of a single operation, which is not
# optimized, up to 25 ms
_LEAST = 2_000
_PER_EQUATION = 50
_OPERATION = 2_500
# the part of the time of a compilation that may pass before it begins, in seconds for an equation
_HEAD_START = 5e-5


class Overtaken(BaseException):
    """Raised in an evaluation when the program is there."""


class FirstTier(Evaluator):
    """Evaluates a jaxpr while a `job` compiles it."""

    __slots__ = ("job", "acted")

    def __init__(self, job: Job):
        super().__init__(None)
        self.job = job
        self.acted = False  # whether a side effect has happened

    @property
    def hands_over(self) -> bool:
        """Long loops are left to the program, if it can overtake."""
        return self.acted

    def process_primitive(self, primitive: Primitive, args: Sequence[Any], params: dict[str, Any]) -> Any:
        if self.job.result is not None and not self.acted:
            raise Overtaken
        if primitive is jit_p:
            return eval_jaxpr(params["jaxpr"], [], *args)
        if primitive.traits.effectful:
            self.acted = True
        return super().process_primitive(primitive, args, params)


class Interpreted:
    """The first tier in place of the program that a `job` compiles, with the methods of an `Executable`.

    The last `owned` results get memory of their own, since references will hold them alone.
    """

    def __init__(self, jaxpr: Jaxpr, donated: frozenset[int], job: Job, owned: int, report: Compilation | None):
        blas.share_processors()
        self.jaxpr: Jaxpr = jaxpr
        self.out_avals: tuple[ShapedArray, ...] = tuple(jaxpr.out_avals)
        self.donated: tuple[int, ...] = tuple(sorted(donated))
        self.may_fail: bool = bool(gathered(jaxpr, "calls to the host", _calls_to_host))
        self._job = job
        self._owned = len(types_of_parts(self.out_avals[len(self.out_avals) - owned :]))
        self._report = report

    def run(self, args: Sequence[Any]) -> list[Any]:
        """Run on arrays and values whose types are those the program is compiled for."""
        parts = all_parts(args)
        for x in parts:
            if x.is_deleted():
                x.value  # raises, as the program does  # noqa: B018
        outs = self._evaluated(args)
        if outs is None:
            counters.count("compiled_calls")
            return self._job.result.run(args)
        results = all_values(self.out_avals, self._as_compiled(parts, all_parts(outs)))
        for i in self.donated:
            for x in all_parts([args[i]]):
                x.delete()
        counters.count("interpreted_calls")
        if self._report is not None:
            self._report.interpreted += 1
        return results

    def _evaluated(self, args: Sequence[Any]) -> list[Any] | None:
        """The results of the kernels; None if the program is there before them."""
        try:
            return call_with(FirstTier(self._job), eval_jaxpr, self.jaxpr, [], *args)
        except Overtaken:
            return None
        finally:
            self._job.hurry()

    def _as_compiled(self, args: Sequence[ConcreteArray], outs: Sequence[ConcreteArray]) -> list[ConcreteArray]:
        """The results with the types of the program's, none of them one of the operands or another result."""
        seen = set(map(id, args))
        results = []
        for i, (aval, out) in enumerate(
            zip(types_of_parts(self.out_avals), outs, strict=True), self._owned - len(outs)
        ):
            if i >= 0:
                out = array_of(aval, np.array(out.value))
            elif out.aval is not aval or id(out) in seen:
                out = array_of(aval, out.value)
            seen.add(id(out))
            results.append(out)
        return results


def _calls_to_host(eqn):
    return [eqn.primitive] if any(isinstance(value, HostFunction) for value in eqn.params.values()) else ()


def size(jaxpr: Jaxpr) -> int:
    """The number of equations, here and in held jaxprs."""
    return jaxpr.derive("size", lambda: sum(1 + sum(size(held.jaxpr) for held in eqn.held) for eqn in jaxpr.eqns))


def head_start(jaxpr: Jaxpr) -> float:
    """The seconds for which the kernels should be alone at work."""
    return size(jaxpr) * _HEAD_START


def answers_sooner(jaxpr: Jaxpr) -> bool:
    """Whether the kernels are expected to be done before the compiler."""
    compiled_alone = len(gathered(jaxpr, "no kernel", _without_kernel))
    return cost(jaxpr) + _OPERATION * compiled_alone <= _LEAST + _PER_EQUATION * size(jaxpr)


def _without_kernel(eqn):
    primitive = eqn.primitive
    return [primitive] if primitive.kernel is None and primitive.evaluate is None else ()
