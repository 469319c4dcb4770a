"""Derivatives of smooth functions that are made of functions with kinks, at the kinks, to third order in all modes."""

from __future__ import annotations

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax, nn


def forward(fun):
    """The derivative of a function of one number, by forward mode."""

    def derivative(x):
        return pb.jvp(fun, (x,), (pnp.ones_like(x),))[1]

    return derivative


def batched(fun):
    """The function, by `vmap` over two equal numbers."""

    def first_of_two(x):
        return pb.vmap(fun)(pnp.stack([x, x]))[0]

    return first_of_two


MODES = {"forward": forward, "reverse": pb.grad}
WRAPPERS = {"eager": lambda fun: fun, "jit": pb.jit, "vmap": batched}

# name: function, point, and the value with its derivatives of first, second and third order
SMOOTH = {
    "abs squared": (lambda x: pnp.abs(x) ** 2, 0.0, (0.0, 0.0, 2.0, 0.0)),
    "abs times abs": (lambda x: pnp.abs(x) * pnp.abs(x), 0.0, (0.0, 0.0, 2.0, 0.0)),
    "abs to the fourth": (lambda x: pnp.abs(x) ** 4, 0.0, (0.0, 0.0, 0.0, 0.0)),
    "abs cubed": (lambda x: pnp.abs(x) ** 3, 0.0, (0.0, 0.0, 0.0)),
    "x abs x": (lambda x: x * pnp.abs(x), 0.0, (0.0, 0.0)),
    "cos abs": (lambda x: pnp.cos(pnp.abs(x)), 0.0, (1.0, 0.0, -1.0, 0.0)),
    "fabs": (lambda x: pnp.fabs(x) ** 2, 0.0, (0.0, 0.0, 2.0, 0.0)),
    "norm 1 of one": (lambda x: pnp.linalg.norm(x[None], 1) ** 2, 0.0, (0.0, 0.0, 2.0, 0.0)),
    "sign": (lambda x: pnp.sign(x) * x * x, 0.0, (0.0, 0.0)),
    "relu cubed": (lambda x: nn.relu(x) ** 3, 0.0, (0.0, 0.0, 0.0)),
    "relus": (lambda x: nn.relu(x) - nn.relu(-x), 2.0, (2.0, 1.0, 0.0, 0.0)),
    "sqrt of square": (lambda x: pnp.sqrt(x**2 + 4), 0.0, (2.0, 0.0, 0.5, 0.0)),
    "hypot": (lambda x: pnp.hypot(x, 2.0), 0.0, (2.0, 0.0, 0.5, 0.0)),
    "hypot the other way": (lambda x: pnp.hypot(-2.0, x), 0.0, (2.0, 0.0, 0.5, 0.0)),
    "hypot on the diagonal": (lambda x: pnp.hypot(x, 1.0), 1.0, (2**0.5, 0.5**0.5, 8**-0.5, -3 / 2**2.5)),
    "complex abs": (lambda x: pnp.abs(lax.complex(x, x * 0 + 2)), 0.0, (2.0, 0.0, 0.5, 0.0)),
    "norm": (lambda x: pnp.linalg.norm(pnp.stack([x, x * 0 + 2])), 0.0, (2.0, 0.0, 0.5, 0.0)),
    "complex norm": (lambda x: pnp.linalg.norm(pnp.stack([lax.complex(x, x * 0 + 2)])), 0.0, (2.0, 0.0, 0.5, 0.0)),
    "std": (lambda x: pnp.std(pnp.stack([x, -x, x * 0 + 2, x * 0 - 2])), 0.0, (2**0.5, 0.0, 2**-1.5, 0.0)),
    "bessel": (lambda x: lax.bessel_i0e(x) * pnp.exp(pnp.abs(x)), 0.0, (1.0, 0.0, 0.5)),
    "phase": (lambda x: pnp.real(pnp.sign(lax.complex(x * 0 + 2, x)) * (3 - 1j)), 0.0, (3.0, 0.5, -0.75, -3 / 8)),
    "phase times length": (
        lambda x: pnp.imag(pnp.sign(lax.complex(x, 2 * x)) * pnp.abs(lax.complex(x, 2 * x))),
        3.0,
        (6.0, 2.0, 0.0, 0.0),
    ),
    "clip": (lambda x: pnp.clip(x, -1.0, 1.0) ** 2, 0.5, (0.25, 1.0, 2.0, 0.0)),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_through_kinks(name, wrapper):
    fun, point, expected = SMOOTH[name]
    with pb.enable_x64():
        x = pnp.array(point, "float64")
        derivatives = [(fun,)]
        for order, right in enumerate(expected):
            for derivative in derivatives[-1]:
                got = WRAPPERS[wrapper](derivative)(x)
                np.testing.assert_allclose(np.asarray(got), right, rtol=1e-12, atol=1e-12, err_msg=f"order {order}")
            # every order of modes up to the second; the third by either mode throughout
            inner = derivatives[-1] if order < 2 else [derivatives[-1][0], derivatives[-1][-1]]
            modes = list(MODES.values())
            derivatives.append(
                tuple(mode(f) for f in inner for mode in modes)
                if order < 2
                else (modes[0](inner[0]), modes[1](inner[1]))
            )


def halves(fun):
    return [float(x) for x in pb.grad(fun, (0, 1))(2.0, 2.0)]


def test_ties_share_the_derivative_and_so_products_of_them_do_not_hold():
    for fun in (pnp.maximum, pnp.minimum):
        assert halves(fun) == [0.5, 0.5]
    # one half of each side is no derivative of either side: sums hold, products do not (docs/conventions.md)
    assert float(pb.grad(pb.grad(lambda x: pnp.maximum(x, -x) ** 2))(0.0)) == 0
    assert float(pb.grad(lambda x: pnp.maximum(x, 1.0) + pnp.minimum(x, 1.0))(1.0)) == 1
    # what chooses one side does
    assert float(pb.grad(pb.grad(lambda x: pnp.where(x >= -x, x, -x) ** 2))(0.0)) == 2


@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("length", ["norm", "hypot", "complex abs", "std", "p-norm"])
def test_the_gradient_at_the_tip_of_a_cone_is_zero(length, jitted):
    lengths = {
        "norm": pnp.linalg.norm,
        "hypot": lambda v: pnp.hypot(v[0], v[1]),
        "complex abs": lambda v: pnp.abs(lax.complex(v[0], v[1])),
        "std": pnp.std,
        "p-norm": lambda v: pnp.linalg.norm(v, 3),
    }
    fun = lengths[length]
    wrap = pb.jit if jitted else lambda f: f
    for derivative in (pb.jacrev, pb.jacfwd):
        for made in (fun, lambda v: fun(v) ** 2):
            np.testing.assert_array_equal(np.asarray(wrap(derivative(made))(pnp.zeros(2))), [0, 0])


def test_the_second_derivative_at_the_tip_of_a_cone_is_not_a_number():
    def distance(x):
        return pnp.hypot(x, 0.0)

    for second in (pb.jacfwd(pb.jacfwd(distance)), pb.jacfwd(pb.jacrev(distance))):
        assert np.isnan(float(second(0.0)))
    # and touches nothing that does not depend on it
    assert float(pb.grad(pb.grad(lambda x: pnp.hypot(3.0, x)))(0.0)) == pytest.approx(1 / 3)


@pytest.mark.parametrize("ord", [None, 2, 3, 0.5, 1.5, "fro"])
def test_norms_along_axes_with_a_zero_row(ord):
    x = np.array([[0.0, 0.0], [3.0, 4.0]], "float32")

    def total(x):
        if ord == "fro":
            return pnp.linalg.norm(x.reshape(2, 1, 2), ord, axis=(1, 2)).sum()
        return pnp.linalg.norm(x, ord, axis=1).sum()

    for run in (pb.grad(total), pb.jit(pb.grad(total)), pb.jacfwd(total)):
        got = np.asarray(run(x))
        np.testing.assert_array_equal(got[0], [0, 0])
        p = 2 if ord in (None, "fro") else ord
        right = np.array([3.0, 4.0]) ** (p - 1) * (3.0**p + 4.0**p) ** (1 / p - 1)
        np.testing.assert_allclose(got[1], right, rtol=1e-6)


def test_the_phase_of_a_complex_number_is_differentiable():
    z = 1 + 2j
    got = complex(pb.grad(lambda z: pnp.real(pnp.sign(z) * (3 - 1j)))(z))

    def value(z):
        return (z / abs(z) * (3 - 1j)).real

    step = 1e-6
    slopes = [(value(z + h) - value(z - h)) / (2 * step) for h in (step, 1j * step)]
    np.testing.assert_allclose([got.real, -got.imag], slopes, rtol=1e-6)
    assert complex(pb.grad(lambda z: pnp.real(pnp.sign(z)))(0j)) == 0


def test_mixed_derivatives_of_powers_with_exponent_zero():
    for first, second in ((0, 1), (1, 0)):
        assert float(pb.grad(pb.grad(pnp.power, first), second)(2.0, 0.0)) == 0.5
    assert float(pb.grad(pnp.power)(0.0, 0.0)) == 0


def sum_of_squares(x):
    return (pnp.linalg.eigvalsh(x) ** 2).sum()


def sum_of_fourth_powers(x):
    return (pnp.linalg.svdvals(x) ** 4).sum()


def as_polynomial(x):
    symmetric = (x + x.T) / 2
    return pnp.trace(symmetric @ symmetric)


def as_polynomial_of_fourth_degree(x):
    return pnp.trace(x.T @ x @ x.T @ x)


@pytest.mark.parametrize("jitted", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(
    ("spectral", "polynomial", "at"),
    [
        (sum_of_squares, as_polynomial, 2 * np.eye(2)),
        (sum_of_squares, as_polynomial, np.diag([1.0, 1.0, 3.0])),
        (sum_of_squares, as_polynomial, np.diag([1.0, 2.0, 4.0])),
        (sum_of_fourth_powers, as_polynomial_of_fourth_degree, np.diag([1.0, 0.0, 0.0])),
        (sum_of_fourth_powers, as_polynomial_of_fourth_degree, np.diag([3.0, 2.0, 1.0])),
    ],
    ids=["2I", "two equal", "all different", "two zeros", "different singular values"],
)
def test_second_derivatives_where_values_repeat_are_right_or_nan(spectral, polynomial, at, jitted):
    wrap = pb.jit if jitted else lambda f: f
    with pb.enable_x64():
        x = pnp.array(at)
        np.testing.assert_allclose(wrap(pb.grad(spectral))(x), pb.grad(polynomial)(x), atol=1e-12)
        np.testing.assert_allclose(wrap(pb.jacfwd(spectral))(x), pb.grad(polynomial)(x), atol=1e-12)
        right = np.asarray(pb.hessian(polynomial)(x))
        for outer in (pb.jacfwd, pb.jacrev):
            for inner in (pb.jacfwd, pb.jacrev):
                got = np.asarray(wrap(outer(inner(spectral)))(x))
                known = ~np.isnan(got)
                np.testing.assert_allclose(got[known], right[known], atol=1e-11)
                values = np.diag(at)
                if len({*values}) == len(values):
                    assert known.all()


@pytest.mark.parametrize(
    ("name", "at", "second"),
    [
        ("arcsin", 1.0, np.inf),
        ("arcsin", -1.0, -np.inf),
        ("arccos", 1.0, -np.inf),
        ("arccos", -1.0, np.inf),
        ("arctanh", 1.0, np.inf),
        ("arctanh", -1.0, -np.inf),
        ("arccosh", 1.0, -np.inf),
        ("sqrt", 0.0, -np.inf),
        ("log", 0.0, -np.inf),
    ],
)
def test_second_derivatives_at_the_end_of_a_domain(name, at, second):
    fun = getattr(pnp, name)
    for outer in MODES.values():
        for inner in MODES.values():
            for wrap in WRAPPERS.values():
                assert float(wrap(outer(inner(fun)))(pnp.array(at))) == second


def test_the_square_of_a_length_at_its_tip_to_second_order():
    def squared(x):
        return pnp.linalg.norm(x) ** 2

    for inner in (pb.jacfwd, pb.jacrev):
        for outer in (pb.jacfwd, pb.jacrev):
            assert np.isnan(np.diag(np.asarray(outer(inner(squared))(pnp.zeros(2))))).all()
    np.testing.assert_array_equal(np.asarray(pb.hessian(lambda x: x @ x)(pnp.zeros(2))), 2 * np.eye(2))
