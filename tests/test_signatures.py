"""The parameters of every function that JAX has too: JAX's names, kinds and order, but for a table of differences."""

import functools
import importlib
import inspect
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, nn
from pullback.scipy import special

MODULES = (
    "",
    "numpy",
    "numpy.linalg",
    "numpy.fft",
    "lax",
    "lax.linalg",
    "nn",
    "nn.initializers",
    "random",
    "scipy.special",
    "scipy.linalg",
    "scipy.fft",
    "scipy.integrate",
    "scipy.cluster.vq",
    "scipy.interpolate",
    "scipy.ndimage",
    "scipy.optimize",
    "scipy.signal",
    "scipy.sparse.linalg",
    "scipy.spatial.transform",
    "scipy.stats",
    "scipy.stats.bernoulli",
    "scipy.stats.beta",
    "scipy.stats.betabinom",
    "scipy.stats.binom",
    "scipy.stats.cauchy",
    "scipy.stats.chi2",
    "scipy.stats.dirichlet",
    "scipy.stats.expon",
    "scipy.stats.gamma",
    "scipy.stats.gennorm",
    "scipy.stats.geom",
    "scipy.stats.gumbel_l",
    "scipy.stats.gumbel_r",
    "scipy.stats.laplace",
    "scipy.stats.logistic",
    "scipy.stats.multinomial",
    "scipy.stats.multivariate_normal",
    "scipy.stats.nbinom",
    "scipy.stats.norm",
    "scipy.stats.pareto",
    "scipy.stats.poisson",
    "scipy.stats.t",
    "scipy.stats.truncnorm",
    "scipy.stats.uniform",
    "scipy.stats.vonmises",
    "scipy.stats.wrapcauchy",
    "tree_util",
    "tree",
    "flatten_util",
    "image",
    "custom_batching",
    "custom_derivatives",
    "ad_checkpoint",
    "dtypes",
    "debug",
    "experimental.jet",
    "experimental.ode",
    "ops",
)
SCALAR_TYPE = type(jnp.float32)
BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
IN_PLACE = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY)

# what JAX's functions have and ours have not, wherever it stands
ABSENT = {
    "out_sharding": "types of arrays hold no shardings: with_sharding_constraint says where the result is to be",
    "sharding": "arrays live on one device",
    "reduce_axes": "JAX deprecated it with xmap and raises NotImplementedError for other values than ()",
    "partitioned": "there is one device",
    "_use_logging": "not public",
    "sum_match": "not documented by JAX",
    "manual_axis_type": "of shard_map, which needs several devices",
    "is_ref": "there are no references to mutable arrays",
}
UFUNCS = (
    "add",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "logaddexp",
    "logaddexp2",
    "logical_and",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "subtract",
    "negative",
)
# "module.function parameter": why ours differs in it
DIFFERENT = {
    **{
        f"numpy.{name} {parameter}": "JAX's is an object of the class ufunc, which takes operands by position"
        for name in UFUNCS
        for parameter in ("args", "x", "y")
        if name != "negative" or parameter != "y"
    },
    "checkpoint fun": "left out, a decorator results",
    "vjp saveable_args": "in JAX since 0.12",
    "jit tiered": "whether the NumPy kernels answer calls until the program is compiled",
    "remat fun": "left out, a decorator results",
    "remat static_argnames": "remat is checkpoint",
    "checking_leaks new_val": "it is check_tracer_leaks",
    "Ref aval": "made by new_ref",
    "Ref refs": "made by new_ref",
    **{
        f"{module}custom_{kind} jvp": "where forward mode comes from"
        for module, kind in (("", "jvp"), ("", "vjp"), ("custom_derivatives.", "jvp"), ("custom_derivatives.", "vjp"))
    },
    **{
        f"custom_batching.custom_vmap {name}": "every decorator of rules takes them"
        for name in ("nondiff_argnums", "nondiff_argnames", "jvp")
    },
    **{
        f"{name} unconnected": "what stands for the derivative by an argument that the result does not depend on"
        for name in ("grad", "value_and_grad", "hessian", "jacobian", "jacrev")
    },
    **{f"Shard {name}": "arrays make them" for name in ("global_shape", "data")},
    "Array.argsort dtype": "as in numpy.argsort",
    "Array.dot out_sharding": "as in numpy.dot",
    "Array.std mean": "as in numpy.std",
    "Array.var mean": "as in numpy.var",
    **{f"lax.random_gamma_grad {name}": "JAX's takes any number of arguments" for name in ("args", "a", "x")},
    "lax.while_loop max_steps": "with it, reverse mode goes through the loop",
    "numpy.array args": "JAX deprecated positional arguments after dtype",
    **{
        f"numpy.fromiter {name}": "JAX's raises NotImplementedError"
        for name in ("args", "kwargs", "iterable", "dtype", "count")
    },
    "numpy.linalg.tensordot axes": "may be given by position, too, as in numpy.tensordot",
    "numpy.linalg.matmul out_sharding": "the function is numpy.matmul",
    "lax.convert_element_type weak_type": "rules ask for weak types",
    "lax.full weak_type": "rules ask for weak types",
    "lax.linalg.eig enable_eigvec_derivs": "the derivatives of eigenvectors that have none are refused one by one",
    "tree_util.Partial func": "positional, so that an argument may be named func, as in functools.partial",
    **{
        f"debug.breakpoint {name}": "JAX's opens a debugger of its own, ours Python's"
        for name in ("kwargs", "stdin", "stdout")
    },
    "debug.callback callback": "required: there is nothing to do without",
    "numpy.modf out": "by keyword alone, and refused as in JAX",
    "debug.log fmt": "required: there is nothing to do without",
    "debug.print fmt": "positional, so that a placeholder may be named fmt",
    "experimental.jet.jet _": "JAX takes and ignores any keyword",
}


