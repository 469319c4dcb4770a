"""Rounding errors, made large: every operation that rounds gives results that are a little off.

That goes for the operations of derivative rules too, so that what they lose by cancellation is seen.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np

from fuzz.libraries import PULLBACK
from pullback._xla.evaluate import Evaluator, evaluator

# these hand on numbers as they are, and derivative rules compare their results with their operands
EXACT = frozenset(
    """abs argmax argmin bitcast_convert_type broadcast_in_dim ceil concatenate conj cond copy cummax
    cummin custom_call checkpoint dynamic_slice dynamic_update_slice floor gather imag iota jit max min name neg
    nextafter pad pmax pmin real reduce_max reduce_min reduce_window_max reduce_window_min reshape rev round scan
    scatter scatter_max scatter_min select sign slice sort split stop_gradient top_k transpose trunc when
    while""".split()
)

# their results have errors of the size of the largest entry, as backward stable algorithms do
NORMWISE = frozenset(
    """cholesky eig eigh fft hessenberg householder_product lu lu_solve qr schur svd triangular_solve
    tridiagonal tridiagonal_solve""".split()
)


@contextlib.contextmanager
def _evaluating_by(process_primitive: Callable) -> Iterator[None]:
    """Within, operations are evaluated by a function in place of the evaluator's method."""
    exact = Evaluator.process_primitive
    Evaluator.process_primitive = process_primitive
    evaluator.transparent = False  # operators pass it by where nothing looks on
    try:
        with PULLBACK.t.disable_jit():
            yield
    finally:
        Evaluator.process_primitive = exact
        evaluator.transparent = True


@contextlib.contextmanager
def rounding(seed: int, size: float, smallest: float) -> Iterator[None]:
    """Within, results have random errors of relative size `size`, those below `smallest` as large ones as it has."""
    rng = np.random.default_rng(seed)
    exact = Evaluator.process_primitive

    def process_primitive(self, primitive, args, params):
        result = exact(self, primitive, args, params)
        if primitive.name in EXACT:
            return result
        whole = primitive.name in NORMWISE
        if primitive.multiple_results:
            return [moved(x, rng, size, smallest, whole) for x in result]
        return moved(result, rng, size, smallest, whole)

    with _evaluating_by(process_primitive):
        yield


@contextlib.contextmanager
def largest_number() -> Iterator[list[float]]:
    """Within, the one entry of the list is the largest finite number that an operation returned."""
    exact, largest = Evaluator.process_primitive, [0.0]

    def process_primitive(self, primitive, args, params):
        result = exact(self, primitive, args, params)
        for x in result if primitive.multiple_results else [result]:
            value = np.asarray(x)
            if value.dtype.kind in "fc":
                largest[0] = max(largest[0], float(np.max(np.abs(value), initial=0.0, where=np.isfinite(value))))
        return result

    with _evaluating_by(process_primitive):
        yield largest


def moved(x, rng, size: float, smallest: float, whole: bool = False):
    """An array with errors, if it is one of floating-point numbers in double precision; errors of the size of the
    `whole` array, or of each entry."""
    value = np.asarray(x)
    if value.dtype.kind not in "fc" or not value.size:
        return x
    with np.errstate(all="ignore"):
        errors = size * rng.uniform(0.5, 1.0, value.shape) * np.sign(rng.random(value.shape) - 0.5)
        scale = np.max(np.abs(value), initial=0.0, where=np.isfinite(value)) if whole else value
        result = np.where(value == 0, value, value + errors * scale + errors * smallest)
    return PULLBACK.np.asarray(result.astype(value.dtype))
