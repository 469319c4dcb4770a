"""Rounding errors, made large: every operation that rounds gives results that are a little off.

That goes for the operations of derivative rules too, so that what they lose by cancellation is seen.
"""

import contextlib
from collections.abc import Iterator

import numpy as np

from fuzz.libraries import PULLBACK
from pullback._xla.evaluate import Evaluator

# these hand on numbers as they are, and derivative rules compare their results with their operands
EXACT = frozenset("""abs argmax argmin bitcast_convert_type broadcast_in_dim ceil concatenate conj cond copy cummax
    cummin custom_call checkpoint dynamic_slice dynamic_update_slice floor gather imag iota jit max min name neg
    nextafter pad pmax pmin real reduce_max reduce_min reduce_window_max reduce_window_min reshape rev round scan
    scatter scatter_max scatter_min select sign slice sort split stop_gradient top_k transpose trunc when
    while""".split())


@contextlib.contextmanager
def rounding(seed: int, size: float, smallest: float) -> Iterator[None]:
    """Within, results have random errors of relative size `size`, those below `smallest` as large ones as it has."""
    rng = np.random.default_rng(seed)
    exact = Evaluator.process_primitive

    def process_primitive(self, primitive, args, params):
        result = exact(self, primitive, args, params)
        if primitive.name in EXACT:
            return result
        if primitive.multiple_results:
            return [moved(x, rng, size, smallest) for x in result]
        return moved(result, rng, size, smallest)

    Evaluator.process_primitive = process_primitive
    try:
        with PULLBACK.t.disable_jit():
            yield
    finally:
        Evaluator.process_primitive = exact


def moved(x, rng, size: float, smallest: float):
    """An array with errors, if it is one of floating-point numbers in double precision."""
    value = np.asarray(x)
    if value.dtype.kind not in "fc" or not value.size:
        return x
    with np.errstate(all="ignore"):
        errors = size * rng.uniform(.5, 1., value.shape) * np.sign(rng.random(value.shape) - .5)
        result = np.where(value == 0, value, value * (1 + errors) + errors * smallest)
    return PULLBACK.np.asarray(result.astype(value.dtype))
