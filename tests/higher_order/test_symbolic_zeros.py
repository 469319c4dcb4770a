"""Rules that are told which arguments are not differentiated, and which results have no cotangent."""

import jax
import numpy as np
import pytest
from agreement import all_close
from functions import with_jvp
from jax import custom_derivatives as jax_derivatives
from wrappers import WRAPPERS, eager

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, custom_vjp, errors, grad, jvp, vmap
from pullback.custom_derivatives import CustomVJPPrimal, SymbolicZero, zero_from_primal

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)


def reporting_product(lib, derivatives, seen):
    """x y, with ten times its derivatives, whose rule notes which tangents are symbolic zeros."""
    f = lib.custom_jvp(lambda x, y: x * y)

    def rule(primals, tangents):
        zero = derivatives.SymbolicZero
        seen.append([type(t) is zero for t in tangents])
        x, y = primals
        tx, ty = [0 * p if type(t) is zero else t for p, t in zip(primals, tangents, strict=True)]
        return f(x, y), 10 * (tx * y + x * ty)

    f.defjvp(rule, symbolic_zeros=True)
    return f


def jvp_by_the_first(lib, f):
    return lib.jvp(lambda x: f(x, 2.0), (3.0,), (1.0,))


def grad_by_the_second(lib, f):
    return lib.grad(f, 1)(3.0, 2.0)


def vmap_of_grad(lib, f):
    return lib.vmap(lib.grad(f), (0, None))(X, 2.0)


def grad_by_both(lib, f):
    return lib.grad(lambda x: f(x, x))(3.0)


def jit_of_grad(lib, f):
    return lib.jit(lib.grad(f))(3.0, 2.0)


@pytest.mark.parametrize("transform", [jvp_by_the_first, grad_by_the_second, vmap_of_grad, grad_by_both, jit_of_grad])
def test_symbolic_zeros_of_a_jvp_rule_as_in_jax(transform):
    mine, theirs = [], []
    got = transform(pb, reporting_product(pb, pb.custom_derivatives, mine))
    expected = transform(jax, reporting_product(jax, jax_derivatives, theirs))
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert mine == theirs


def test_symbolic_zeros_may_be_returned():
    f = custom_jvp(lambda x, n: (x, n))

    def rule(primals, tangents):
        return f(*primals), tuple(tangents)

    f.defjvp(rule, symbolic_zeros=True)
    outs, touts = jvp(f, (X, np.arange(3)), (X, np.zeros(3, jax.dtypes.float0)))
    all_close(outs, (X, np.arange(3, dtype="int32")))
    assert touts[1].dtype == jax.dtypes.float0


def test_symbolic_zeros_of_the_wrong_type_are_refused():
    def rule(primals, tangents):
        return primals[0], SymbolicZero(pnp.zeros(7).aval)

    with pytest.raises(errors.RuleError, match=r"expected f32\[3\], got SymbolicZero\(f32\[7\]\)"):
        jvp(with_jvp(lambda x: x, rule), (X,), (X,))


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_symbolic_zeros_of_a_vjp_rule(wrap):
    perturbed, vanishing = [], []
    f = custom_vjp(lambda a, b: (a["u"] * b, a["v"] + b))

    def fwd(a, b):
        assert all(isinstance(p, CustomVJPPrimal) for p in (a["u"], a["v"], b))
        perturbed.append((a["u"].perturbed, a["v"].perturbed, b.perturbed))
        return f({k: p.value for k, p in a.items()}, b.value), (a["u"].value, b.value)

    def bwd(res, cts):
        vanishing.append(tuple(type(ct) is SymbolicZero for ct in cts))
        first, second = [0.0 if type(ct) is SymbolicZero else ct for ct in cts]
        return {"u": first * res[1], "v": second + 0 * res[1]}, first * res[0] + second

    f.defvjp(fwd, bwd, symbolic_zeros=True)

    def first_result(u):
        return f({"u": u, "v": 5.0}, 2.0)[0]

    def second_result(b):
        return f({"u": 3.0, "v": 5.0}, b)[1]

    all_close(grad(wrap(first_result))(3.0), f32(2))
    assert perturbed[0] == (True, False, False)
    if wrap is eager:
        assert vanishing[0] == (False, True)
    all_close(vmap(grad(wrap(second_result)))(X), np.ones(3, f32))


def test_a_whole_primal_as_residual_is_refused():
    f = custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x.value, x), lambda r, g: (g,), symbolic_zeros=True)
    with pytest.raises(errors.RuleError, match=r"CustomVJPPrimal; save its \.value"):
        grad(f)(1.0)


@pytest.mark.parametrize(
    "x", [X, 3.0, np.arange(3), True, np.ones(2, np.complex64)], ids=["floats", "number", "integers", "bool", "complex"]
)
def test_zero_from_primal(x):
    got, expected = zero_from_primal(x), jax_derivatives.zero_from_primal(x)
    assert np.shape(got) == np.shape(expected)
    assert got.dtype == expected.dtype
    assert not np.any(np.asarray(got).astype(bool))
    symbolic = zero_from_primal(x, symbolic_zeros=True)
    assert isinstance(symbolic, SymbolicZero)
    assert (symbolic.shape, symbolic.dtype) == (np.shape(expected), expected.dtype)


def test_zero_from_primal_of_a_pytree():
    got = zero_from_primal({"a": X, "b": [np.arange(2)]})
    assert (got["a"].tolist(), got["b"][0].dtype) == ([0.0] * X.size, pb.float0)
    symbolic = zero_from_primal([X, 1.0], symbolic_zeros=True)
    assert all(isinstance(zero, SymbolicZero) for zero in symbolic)
