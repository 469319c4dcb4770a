"""The methods of arrays: they are the functions of their names, with the signatures of NumPy and JAX."""

import inspect

import jax.numpy as jnp
import numpy as np
import pytest
from agreement import all_close

import pullback as pb
import pullback.numpy as pnp

M = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
CALLS = [
    ("all", (), {}),
    ("any", (0,), {}),
    ("argmax", (1,), {}),
    ("argmin", (), {}),
    ("argsort", (), {}),
    ("astype", (int,), {}),
    ("clip", (-0.5, 0.5), {}),
    ("clip", (), {"max": 0.1}),
    ("compress", (np.array([True, False, True]), 0), {}),
    ("conj", (), {}),
    ("conjugate", (), {}),
    ("copy", (), {}),
    ("cumprod", (1,), {}),
    ("cumsum", (), {}),
    ("diagonal", (1,), {}),
    ("dot", (M.T,), {}),
    ("flatten", (), {}),
    ("flatten", ("F",), {}),
    ("max", (), {"axis": 0}),
    ("mean", (1,), {"keepdims": True}),
    ("min", (0,), {}),
    ("nonzero", (), {}),
    ("prod", (0,), {}),
    ("ptp", (0,), {}),
    ("ravel", (), {}),
    ("repeat", (2, 1), {}),
    ("reshape", (4, 3), {}),
    ("reshape", ((2, -1),), {}),
    ("reshape", (-1,), {}),
    ("reshape", (12,), {"order": "F"}),
    ("round", (1,), {}),
    ("sort", (), {"axis": 0}),
    ("squeeze", (), {}),
    ("std", (0,), {}),
    ("std", (), {"ddof": 1}),
    ("sum", (), {}),
    ("sum", ((0, 1),), {}),
    ("swapaxes", (0, 1), {}),
    ("take", (2, 1), {}),
    ("trace", (), {}),
    ("transpose", (), {}),
    ("transpose", (1, 0), {}),
    ("transpose", ((1, 0),), {}),
    ("transpose", (None,), {}),
    ("var", (1,), {}),
    ("view", ("int32",), {}),
    ("byteswap", (), {}),
]


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS, ids=[f"{i}-{c[0]}" for i, c in enumerate(CALLS)])
def test_agrees_with_jax(name, args, kwargs):
    expected = getattr(jnp.asarray(M), name)(*args, **kwargs)
    all_close(getattr(pnp.asarray(M), name)(*args, **kwargs), expected, 20)
    if name not in ("nonzero",):
        all_close(pb.jit(lambda x: getattr(x, name)(*args, **kwargs))(M), expected, 20)


def test_searchsorted():
    x = np.sort(M[0])
    all_close(pnp.asarray(x).searchsorted(0.0), jnp.asarray(x).searchsorted(0.0))


@pytest.mark.parametrize("name", ["T", "mT", "real", "imag"])
@pytest.mark.parametrize("x", [M, M + 1j * M, M.astype("int8")], ids=["float", "complex", "int"])
def test_properties(name, x):
    all_close(getattr(pnp.asarray(x), name), getattr(jnp.asarray(x), name))
    all_close(pb.jit(lambda x: getattr(x, name))(x), getattr(jnp.asarray(x), name))


def parameters(method):
    """Names and kinds of a method's parameters, self left out, and what JAX alone has."""
    found = list(inspect.signature(method).parameters.values())[1:]
    return {p.name: p.kind for p in found if p.name not in ("out_sharding", "args")}


@pytest.mark.parametrize("name", sorted({c[0] for c in CALLS} | {"searchsorted", "to_device", "argpartition"}))
def test_signatures_are_those_of_jax(name):
    ours, theirs = parameters(getattr(pb.Array, name)), parameters(getattr(type(jnp.zeros(1)), name))
    assert set(theirs) <= set(ours)
    by_position = [p for p, kind in theirs.items() if kind is not inspect.Parameter.KEYWORD_ONLY]
    assert list(ours)[: len(by_position)] == by_position


def test_every_method_has_a_docstring():
    for name in {c[0] for c in CALLS} | {"at", "T", "device", "sharding", "devices"}:
        assert getattr(pb.Array, name).__doc__


def test_devices():
    x = pnp.zeros(2)
    assert x.devices() == {x.device} == x.sharding.device_set
    assert x.to_device(x.device) is x
    assert x.sharding == pnp.ones(3).sharding
    with pytest.raises(TypeError, match="to_device"):
        x.to_device("moon")


def test_array_namespace():
    assert pnp.zeros(1).__array_namespace__() is pnp


def test_methods_of_traced_arrays_differentiate():
    f = lambda x: (x.reshape(-1).at[0].set(0.0).reshape(3, 4).T @ x).sum()  # noqa: E731
    g = pb.grad(f)(M)
    assert g.shape == M.shape
    all_close(pb.jit(pb.grad(f))(M), g, 10)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "bfloat16", "complex64"])
def test_byteswap(dtype):
    x = np.arange(6).reshape(2, 3).astype(pnp.dtype(dtype))
    for swapped in (pnp.asarray(x).byteswap(), pb.jit(pnp.ndarray.byteswap)(x)):
        assert swapped.dtype == x.dtype
        assert np.asarray(swapped).tobytes() == x.byteswap().tobytes()


def test_choose():
    choices = [M[0], M[1], 2 * M[2]]
    picked = pnp.array([2, 0, 1, 1]).choose(choices)
    np.testing.assert_array_equal(picked, np.choose([2, 0, 1, 1], choices))
    np.testing.assert_array_equal(pnp.array([5]).choose(choices, mode="wrap"), 2 * M[2])
