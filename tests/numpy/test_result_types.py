"""The shape, dtype and weak type of every function's result, for every kind of operand, are those of JAX.

The functions are those that both libraries have and that take one or two arrays. `DIFFERENT` lists what is left.
"""

import contextlib
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
from pullback import nn
from pullback import numpy as pnp
from pullback.scipy import special

MODULES = {"numpy": (pnp, jnp), "nn": (nn, jax.nn), "special": (special, jax.scipy.special)}
# what takes no arrays of numbers, or reads values to find its result's shape
OTHER = set(
    """arange argwhere array_equal array_equiv array_repr array_str astype bincount block broadcast_arrays
    broadcast_shapes broadcast_to can_cast choose c_ einsum_path expand_dims eye finfo flatnonzero from_dlpack
    frombuffer fromfile fromiter fromstring full full_like get_printoptions iinfo indices isdtype iscomplexobj isrealobj
    isscalar
    issubdtype iterable ix_ load logspace mask_indices ndim nonzero ones printoptions promote_types repeat reshape
    result_type save savez set_printoptions setdiff1d setxor1d shape size tile tri tril_indices triu_indices trim_zeros
    intersect1d union1d unique unique_all unique_counts unique_inverse unique_values unravel_index vectorize zeros empty
    dot_product_attention hamming hanning blackman bartlett kaiser identity moveaxis permute_dims delete insert one_hot
    append""".split()
)


def arity(function):
    """How many arguments it requires."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a dtype, called as a function
        return 1
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def names():
    for module, (ours, theirs) in MODULES.items():
        for name in sorted(set(dir(ours)) & set(dir(theirs)) - OTHER):
            function = getattr(theirs, name)
            if name[0] != "_" and callable(function) and callable(getattr(ours, name)):
                if isinstance(function, type) and not hasattr(function, "dtype"):
                    continue
                if (1 if isinstance(function, type) else arity(function)) in (1, 2):
                    yield f"{module}.{name}"


# what stands for a weakly typed array
WEAK = {"weak int[2]": 1, "weak float[2]": 1.0}
OPERANDS = {
    "1": 1,
    "1.": 1.0,
    "True": True,
    "np.float32": np.float32(0.5),
    "np.int8": np.int8(1),
    "bool[2]": np.array([True, False]),
    "int8[2]": np.array([1, 2], "int8"),
    "int32[2]": np.array([1, 2], "int32"),
    "float16[2]": np.array([0.5, 0.25], "float16"),
    "float32[2]": np.array([0.5, 0.25], "float32"),
    **WEAK,
}
ALONE = {
    **OPERANDS,
    "1j": 1j,
    "np.float64": np.float64(0.5),
    "np.int64": np.int64(1),
    "np.bool": np.bool_(True),
    "uint8[2]": np.array([1, 2], "uint8"),
    "bfloat16[2]": np.array([0.5, 0.25], pnp.bfloat16.dtype),
    "complex64[2]": np.array([0.5, 0.25], "complex64"),
}


# what differs is the weak type alone, but for bools with x64 in the second line and np.float32 in `angle`
DIFFERENT = {
    "nn.mish",
    "nn.soft_sign",
    "nn.softplus",  # of bools the default dtype there, float32 here
    "numpy.angle",  # of a Python or NumPy float: another dtype there than of an array of the same
    "numpy.deg2rad",
    "numpy.degrees",
    "numpy.rad2deg",
    "numpy.radians",
    "numpy.sinc",
    "special.logit",  # of weak arrays
    "special.log_ndtr",
    "numpy.argpartition",
    "numpy.convolve",
    "numpy.correlate",
    "numpy.copysign",
    "numpy.gcd",
    "numpy.lcm",
    "numpy.heaviside",
    "numpy.hypot",
    "special.kl_div",
    "special.rel_entr",
}
# with the option a Python float and a float32 are of two widths, and there is nothing left to tell apart
SAME_WITH_X64 = {"numpy.convolve", "numpy.correlate", "numpy.copysign", "numpy.polymul"}
DIFFERENT |= {"numpy.polyder", "numpy.polydiv", "numpy.polyint", "numpy.polymul"}  # of weak arrays
DIFFERENT |= {"special.loggamma"}  # of a complex Python number
DIFFERENT |= {"special.owens_t"}  # of Python numbers beside arrays: not weak there, so that float16 becomes float32
# of integers and bools: double precision in one of the libraries
DIFFERENT_WITH_X64 = {"numpy.roots", "numpy.sort_complex", "special.multigammaln"}
if not jax.__version__.startswith("0.10."):
    DIFFERENT.add("numpy.log2")  # of weak operands: weak there since 0.12, as every other logarithm, strong in 0.10.2


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


def differences(function):
    """The operands whose result has another type here than in JAX, with both types; and how many both take."""
    module, _, name = function.partition(".")
    ours, theirs = (getattr(library, name) for library in MODULES[module])
    count = 1 if isinstance(theirs, type) else arity(theirs)
    kinds_of_one = ALONE if count == 1 else OPERANDS
    operands = {kind: operand(kind, pnp) for kind in kinds_of_one}
    taken = {}
    for kinds in itertools.product(kinds_of_one, repeat=count):
        with contextlib.suppress(Exception):
            taken[kinds] = types(ours(*[operands[kind] for kind in kinds]))
    expected = types_of_jax(theirs, taken)
    found = {", ".join(kinds): (taken[kinds], want) for kinds, want in expected.items() if taken[kinds] != want}
    return found, len(expected)


def types_of_jax(function, operands):
    """The types of the results for those of the operands that the function takes, found in one trace."""
    known = {kind: operand(kind, jnp) for kind in ALONE}

    def results():
        found = {}
        for kinds in operands:
            with contextlib.suppress(Exception):
                result = function(*[known[kind] for kind in kinds])
                jax.tree.map(jnp.result_type, result)  # refuses what is no array
                found[kinds] = result
        return found

    return {kinds: types(result) for kinds, result in jax.eval_shape(results).items()}


@pytest.mark.parametrize("function", sorted(names()))
@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_results_have_the_types_of_jax(function, x64):
    with jax.enable_x64(x64), pb.enable_x64(x64):
        found, compared = differences(function)
    if not compared:
        pytest.skip("takes other operands")
    different = DIFFERENT - SAME_WITH_X64 | DIFFERENT_WITH_X64 if x64 else DIFFERENT
    assert (found != {}) == (function in different), found


def test_result_type_takes_scalar_types_and_keys():
    """`pnp.float64` equals `float`, and is another type."""
    with pb.enable_x64(True):
        assert pnp.result_type(pnp.ones(2, "float32"), pnp.float64) == np.float64
        assert pnp.result_type(pnp.ones(2, "float32"), float) == np.float32
    key = pb.random.key(0)
    assert pnp.result_type(key, key) == key.dtype
    with pytest.raises(TypeError, match="promoted with no other dtype"):
        pnp.result_type(key, 1.0)
