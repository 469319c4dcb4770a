"""docs/accuracy.md has lines for every elementwise and special function, and for what the harness measures."""

import inspect
import re
from pathlib import Path

import numpy as np

import pullback as pb
from benchmarks.accuracy.libraries import pullback_library
from benchmarks.accuracy.table import TABLE

PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"
LIBRARY = pullback_library()

# functions without lines, by the reason why
EXCEPTIONS = {
    "gives an operand, or a part of one, as it is": """lax.broadcast_like lax.clamp lax.complex lax.max lax.min
        lax.optimization_barrier lax.stack lax.stage lax.stop_gradient nn.identity numpy.array numpy.asarray
        numpy.atleast_1d numpy.block numpy.clip numpy.compress numpy.conj numpy.conjugate numpy.copy numpy.extract
        numpy.fmax numpy.fmin numpy.from_dlpack numpy.frombuffer numpy.hstack numpy.imag numpy.maximum numpy.minimum
        numpy.nan_to_num numpy.positive numpy.ravel numpy.real numpy.squeeze numpy.stack numpy.transpose
        numpy.trim_zeros numpy.where""",
    "a whole number, a sign, a neighbour in the dtype: exact": """lax.ceil lax.floor lax.neg lax.nextafter lax.round
        lax.sign numpy.around numpy.ceil numpy.copysign numpy.fix numpy.floor numpy.heaviside numpy.negative
        numpy.nextafter numpy.rint numpy.round numpy.sign numpy.spacing numpy.trunc""",
    "a constant": "numpy.empty_like numpy.full_like numpy.ones_like numpy.zeros_like",
    "of real numbers 0 or pi, of complex ones arctan2": "numpy.angle",
    "not elementwise, though it seems so on three numbers": "numpy.histogram_bin_edges numpy.unwrap",
    "a table of fractions by whole numbers (tests/scipy/test_special_factorials.py)": "special.bernoulli",
    "derivatives by the order, of which mpmath takes seconds (tests/scipy/test_special_incomplete_gamma.py)": """
        lax.igamma_grad_a lax.random_gamma_grad""",
}


def page_lines():
    """The function, dtype and order of each line of the page's last table."""
    rows = re.findall(r"^\| (\S.*?) \| (float\d+) \| (\d) \|", PAGE.read_text().split("## All lines")[1], re.MULTILINE)
    return {(name, dtype, int(order)) for name, dtype, order in rows}


def find(name):
    found = LIBRARY
    for part in name.split("."):
        found = getattr(found, part)
    return found


def vectors(count):
    return list(np.random.default_rng(count).uniform(0.1, 0.9, (count, 3)).astype(np.float32))


def is_elementwise(function, count):
    """Whether a function of this many vectors gives a vector of floats, of which each depends on its own elements."""
    xs = vectors(count)
    try:
        whole = function(*xs)
        if not isinstance(whole, pb.Array) or whole.shape != (3,) or whole.dtype.kind not in "fc":
            return False
        turned, part = function(*[x[[2, 0, 1]] for x in xs]), function(*[x[:2] for x in xs])
        return np.array_equal(turned, np.asarray(whole)[[2, 0, 1]]) and np.array_equal(part, np.asarray(whole)[:2])
    except Exception:
        return False


def program(function, count):
    """The program of a function of vectors, which is that of another one if the functions are the same."""
    try:
        return str(pb.make_jaxpr(function)(*vectors(count)))
    except Exception:
        return None


def candidates():
    """Names, and how many arguments the functions take."""
    for module in ("numpy", "lax", "nn"):
        held = getattr(LIBRARY, module)
        for name in getattr(held, "__all__", None) or dir(held):
            function = getattr(held, name)
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            count = next((n for n in (1, 2, 3) if is_elementwise(function, n)), None)
            if count:
                yield f"{module}.{name}", count
    for name in LIBRARY.special.__all__:
        parameters = inspect.signature(getattr(LIBRARY.special, name)).parameters.values()
        yield f"special.{name}", sum(parameter.default is inspect.Parameter.empty for parameter in parameters)
    for name, module in inspect.getmembers(LIBRARY.stats, inspect.ismodule):
        if module.__name__.startswith("pullback.scipy.stats.") and not name.startswith("_"):
            for member in module.__all__:
                yield f"stats.{name}.{member}", 0


def test_every_function_has_lines_or_a_reason_why_not():
    measured = {f.name.split(" ")[0] for f in TABLE}
    programs = {program(find(name), n) for name in measured for n in (1, 2, 3)} - {None}
    without = {
        name for name, count in candidates() if name not in measured and program(find(name), count) not in programs
    }
    assert sorted(without) == sorted(" ".join(EXCEPTIONS.values()).split())


def test_every_function_of_the_harness_has_its_lines():
    rows = {(f.name, dtype, order) for f in TABLE for dtype in f.dtypes for order in f.orders}
    assert page_lines() == rows  # none of functions that are gone
