"""What every operation must satisfy: kernel, compiled code and JAX agree; its rules agree with each other."""

import itertools

import jax
import ml_dtypes
import numpy as np

import pullback as pb
import pullback.numpy


class Sampler:
    """Test data of a dtype by shape: normal numbers, small integers, fair bools. Each test module has its own."""

    def __init__(self, seed=0, largest=5):
        self.rng = np.random.default_rng(seed)
        self.largest = largest

    def __call__(self, shape, dtype="float32"):
        if dtype == "bool":
            return self.rng.random(shape) < 0.5
        dtype = np.dtype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
        integers = dtype.kind in "iu"
        values = self.rng.integers(0, self.largest, shape) if integers else self.rng.standard_normal(shape)
        if dtype.kind == "c":
            values = values + 1j * self.rng.standard_normal(shape)
        return np.asarray(values).astype(dtype)


FAMILY_TOLERANCE = {2: 2e-2, 4: 1e-5, 8: 1e-10}


def close(got, expected, scale=1.0):
    """Equal shape and dtype, and values up to a few rounding errors of the dtype."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    if expected.dtype.kind in "biu" or expected.dtype.name in ("int4", "uint4"):
        np.testing.assert_array_equal(got.astype(np.int64), expected.astype(np.int64))
        return
    width = expected.dtype.itemsize // (2 if expected.dtype.kind == "c" else 1)
    tolerance = FAMILY_TOLERANCE[max(width, 2)] * scale
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    np.testing.assert_allclose(got.astype(wide), expected.astype(wide), rtol=tolerance, atol=tolerance)


def all_close(got, expected, scale=1.0):
    """`close`, leaf by leaf."""
    got, expected = jax.tree.leaves(got, is_leaf=_is_array), jax.tree.leaves(expected, is_leaf=_is_array)
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        close(g, e, scale)


def _is_array(x):
    return isinstance(x, pb.Array)


def check_value(fun, oracle, *args):
    """Eager and compiled results equal JAX's, in shape, dtype, weakness and value."""
    expected = oracle(*args)
    for run in (fun, pb.jit(fun)):
        got = run(*args)
        all_close(got, expected)
        for g, e in zip(jax.tree.leaves(got, is_leaf=_is_array), jax.tree.leaves(expected), strict=True):
            assert g.weak_type == e.weak_type
    shapes = jax.eval_shape(oracle, *args)
    for g, e in zip(jax.tree.leaves(pb.eval_shape(fun, *args)), jax.tree.leaves(shapes), strict=True):
        assert (g.shape, g.dtype) == (e.shape, e.dtype)


def check_derivative(fun, *args, seed=0):
    """The jvp is the finite difference, the vjp its adjoint, eagerly and compiled. `args` are all differentiated."""
    rng = np.random.default_rng(seed)
    args = [np.asarray(x) for x in args]
    tangents = [rng.standard_normal(x.shape).astype(x.dtype) for x in args]
    y, dy = pb.jvp(fun, tuple(args), tuple(tangents))
    eps = 1e-2
    up = np.asarray(fun(*[x + eps * t for x, t in zip(args, tangents, strict=True)]), np.float64)
    down = np.asarray(fun(*[x - eps * t for x, t in zip(args, tangents, strict=True)]), np.float64)
    np.testing.assert_allclose(np.asarray(dy), (up - down) / (2 * eps), rtol=1e-2, atol=2e-3)
    ct = rng.standard_normal(y.shape).astype(y.dtype)

    def both_modes(*xs):
        return pb.jvp(fun, xs, tuple(tangents))[1], pb.vjp(fun, *xs)[1](ct)

    for run in (both_modes, pb.jit(both_modes)):
        forward, cts = run(*args)
        close(forward, dy, 10)
        left = np.vdot(ct.astype(np.float64), np.asarray(dy, np.float64))
        right = sum(
            np.vdot(np.asarray(c, np.float64), t.astype(np.float64)) for c, t in zip(cts, tangents, strict=True)
        )
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-4)


def check_batching(fun, *args, size=3, seed=0):
    """vmap equals a loop, for every choice of batched arguments and of batch axes 0 and -1, eagerly and compiled."""
    rng = np.random.default_rng(seed)
    args = [np.asarray(x) for x in args]
    choices = [which for which in itertools.product((None, 0, -1), repeat=len(args)) if set(which) != {None}]
    batches, expectations = [], []
    for which in choices:
        batched = []
        for x, w in zip(args, which, strict=True):
            if w is None:
                batched.append(x)
                continue
            rows = [x] + [rng.permutation(x.ravel()).reshape(x.shape) for _ in range(size - 1)]
            batched.append(np.stack(rows, axis=w))
        batches.append(batched)
        expectations.append(
            np.stack(
                [
                    np.asarray(
                        fun(*[x if w is None else np.take(x, i, axis=w) for x, w in zip(batched, which, strict=True)])
                    )
                    for i in range(size)
                ]
            )
        )

    def mapped(batches):
        return [pb.vmap(fun, in_axes=which)(*batched) for which, batched in zip(choices, batches, strict=True)]

    # all choices in one program: it compiles for longer than it runs
    for run in (mapped, pb.jit(mapped)):
        for which, got, expected in zip(choices, run(batches), expectations, strict=True):
            try:
                close(got, expected)
            except AssertionError as error:
                raise AssertionError(f"in_axes={which}: {error}") from None


def agree(f, g, *args, **options):
    """`check_value` of two functions called with the same options."""
    check_value(lambda *xs: f(*xs, **options), lambda *xs: g(*xs, **options), *args)
