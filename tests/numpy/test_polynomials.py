"""Polynomials as vectors of coefficients: values against JAX and NumPy, derivatives, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Sampler, agree, check_batching, check_derivative, check_value, close

import pullback as pb
import pullback.numpy as pnp

data = Sampler(3)
DTYPES = ["int8", "uint32", "float16", "bfloat16", "float32", "complex64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["polyadd", "polysub", "polymul"])
def test_sums_and_products_in_every_dtype(name, dtype):
    x, y = data((3,), dtype), data((5,), dtype)
    agree(getattr(pnp, name), getattr(jnp, name), x, y)
    agree(getattr(pnp, name), getattr(jnp, name), y, data((2,), "float32"))


@pytest.mark.parametrize("name", ["polyadd", "polysub", "polymul"])
def test_derivatives_of_sums_and_products(name):
    f = getattr(pnp, name)
    check_derivative(f, data((3,)), data((4,)))
    check_batching(f, data((3,)), data((4,)))


def test_numbers_and_empty_vectors_are_constants():
    """JAX fails on these; NumPy does not."""
    p = np.array([1, 2, 3], "float32")
    for name in ("polyadd", "polysub", "polymul"):
        close(getattr(pnp, name)(2.0, p), getattr(np, name)(np.float32(2), p))
    for name in ("polyadd", "polysub"):
        close(getattr(pnp, name)(p[:0], p), getattr(np, name)(np.zeros(1, "float32"), p))


@pytest.mark.parametrize("lengths", [(5, 3), (3, 3), (2, 4), (4, 1), (1, 1)])
def test_division(lengths):
    u, v = data((lengths[0],)), data((lengths[1],)) + np.eye(lengths[1], dtype="float32")[0] * 3
    quotient, remainder = pnp.polydiv(u, v)
    for got, expected in zip((quotient, remainder), jnp.polydiv(u, v), strict=True):
        close(got, expected)
    restored = pnp.polyadd(pnp.polymul(quotient, v), remainder)
    np.testing.assert_allclose(np.asarray(restored)[-lengths[0] :], u, atol=1e-5)
    for i in range(2):
        f = lambda u, v, i=i: pnp.polydiv(u, v)[i]  # noqa: E731
        check_derivative(f, u, v)
    check_batching(lambda u, v: pnp.polydiv(u, v)[0], u, v)


def test_leading_zeros_are_left_out_on_request():
    p, q = np.array([0.0, 1, 2], "float32"), np.array([0, 0, 3.0], "float32")
    close(pnp.polymul(p, q, trim_leading_zeros=True), np.array([3, 6], "float32"))
    close(pnp.polydiv(p[1:], p[1:], trim_leading_zeros=True)[1], np.zeros(0, "float32"))
    with pytest.raises(pb.errors.ConcretizationTypeError, match="trim_leading_zeros=False"):
        pb.jit(lambda p: pnp.polymul(p, q, trim_leading_zeros=True))(p)


@pytest.mark.parametrize("m", [0, 1, 2, 4, 6])
@pytest.mark.parametrize("dtype", ["int8", "float16", "float32", "complex64"])
def test_derivatives_and_integrals(m, dtype):
    p = data((5,), dtype)
    agree(pnp.polyder, jnp.polyder, p, m=m)
    agree(pnp.polyint, jnp.polyint, p, m=m)
    back = pnp.polyder(pnp.polyint(p, m), m)
    # small coefficients of half precision are subnormal
    tolerance = 5e-2 if dtype == "float16" else 1e-5
    np.testing.assert_allclose(np.asarray(back, "complex64"), p.astype("complex64"), rtol=tolerance)


def test_constants_of_integration():
    p, k = data((4,)), data((2,))
    check_value(lambda p, k: pnp.polyint(p, 2, k), lambda p, k: jnp.polyint(p, 2, k), p, k)
    check_value(lambda p: pnp.polyint(p, 3, 2.0), lambda p: jnp.polyint(p, 3, 2.0), p)
    check_derivative(lambda p, k: pnp.polyint(p, 2, k), p, k)
    check_batching(lambda p, k: pnp.polyint(p, 2, k), p, k)


def test_polynomials_by_their_roots():
    for z in (data((4,)), data((3,), "complex64"), np.array([1, 2], "int32"), np.zeros(1, "float32")):
        agree(pnp.poly, jnp.poly, z)
    close(pnp.poly(2.0), np.array([1, -2], "float32"))
    close(pnp.poly(np.zeros(0, "float32")), np.ones(1, "float32"))
    close(pnp.poly(np.array([[2.0, 1], [0, 3]], "float32")), np.array([1, -5, 6], "complex64"))
    check_derivative(pnp.poly, data((4,)))
    check_batching(pnp.poly, data((4,)))


def test_roots():
    for p in ([1.0, -6, 11, -6], [0, 0, 1, 2, 3], [1, 2, 0, 0], [1, 2], [1 + 1j, 2, 1]):
        p = np.asarray(p).astype("complex64" if isinstance(p[0], complex) else "float32")
        close(np.sort_complex(pnp.roots(p)), np.sort_complex(np.asarray(jnp.roots(jnp.asarray(p)))), 10)
    for p in ([3.0], [0.0, 0.0], []):
        assert pnp.roots(np.array(p, "float32")).shape == (0,)
    p = np.array([2.0, 1, -4, 3], "float32")
    traced = pb.jit(lambda p: pnp.roots(p, strip_zeros=False))(p)
    close(np.sort_complex(traced), np.sort_complex(np.roots(p)).astype("complex64"), 10)
    with pytest.raises(pb.errors.ConcretizationTypeError, match="strip_zeros=False"):
        pb.jit(pnp.roots)(p)


def _roots_with_zeros(p):
    return pnp.roots(p, strip_zeros=False)


@pytest.mark.parametrize("p", [[0, 1, 2], [0, 0, 1, -3, 2], [0, 1, -3, 2, 0], [0, 5], [0, 0, 0], [1, 0, 0]])
def test_zeros_that_are_not_left_out_give_nan_behind_the_roots(p):
    lacking = min(len(p) - len(np.trim_zeros(p, "f")), len(p) - 1)
    for found in (_roots_with_zeros(np.array(p)), pb.jit(_roots_with_zeros)(np.array(p))):
        roots = np.asarray(found)[: len(p) - 1 - lacking]
        close(np.sort_complex(roots), np.sort_complex(np.roots(p)).astype("complex64")[: len(roots)], 10)
        assert np.isnan(np.asarray(found)[len(roots) :]).all()


def test_sums_of_several_polynomials():
    several = np.array([[5, 7, 3], [8, 2, 6]], "int32")
    for other in (np.array([[2, 3, 1]], "int32"), np.array([2], "int32"), several, np.ones((3, 3), "int32")):
        for name in ("polyadd", "polysub"):
            ours, theirs = getattr(pnp, name), getattr(jnp, name)
            close(ours(several, other), theirs(several, other))
            close(pb.jit(ours)(other, several), theirs(other, several))
    with pytest.raises(ValueError, match=r"polyadd: the shapes \(3,\) and \(2, 3\) do not align"):
        pnp.polyadd(np.ones(3), several)


def test_the_derivative_of_a_root_is_that_of_the_equation():
    p = np.array([1.0, -6, 11, -6], "float32")
    largest = lambda p: pnp.roots(p).real.max()  # noqa: E731
    slope = np.polyval(np.polyder(p), 3.0)
    np.testing.assert_allclose(pb.grad(largest)(p), -(3.0 ** np.arange(3, -1, -1)) / slope, rtol=1e-3)


def test_fits_are_numpy_s():
    x = np.linspace(-2, 3, 12, dtype="float32")
    y = (np.sin(x) + x**2).astype("float32")
    w = np.linspace(1, 2, 12, dtype="float32")
    wide = [v.astype("float64") for v in (x, y, w)]
    for weights in (False, True):
        ours, theirs = ({"w": v} if weights else {} for v in (w, wide[2]))
        np.testing.assert_allclose(pnp.polyfit(x, y, 3, **ours), np.polyfit(*wide[:2], 3, **theirs), rtol=1e-4)
        for cov in (True, "unscaled"):
            for got, expected in zip(
                pnp.polyfit(x, y, 2, cov=cov, **ours), np.polyfit(*wide[:2], 2, cov=cov, **theirs), strict=True
            ):
                np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    for got, expected in zip(pnp.polyfit(x, y, 2, full=True), jnp.polyfit(x, y, 2, full=True), strict=True):
        close(got, expected, 100)
    several = np.stack([y, x, 1 + x], 1)
    close(pnp.polyfit(x, several, 2), jnp.polyfit(x, several, 2), 10)
    close(pnp.polyfit(x, several, 2, cov=True)[1], jnp.polyfit(x, several, 2, cov=True)[1], 10)


def test_fits_are_differentiated():
    x, y, w = np.linspace(-1, 1, 8, dtype="float32"), data((8,)), np.linspace(1, 2, 8, dtype="float32")
    check_derivative(lambda x, y, w: pnp.polyfit(x, y, 2, w=w), x, y, w)
    check_batching(lambda y: pnp.polyfit(x, y, 2), y)
    # the value of a fit by a straight line at its centre is the mean
    np.testing.assert_allclose(
        pb.grad(lambda y: pnp.polyval(pnp.polyfit(x, y, 1), 0.0))(y), np.full(8, 1 / 8), rtol=1e-4
    )


REFUSED = [
    (lambda: pnp.polydiv(np.ones(2), np.ones(0)), ValueError, "polydiv: v must have a coefficient"),
    (lambda: pnp.polyder(np.ones(3), -1), ValueError, "polyder: the order m must not be negative, got -1; polyint"),
    (lambda: pnp.polyder(np.ones(3), 1.5), TypeError, "polyder: m must be an integer"),
    (lambda: pnp.polyint(np.ones(3), -1), ValueError, "polyint: the order m must not be negative, got -1; polyder"),
    (lambda: pnp.polyint(np.ones(3), 2, np.ones(3)), ValueError, "polyint: k must be one constant or 2"),
    (lambda: pnp.poly(np.ones((2, 3))), ValueError, "poly: seq_of_zeros must be a vector"),
    (lambda: pnp.roots(np.ones((2, 3))), ValueError, "roots: p must be a vector"),
    (lambda: pnp.polyfit(np.ones(3), np.ones(4), 1), ValueError, r"polyfit: expected samples x \(m,\)"),
    (lambda: pnp.polyfit(np.ones((3, 1)), np.ones(3), 1), ValueError, "polyfit: x must have 1 axis"),
    (lambda: pnp.polyfit(np.ones(3), np.ones(3), -1), ValueError, "degree must not be negative"),
    (lambda: pnp.polyfit(np.ones(3), np.ones(3), 2, cov=True), ValueError, "cov='unscaled'"),
    (lambda: pnp.polyfit(np.ones(3), np.ones(3), 1, w=np.ones(2)), ValueError, "w must have shape"),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSED)
def test_what_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
