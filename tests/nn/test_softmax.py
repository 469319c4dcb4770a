"""softmax, log_softmax and logsumexp of complex numbers, and of real ones beside infinities, in every mode."""

import sys

import mpmath as mp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import nn

NAN, INF = np.nan, np.inf
MODES = {
    "forward": pb.jacfwd,
    "reverse": pb.jacrev,
    "forward over reverse": pb.hessian,
    "forward over forward": lambda f: pb.jacfwd(pb.jacfwd(f)),
    "reverse over forward": lambda f: pb.jacrev(pb.jacfwd(f)),
    "reverse over reverse": lambda f: pb.jacrev(pb.jacrev(f)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("compiled", [False, True])
def test_beside_an_infinity_softmax_and_its_logarithm_have_no_derivative(mode, compiled):
    for fun in (nn.softmax, nn.log_softmax):
        derivative = MODES[mode](fun)
        for row in ([INF, 1.0], [1.0, INF], [INF, INF], [INF, -INF], [NAN, 1.0]):
            assert np.isnan((pb.jit(derivative) if compiled else derivative)(pnp.array(row))).all(), row
            rows = (pb.jit(pb.vmap(derivative)) if compiled else pb.vmap(derivative))(pnp.array([row, [0.0, 0.0]]))
            assert np.isnan(rows[0]).all()
            assert np.isfinite(rows[1]).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("compiled", [False, True])
def test_an_element_of_minus_infinity_has_no_share(mode, compiled):
    derivative = MODES[mode](nn.log_softmax)
    got = (pb.jit(derivative) if compiled else derivative)(pnp.array([-INF, 1.0]))
    # log p = (x0 - x1, 0) to all orders
    expected = np.zeros((2,) * got.ndim)
    if got.ndim == 2:
        expected[0] = [1, -1]
    np.testing.assert_array_equal(got, expected)


ROWS = np.array([[1 + 2j, -3j, 0.5 - 1j], [0, -20 + 1j, -21], [800 + 1j, 799, 700j], [-900j, -901, 2j], [3j, 3j, 0]])


def exactly(row):
    """log_softmax, softmax, and the sum's logarithm with the largest element's imaginary part in front of it."""
    with mp.workdps(40):
        z = [mp.mpc(v) for v in row]
        top = max(z, key=lambda v: (v.real, v.imag))
        rest = mp.log(mp.fsum(mp.exp(v - top) for v in z))
        return [v - top - rest for v in z], [mp.exp(v - top - rest) for v in z], top + rest


@pytest.mark.parametrize("compiled", [False, True])
def test_complex_numbers(compiled):
    with pb.enable_x64():
        functions = (nn.log_softmax, nn.softmax, lambda z: nn.logsumexp(z, axis=-1))
        exact = [exactly(row) for row in ROWS]
        for fun, expected in zip(functions, zip(*exact, strict=True), strict=True):
            got = np.asarray((pb.jit(fun) if compiled else fun)(pnp.array(ROWS)))
            expected = np.array([[complex(v) for v in e] if isinstance(e, list) else complex(e) for e in expected])
            np.testing.assert_allclose(got, expected, rtol=1e-13)  # of a number 900 an ulp is 1e-13
        # a share next to 1 keeps the digits of its logarithm
        tail = complex(exact[1][0][0])
        assert abs(np.asarray(nn.log_softmax(pnp.array(ROWS)))[1, 0] - tail) < 1e-15 * abs(tail)


@pytest.mark.parametrize("compiled", [False, True])
def test_derivatives_at_complex_numbers(compiled):
    def run(fun):
        return pb.jit(fun) if compiled else fun

    with pb.enable_x64():
        for row in ROWS:
            shares = np.array([complex(p) for p in exactly(row)[1]])
            first = np.diag(shares) - np.outer(shares, shares)
            for derivative in (pb.jacfwd, pb.jacrev):

                def at(fun, derivative=derivative, row=row):
                    return np.asarray(run(derivative(fun, holomorphic=True))(pnp.array(row)))

                np.testing.assert_allclose(at(nn.logsumexp), shares, rtol=1e-12, atol=1e-14)
                np.testing.assert_allclose(at(nn.log_softmax), np.eye(3) - shares, rtol=1e-12, atol=1e-14)
                np.testing.assert_allclose(at(nn.softmax), first, rtol=1e-12, atol=1e-14)
            second = np.asarray(run(pb.hessian(nn.logsumexp, holomorphic=True))(pnp.array(row)))
            np.testing.assert_allclose(second, first, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("compiled", [False, True])
def test_masked_complex_numbers(compiled):
    z = pnp.array([[1 + 1j, 2j, 5.0], [3j, 1.0, 2.0]])
    mask = pnp.array([[True, True, False], [False, False, False]])

    def total(z):
        logs = nn.log_softmax(z, where=mask)
        return (nn.softmax(z, where=mask)[:, 0].real + pnp.where(mask, logs, 0.0).imag[:, 1]).sum()

    grad, softmax = (pb.jit(f) if compiled else f for f in (pb.grad(total), nn.softmax))
    np.testing.assert_allclose(softmax(z, where=mask)[0, :2], nn.softmax(z[0, :2]), rtol=1e-6)
    np.testing.assert_array_equal(softmax(z, where=mask)[1], 0)
    assert (np.asarray(nn.log_softmax(z, where=mask))[~np.asarray(mask)].real == -INF).all()
    expected = pb.grad(lambda z: nn.softmax(z)[0].real + nn.log_softmax(z)[1].imag)(z[0, :2])
    np.testing.assert_allclose(grad(z)[0, :2], expected, rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(grad(z))[~np.asarray(mask)], 0)


# --- an operand that is computed in the program: XLA may compute it twice, with different roundings ---


def computed(rows, columns):
    return (rows[:, None] + columns[None] - np.abs(np.sin(np.arange(120.0))).reshape(12, 10)) / 0.1


@pytest.mark.parametrize("function", [nn.logsumexp, nn.log_softmax, nn.softmax])
def test_a_computed_operand_at_the_level_of_users(function):
    rows, columns = np.linspace(-1, 1, 12), np.linspace(-0.5, 0.5, 10)

    def f(rows, columns):
        return function(computed(rows, columns), axis=1)

    def slope(rows, columns):
        return pb.jvp(f, (rows, columns), (columns.sum() + rows, columns))[1]

    # the tests compile at level 0, where it is computed once
    options = {"xla_backend_optimization_level": 3}
    with pb.enable_x64(True):
        for g in (f, slope):
            np.testing.assert_allclose(
                pb.jit(g, compiler_options=options)(rows, columns), g(rows, columns), rtol=1e-12, atol=1e-13
            )


# --- rows with a dominant element, and rows without ---


@pytest.mark.parametrize("function", [nn.logsumexp, nn.log_softmax])
@pytest.mark.parametrize("dominated", [False, True])
def test_large_arrays_are_exact_whether_or_not_an_element_dominates(function, dominated):
    x = np.random.default_rng(0).standard_normal((100, 120)).astype(np.float32)
    x[1, 3], x[2], x[3, 0], x[4, :2] = INF, -INF, NAN, -INF
    if dominated:
        x[5:8, 7] = (5, 20, 80)
        x[8:11] -= 3 * np.abs(x[8:11]).max()
        x[8:11, 0] = 0

    def f(x):
        return function(x, axis=1)

    # XLA's loops over rows fuse no selection
    text = pb.jit(f).lower(x).as_text()
    assert "stablehlo.select" not in text
    assert "stablehlo.clamp" not in text
    got = np.asarray(pb.jit(f)(x))
    finite = np.isfinite(x).all(1)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(got[~finite], np.asarray(f(x[~finite])))
    exact = np.float64(x[finite])
    exact -= exact.max(1, keepdims=True)
    rest = np.exp(np.sort(exact, 1)[:, :-1]).sum(1)
    if function is nn.logsumexp:
        expected = x[finite].max(1) + np.log1p(rest)
    else:
        expected = exact - np.log1p(rest)[:, None]
    np.testing.assert_allclose(got[finite], expected, rtol=1e-6)
    np.testing.assert_allclose(pb.jit(pb.vmap(lambda x: function(x, axis=0)))(x), got, rtol=1e-6)


def large(scale, dtype=np.float64):
    """Rows of which the largest elements are far above the others, next to them, equal to them, and not finite."""
    x = scale * np.random.default_rng(1).standard_normal((120, 100))
    x[0, :2], x[1, 5:9], x[2, 0], x[3] = x[0].max() + 0.7, x[1].max() + 3, x[2].max() + 60, 0
    x[4, 1:] = x[4, 0] - np.log(2 * 99)  # R is 1/2: from there on the total is as good
    return x.astype(dtype)


def exact_logs(x):
    """logsumexp along the last axis, from R in float64, whose smallest terms are added first."""
    x = np.sort(np.asarray(x, np.float64))
    return x[:, -1] + np.log1p(np.exp(x[:, :-1] - x[:, -1:]).sum(1))


def within_scan(x):
    def step(x, _):
        return x, nn.logsumexp(x, axis=1)

    return pb.lax.scan(step, x, None, 2)[1][1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("scale", [0.1, 5.0])
def test_logsumexp_of_large_arrays(dtype, scale):
    with pb.enable_x64(dtype == "float64"):
        x = pnp.array(large(scale)).astype(dtype)
        exact = exact_logs(np.asarray(x.astype(pnp.float32) if dtype == "bfloat16" else x))
        bound = 4 * float(pnp.finfo(dtype).eps)
        for fun, args in (
            (lambda x: nn.logsumexp(x, axis=1), x),
            (lambda x: nn.logsumexp(x, axis=0), x.T),
            (pb.vmap(nn.logsumexp), x),
            (within_scan, x),
        ):
            got = np.asarray(pb.jit(fun)(args).astype(pnp.float64 if dtype == "float64" else pnp.float32))
            np.testing.assert_allclose(got, exact, rtol=bound, atol=bound / 4)
        # a result next to 0 keeps its digits
        x = x - x.max(1, keepdims=True)
        exact = exact_logs(np.asarray(x.astype(pnp.float32) if dtype == "bfloat16" else x))
        got = pb.jit(lambda x: nn.logsumexp(x, axis=1))(x).astype(pnp.float64 if dtype == "float64" else pnp.float32)
        np.testing.assert_allclose(np.asarray(got), exact, rtol=2 * bound, atol=float(pnp.finfo(dtype).tiny))


def test_without_a_dominant_element_logsumexp_sums_the_exponentials_once():
    x = np.zeros((120, 100), np.float32)
    text = pb.jit(lambda x: nn.logsumexp(x, axis=1)).lower(x).as_text()
    outside, inside = text.split("stablehlo.case")
    assert (outside.count("stablehlo.exponential"), inside.count("stablehlo.exponential")) == (1, 1)
    # the maximum, the total, and whether any total is small
    assert outside.count("stablehlo.reduce") == 3
    # a small array takes no branch, nor do short rows, in which one element dominates nearly always
    for other in (x[:50], np.zeros((1200, 10), np.float32)):
        text = pb.jit(lambda x: nn.logsumexp(x, axis=1)).lower(other).as_text()
        assert "stablehlo.case" not in text
        assert text.count("stablehlo.exponential") == 1


@pytest.mark.parametrize("scale", [0.1, 5.0])
def test_the_gradient_of_log_softmax_takes_few_loops(scale):
    labels = np.arange(120) % 100

    def loss(x):
        return -nn.log_softmax(x)[np.arange(120), labels].sum()

    x = large(scale)
    text = pb.jit(pb.grad(loss)).lower(x.astype(np.float32)).as_text()
    assert text.count("stablehlo.exponential") == 1
    # the maximum, two sums for R, two of the cotangent, and the loss
    assert text.count("stablehlo.reduce") == 6
    # each sum ends its loop over rows, by a selection of one number for each row and none of all elements
    selections = [line for line in text.splitlines() if "stablehlo.select" in line and "xf32>" in line.split("->")[-1]]
    assert selections
    assert all("tensor<120x1xf32>" in line.split("->")[-1] for line in selections), selections
    # at the element that dominates, the gradient is minus the sum of the others
    with pb.enable_x64(True):
        got = np.asarray(pb.jit(pb.grad(loss))(x))
        rest = np.exp(x - exact_logs(x)[:, None])
        rest[np.arange(120), labels] = 0
        np.testing.assert_allclose(got[np.arange(120), labels], -rest.sum(1), rtol=1e-13)
        rest[np.arange(120), labels] = got[np.arange(120), labels]
        np.testing.assert_allclose(got, rest, rtol=1e-12)


@pytest.mark.parametrize(("fun", "most"), [(nn.softmax, 28), (nn.log_softmax, 48), (nn.logsumexp, 47)])
def test_small_arrays_take_few_calls_of_python_functions(fun, most):
    """In eager calls these are what takes the time: there were 46, 68 and 69."""
    x = pnp.asarray(np.float32([[0, 1, 2], [3, 4, 6]]))
    fun(x)
    calls = []

    def note(frame, event, arg):
        if event == "call":
            calls.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        fun(x)
    finally:
        sys.setprofile(None)
    assert len(calls) <= most, calls


@pytest.mark.parametrize("fun", [nn.softmax, nn.log_softmax, nn.logsumexp])
def test_eager_rows_beside_infinities_are_as_compiled(fun):
    x = np.float32([[INF, 1], [INF, INF], [-INF, -INF], [-INF, 1], [NAN, INF], [1, 30], [88, 88]])
    with np.errstate(all="raise"):
        eager = fun(x, axis=1)
    np.testing.assert_allclose(eager, pb.jit(lambda x: fun(x, axis=1))(x), rtol=1e-6)