def shared() -> Iterator[tuple[str, Callable, Callable]]:
    """The public functions and classes of both libraries, by name."""
    for module in MODULES:
        ours, theirs = (
            importlib.import_module(".".join(filter(None, (library, module)))) for library in ("pullback", "jax")
        )
        for name in dir(theirs):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                value = getattr(theirs, name, None)
            if name.startswith("_") or isinstance(value, types.ModuleType | SCALAR_TYPE) or not callable(value):
                continue
            if hasattr(ours, name):
                yield f"{module}.{name}".lstrip("."), getattr(ours, name), value
    for of, ours, theirs in (
        ("Array", pnp.ones((2, 2)), jnp.ones((2, 2))),
        ("at", pnp.ones(2).at[0], jnp.ones(2).at[0]),
    ):
        for name in dir(ours):
            if not name.startswith("_") and callable(getattr(ours, name)) and hasattr(theirs, name):
                yield f"{of}.{name}", getattr(ours, name), getattr(theirs, name)


def parameters(function: Callable) -> dict[str, inspect.Parameter] | None:
    try:
        return dict(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return None


def takes_by_name(function: Any, name: str) -> bool:
    """Whether a keyword reaches the function through all that is wrapped around it; `signature` looks at the inmost."""
    while isinstance(function, types.FunctionType):
        own = inspect.signature(function, follow_wrapped=False).parameters
        if not any(p.kind is p.VAR_KEYWORD or (p.name == name and p.kind in BY_NAME) for p in own.values()):
            return False
        function = getattr(function, "__wrapped__", None)
    return True


def differences(function: Callable, model: Callable) -> Iterator[tuple[str, str]]:
    """The parameters in which a function differs from its model, and how."""
    ours, theirs = parameters(function), parameters(model)
    if ours is None or theirs is None:
        return
    places = [p.name for p in ours.values() if p.kind in IN_PLACE]
    for i, p in enumerate(theirs.values()):
        own = ours.get(p.name)
        if p.kind in BY_NAME:
            if own is None or own.kind not in BY_NAME or not takes_by_name(function, p.name):
                yield p.name, "is not taken by name"
            elif p.kind in IN_PLACE and (own.kind not in IN_PLACE or places.index(p.name) != i):
                yield p.name, f"is at position {i} in JAX"
            elif (own.default is own.empty) != (p.default is p.empty):
                yield p.name, "is required here and has a default there, or the other way round"
            elif repr(own.default) != repr(p.default) and isinstance(
                p.default, (bool, int, float, str, tuple, type(None))
            ):
                yield p.name, f"has the default {own.default!r} here and {p.default!r} in JAX"
        elif p.kind is p.POSITIONAL_ONLY:
            if i >= len(places) and not any(q.kind is q.VAR_POSITIONAL for q in ours.values()):
                yield p.name, f"is at position {i} in JAX"
        elif not any(q.kind is p.kind for q in ours.values()):
            yield p.name, "gathers arguments in JAX"
    count = len([p for p in theirs.values() if p.kind in IN_PLACE])
    for name, own in ours.items():
        beyond = own.kind in IN_PLACE and places.index(name) >= count
        if beyond or (name not in theirs and own.kind is own.KEYWORD_ONLY):
            yield name, "is not in JAX"


@functools.cache
def found() -> dict[str, str]:
    return {
        f"{name} {parameter}": how for name, ours, theirs in shared() for parameter, how in differences(ours, theirs)
    }


def test_parameters_are_those_of_jax():
    left = {
        key: how
        for key, how in found().items()
        if key not in DIFFERENT and not (key.split()[1] in ABSENT and how == "is not taken by name")
    }
    assert not left, "\n" + "\n".join(f"{key} {how}" for key, how in left.items())


def test_the_tables_hold_nothing_old():
    assert not [key for key in DIFFERENT if key not in found()]
    assert not [name for name in ABSENT if not any(key.split()[1] == name for key in found())]
    assert len([*shared()]) > 800


def test_names_and_places_reach_the_functions():
    """What the signatures promise, called."""
    x = pnp.arange(6.0).reshape(2, 3)
    expected = np.asarray(x).T.reshape(6)
    for called in (lax.reshape(operand=x, new_sizes=(6,), dimensions=(1, 0)), lax.reshape(x, (6,), (1, 0))):
        np.testing.assert_array_equal(called, expected)
    np.testing.assert_array_equal(
        pb.grad(lambda v: (lax.reshape(v, (6,), (1, 0)) * np.arange(6.0)).sum())(x), np.arange(6.0).reshape(3, 2).T
    )
    assert float(nn.relu(x=-1.0)) == 0.0 == float(special.xlogy(y=0.0, x=0.0))
    assert float(special.kl_div(q=1.0, p=2.0)) == float(special.kl_div(2.0, 1.0))
    assert float(special.gammainc(x=2.0, a=0.5)) == float(special.gammainc(0.5, 2.0))
    with pytest.raises(TypeError, match="relu: the arguments do not fit"):
        nn.relu(z=1.0)
    with pytest.raises(TypeError, match="gammainc"):
        special.gammainc(a=1.0)


def test_parameters_that_were_missing():
    assert [float(lax.mul(np.int8(100), np.int8(2), out_dtype="int32")), int(lax.mul(np.int8(100), np.int8(2)))] == [
        200.0,
        -56,
    ]
    assert lax.mul(np.float32(1.5), np.float32(1.5), out_dtype="bfloat16").dtype == "bfloat16"
    assert float(pb.grad(lambda v: lax.mul(v, v, out_dtype="float32"))(pnp.bfloat16(1.5))) == 3.0
    blocks = np.zeros((4, 5), int)
    blocks[1:3, 1:4] = 1
    for axis in (None, 0, 1, (0, 1)):
        for trim in ("f", "b", "fb", ""):
            np.testing.assert_array_equal(pnp.trim_zeros(blocks, trim, axis), jnp.trim_zeros(blocks, trim, axis))
    assert pnp.trim_zeros(np.zeros((2, 3))).shape == (0, 0) == jnp.trim_zeros(np.zeros((2, 3))).shape
    assert pnp.ravel_multi_index((np.int8([1]), np.int8([100])), (2, 200), dtype="int16")[0] == 300
    for got, expected in zip(
        pb.jit(lambda: pnp.mask_indices(3, pnp.triu, size=8))(), jnp.mask_indices(3, jnp.triu, size=8), strict=True
    ):
        np.testing.assert_array_equal(got, expected)
    assert pb.make_jaxpr(lambda v: lax.psum(v, "i"), axis_env=[("i", 3)])(1.0).out_avals[0].shape == ()
    cube = pb.checkpoint(lambda v, n: v**n, static_argnames="n")
    assert float(pb.grad(cube)(2.0, 3)) == 12.0 == float(pb.grad(lambda v: cube(v, n=3))(2.0))
    for call, part in (
        (lambda: pnp.linalg.cross(np.ones(2), np.ones(2)), "3 components"),
        (lambda: pnp.linalg.outer(np.ones((1, 1)), np.ones(1)), "two vectors"),
    ):
        with pytest.raises((ValueError, TypeError), match=part):
            call()


def test_keywords_that_were_missing():
    x = pnp.arange(3.0)
    assert pb.grad(pb.checkpoint(lambda v: v**2, concrete=False))(2.0) == 4.0
    assert pb.local_devices(host_id=0) == pb.local_devices()
    assert pb.dtypes.issubdtype(a="bfloat16", b=np.floating)
    for args in ((1, 1.5), ("int8", 1), (np.int8(1), 2.0), (x, 1)):
        ours = pb.dtypes.result_type(*args, return_weak_type_flag=True)
        jaxs = jax.dtypes.result_type(*[jnp.asarray(a) if a is x else a for a in args], return_weak_type_flag=True)
        assert ours == jaxs, args
    leaves = ((1, 2), {"k": 3})
    found = pb.api_util.flatten_axes("in_axes", pb.tree.structure(leaves), (None, 0), kws=True)
    assert (
        found
        == jax.api_util.flatten_axes("in_axes", jax.tree.structure(leaves), (None, 0), kws=True)
        == [None, None, 0]
    )
    closed = pb.make_jaxpr(lambda v: v * 2)(1.0)
    assert pb.core.eval_jaxpr(closed.jaxpr, closed.consts, 3.0, propagate_source_info=False) == [6.0]
    np.testing.assert_array_equal(pb.vmap(lambda v: lax.all_gather(v, "i", to="varying"), axis_name="i")(x)[0], x)
    with pytest.raises(NotImplementedError, match="static_argnums"):
        pb.checkpoint(abs, concrete=True)
    with pytest.raises(NotImplementedError, match="must be 'varying'"):
        pb.vmap(lambda v: lax.all_gather(v, "i", to="reduced"), axis_name="i")(x)
    with pytest.raises(ValueError, match="backend='web'"):
        pb.debug.breakpoint(backend="web")


def test_the_softmax_of_scipy_is_over_all_elements():
    x = np.linspace(-1, 2, 6, dtype="float32").reshape(2, 3)
    for name in ("softmax", "log_softmax"):
        for axis in (None, 0, -1):
            np.testing.assert_allclose(
                getattr(special, name)(x, axis=axis), getattr(jax.scipy.special, name)(x, axis=axis), rtol=1e-6
            )
    np.testing.assert_allclose(special.softmax(x).sum(), 1.0, rtol=1e-6)
