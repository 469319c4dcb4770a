"""The shape, dtype and weak type of every function's result, for every kind of operand, are those of JAX.

The functions are those that both libraries have and that take one or two arrays.
"""
import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
from pullback import numpy as pnp

NAMES = {
    "numpy": ["searchsorted", "digitize", "floor_divide", "remainder", "fmod", "divmod", "left_shift", "right_shift",
              "median", "nanmedian", "int_", "float_", "complex_", "uint", "power", "square", "quantile", "percentile",
              "nanquantile", "nanpercentile", "trapezoid", "unwrap", "rint"],
}
MODULES = {"numpy": (pnp, jnp)}
FUNCTIONS = [f"{module}.{name}" for module, names in NAMES.items() for name in names]

# what stands for a weakly typed array
WEAK = {"weak int[2]": 1, "weak float[2]": 1.0}
OPERANDS = {
    "1": 1, "1.": 1.0, "True": True, "np.float32": np.float32(0.5), "np.int8": np.int8(1),
    "bool[2]": np.array([True, False]), "int8[2]": np.array([1, 2], "int8"), "int32[2]": np.array([1, 2], "int32"),
    "float16[2]": np.array([0.5, 0.25], "float16"), "float32[2]": np.array([0.5, 0.25], "float32"), **WEAK}
ALONE = {**OPERANDS, "1j": 1j, "np.float64": np.float64(0.5), "np.int64": np.int64(1), "np.bool": np.bool_(True),
         "uint8[2]": np.array([1, 2], "uint8"), "bfloat16[2]": np.array([0.5, 0.25], pnp.bfloat16.dtype),
         "complex64[2]": np.array([0.5, 0.25], "complex64")}


def operand(kind, library):
    value = ALONE[kind]
    if kind in WEAK:
        value = library.broadcast_to(value, (2,))
        assert value.weak_type
        return value
    return library.asarray(value) if isinstance(value, np.ndarray) else value


def types(result):
    leaves = jax.tree.leaves(result, is_leaf=lambda x: isinstance(x, pb.Array))
    return [f"{x.dtype.name}{list(x.shape)}{' weak' * bool(x.weak_type)}" for x in leaves]


def arity(function):
    """How many arguments it requires."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a dtype, called as a function
        return 1
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def differences(function):
    """The operands that JAX takes and whose result has another type here, with both types."""
    module, _, name = function.partition(".")
    ours, theirs = (getattr(library, name) for library in MODULES[module])
    count = 1 if isinstance(theirs, type) else arity(theirs)
    found, compared = {}, 0
    for kinds in itertools.product(ALONE if count == 1 else OPERANDS, repeat=count):
        try:
            expected = types(jax.eval_shape(functools.partial(theirs, *[operand(kind, jnp) for kind in kinds])))
        except Exception:
            continue
        try:
            got = types(ours(*[operand(kind, pnp) for kind in kinds]))
        except (TypeError, ValueError) as error:
            got = f"refused: {error}"
        compared += 1
        if got != expected:
            found[", ".join(kinds)] = (got, expected)
    assert compared
    return found


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_results_have_the_types_of_jax(function, x64):
    with jax.enable_x64(x64), pb.enable_x64(x64):
        assert differences(function) == {}
