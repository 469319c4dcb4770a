"""Programs of operations that a test emits itself, without a primitive of the library."""

import numpy as np

from pullback._core.array import array_of
from pullback._core.primitive import Primitive
from pullback._core.types import make_aval
from pullback._xla.executable import Executable, compile_jaxpr
from pullback._xla.single_operations import single_equation


def aval_of(shape, dtype):
    return make_aval(tuple(shape), np.dtype(dtype))


def jaxpr_of(emit, out_avals, avals, effectful=False):
    """The jaxpr of one operation that is lowered by `emit(ctx, *values)`, which returns a list of values."""
    emitted_p = Primitive("emitted")
    emitted_p.multiple_results = True
    emitted_p.has(effectful=effectful)
    emitted_p.abstract_eval = lambda *_: list(out_avals)
    emitted_p.lower = emit
    return single_equation(emitted_p, tuple(avals), {})


def program_of(emit, out_avals, avals, effectful=False) -> Executable:
    return compile_jaxpr(jaxpr_of(emit, out_avals, avals, effectful))


def run_emitted(emit, out_avals, *operands, effectful=False):
    """The results, as NumPy arrays, of the operations that `emit` emits for the operands."""
    arrays = [array_of(aval_of(x.shape, x.dtype), x) for x in map(np.asarray, operands)]  # of 64 bits, too
    program = program_of(emit, out_avals, [a.aval for a in arrays], effectful)
    return [np.asarray(out) for out in program.run(arrays)]
