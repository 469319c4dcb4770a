"""Implicit differentiation: closed forms, both modes, any order, captured values, jit and vmap."""

import itertools
from functools import partial

import numpy as np
import pytest
from wrappers import EAGER_AND_JIT, eager, forward

import pullback as pb
import pullback.numpy as pnp
from pullback import implicit, lax

RNG = np.random.default_rng(3)
X = RNG.normal(size=(8, 3))
Y = RNG.normal(size=8)
A = RNG.normal(size=(5, 5)) + 4 * np.eye(5)
B = RNG.normal(size=5)
MODES = list(itertools.product([pb.jacfwd, pb.jacrev], repeat=2))


@pytest.fixture(autouse=True)
def double_precision():
    with pb.enable_x64(True):
        yield


def ridge(weight, y):
    """The weights of a ridge regression, by minimization."""

    def loss(w, weight, y):
        return ((pnp.asarray(X) @ w - y) ** 2).sum() + weight * (w**2).sum()

    return implicit.argmin(loss, pnp.zeros(3), weight, y)


def validation(weight, y):
    """A scalar that depends nonlinearly on the regression."""
    return (ridge(weight, y) ** 3).sum()


def closed_form(weight, y):
    """The derivatives of `validation`, from w = H y with H = (XᵀX + weight)⁻¹ Xᵀ."""
    m = np.linalg.inv(X.T @ X + weight * np.eye(3))
    h = m @ X.T
    w = h @ y
    w1, w2 = -m @ w, 2 * m @ m @ w
    return (6 * w * w1**2 + 3 * w**2 * w2).sum(), h.T @ np.diag(6 * w) @ h


@pytest.mark.parametrize(("outer", "inner"), MODES)
def test_hessian_of_ridge_regression_in_all_mode_orders(outer, inner):
    by_weight, by_target = closed_form(0.7, Y)
    for wrap in EAGER_AND_JIT:
        np.testing.assert_allclose(wrap(outer(inner(validation)))(0.7, Y), by_weight, rtol=1e-10)
        np.testing.assert_allclose(wrap(outer(inner(validation, 1), 1))(0.7, Y), by_target, atol=1e-12)
    weights = np.array([0.1, 0.7, 2.0])
    np.testing.assert_allclose(
        pb.vmap(outer(inner(validation)), (0, None))(weights, Y),
        [closed_form(weight, Y)[0] for weight in weights],
        rtol=1e-10,
    )


def test_hessian_itself():
    np.testing.assert_allclose(pb.hessian(validation)(0.7, Y), closed_form(0.7, Y)[0], rtol=1e-10)
    np.testing.assert_allclose(pb.hessian(validation, 1)(0.7, Y), closed_form(0.7, Y)[1], atol=1e-12)


def equation(x, t):
    return x**3 + 4 * x - pnp.sin(t)


def contraction(x, t):
    return x - 0.1 * equation(x, t)


def merit(x, t):
    """Its gradient is the equation."""
    return (x**4 / 4 + 2 * x**2 - pnp.sin(t) * x).sum()


@pytest.mark.parametrize(
    ("solve", "f"), [(implicit.fixed_point, contraction), (implicit.root, equation), (implicit.argmin, merit)]
)
@pytest.mark.parametrize(("outer", "inner"), MODES)
def test_captured_values_are_differentiated_like_arguments(solve, f, outer, inner):
    def explicit(t):
        return solve(f, pnp.zeros(2), t)

    def captured(t):
        return solve(lambda x: f(x, t), pnp.zeros(2))

    t = pnp.array([0.4, 1.3])
    x = explicit(t)
    np.testing.assert_allclose(equation(x, t), 0, atol=1e-12)
    first = np.cos(t) / (3 * np.asarray(x) ** 2 + 4)
    second = (-np.sin(t) - 6 * np.asarray(x) * first**2) / (3 * np.asarray(x) ** 2 + 4)
    for fun in (explicit, captured):
        np.testing.assert_allclose(inner(fun)(t), np.diag(first), atol=1e-12)
        got = outer(inner(fun))(t)
        np.testing.assert_allclose(np.einsum("iii->i", np.asarray(got)), second, atol=1e-12)
        np.testing.assert_allclose(pb.jit(pb.vmap(fun))(pnp.stack([t, -t])), [x, -x], atol=1e-12)
        np.testing.assert_allclose(pb.vmap(inner(fun))(pnp.stack([t, -t])), [np.diag(first)] * 2, atol=1e-12)


def root_from(guess):
    return implicit.root(lambda x: x * x - 4.0, guess)


def fixed_point_from(guess):
    return implicit.fixed_point(lambda x: x / 2 + 1, guess)


@pytest.mark.parametrize("solution", [root_from, fixed_point_from])
@pytest.mark.parametrize("guess", [1.0, 2.5])
def test_the_guess_has_no_derivative(guess, solution):
    assert float(solution(guess)) == pytest.approx(2)
    assert float(pb.grad(solution)(guess)) == 0


def test_pytrees_of_several_shapes_and_dtypes():
    def solution(t):
        def f(x, t):
            return {"a": x["a"] ** 2 - t, "b": (x["b"] - x["a"] * pnp.ones(2)).astype("float32")}

        x = implicit.root(f, {"a": pnp.asarray(1.0), "b": pnp.zeros(2, "float32")}, t)
        return x["a"] + x["b"].sum()

    for d in (pb.grad, pb.jacfwd):
        np.testing.assert_allclose(d(solution)(4.0), 0.75, rtol=1e-6)


def test_integers_as_a_guess_are_floats():
    assert float(implicit.root(lambda x: 2 * x - 3.0, 1)) == 1.5
    assert float(implicit.linear_solve(lambda x: 2 * x, 3)) == 1.5


def bisect(g, x):
    def step(_, ends):
        low, high = ends
        middle = (low + high) / 2
        above = g(middle) > 0
        return pnp.where(above, low, middle), pnp.where(above, middle, high)

    return lax.fori_loop(0, 60, step, (x - 10, x + 10))[0]


def descend(g, x):
    return lax.fori_loop(0, 200, lambda _, x: x - 0.2 * pb.grad(g)(x), x)


def half_steps(g, x):
    return lax.fori_loop(0, 60, lambda _, x: (x + g(x)) / 2, x)


def cube_root(t):
    return implicit.root(lambda x: x**3 - t, 0.5, solver=bisect)


def half(t):
    return implicit.argmin(lambda x: (x - t) ** 2 + x**2, 0.0, solver=descend)


def square_root_by_division(t):
    return implicit.fixed_point(lambda x: t / x, 1.0, solver=half_steps)


@pytest.mark.parametrize("derivative", [pb.grad, pb.jacfwd])
@pytest.mark.parametrize(
    ("solution", "t", "slope"), [(cube_root, 8.0, 1 / 12), (half, 3.0, 0.5), (square_root_by_division, 4.0, 0.25)]
)
def test_solvers_of_the_user(solution, t, slope, derivative):
    np.testing.assert_allclose(derivative(solution)(t), slope)


@pytest.mark.parametrize("method", ["auto", "dense", "bicgstab", "normal_cg", "cg"])
def test_linear_solve(method):
    matrix = A @ A.T + np.eye(5) if method == "cg" else A
    inverse = np.linalg.inv(matrix)

    def solution(m, b):
        return implicit.linear_solve(lambda x: m @ x, b, method=method)

    x = solution(matrix, B)
    np.testing.assert_allclose(x, inverse @ B, atol=1e-11)
    for d in (pb.jacfwd, pb.jacrev):
        dm, db = d(solution, (0, 1))(matrix, B)
        np.testing.assert_allclose(db, inverse, atol=1e-11)
        np.testing.assert_allclose(dm, -np.einsum("ij,k->ijk", inverse, x), atol=1e-11)

    def shifted(s):
        def total(b):
            return solution(matrix + s * pnp.eye(5), b).sum()

        return pb.jacrev(total)(B)

    np.testing.assert_allclose(pb.jacfwd(shifted)(0.0), -(inverse @ inverse).sum(0), atol=1e-11)
    np.testing.assert_allclose(pb.jit(pb.vmap(solution, (None, 0)))(matrix, np.stack([B, -B])), [x, -x], atol=1e-11)


@pytest.mark.parametrize("method", ["dense", "bicgstab", "normal_cg"])
def test_complex_systems(method):
    matrix = A + 0.5j * A[::-1]

    def solution(b):
        return implicit.linear_solve(lambda x: pnp.asarray(matrix) @ x, b, method=method)

    np.testing.assert_allclose(solution(B + 1j), np.linalg.solve(matrix, B + 1j), atol=1e-11)
    np.testing.assert_allclose(pb.jacrev(solution, holomorphic=True)(B + 1j), np.linalg.inv(matrix), atol=1e-11)


def test_dense_elimination_exchanges_rows():
    matrix = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [4.0, 0.0, 0.0]])
    got = implicit.linear_solve(lambda x: pnp.asarray(matrix) @ x, pnp.array([1.0, 2.0, 4.0]), method="dense")
    np.testing.assert_array_equal(got, [1, 1, 1])


def test_more_unknowns_than_a_matrix_is_built_for():
    n = 600
    c = np.linspace(0.1, 0.6, n)

    def mean(s):
        # each entry is pulled by its neighbour, so the derivative is no diagonal
        return implicit.fixed_point(lambda x: s * c * pnp.roll(x, 1) + 1, pnp.zeros(n)).mean()

    def exact(s):
        matrix = np.eye(n) - s * c[:, None] * np.roll(np.eye(n), 1, axis=0)
        inverse_move = np.linalg.solve(matrix, c[:, None] * np.roll(np.eye(n), 1, axis=0))
        x = np.linalg.solve(matrix, np.ones(n))
        return (inverse_move @ x).mean(), 2 * (inverse_move @ inverse_move @ x).mean()

    first, second = exact(0.5)
    np.testing.assert_allclose(pb.grad(mean)(0.5), first, rtol=1e-9)
    np.testing.assert_allclose(pb.hessian(mean)(0.5), second, rtol=1e-9)


def square_root(a):
    return implicit.root(lambda x: x * x - a, a)


@pytest.mark.parametrize(("outer", "inner"), MODES)
def test_a_root_inside_of_a_root(outer, inner):
    def square(t):
        return implicit.root(lambda a: square_root(a) - t, t)

    np.testing.assert_allclose(inner(square)(1.5), 3, rtol=1e-12)
    np.testing.assert_allclose(outer(inner(square))(1.5), 2, rtol=1e-11)
    np.testing.assert_allclose(pb.jit(outer(inner(square)))(1.5), 2, rtol=1e-11)


@pytest.mark.parametrize(("outer", "inner"), MODES)
def test_roots_inside_of_a_scan(outer, inner):
    def through(root):
        def fun(t):
            return lax.scan(lambda c, _: (root(c + t), c), t, None, length=3)[0]

        return fun

    ours, closed = through(square_root), through(pnp.sqrt)
    np.testing.assert_allclose(inner(ours)(2.3), inner(closed)(2.3), rtol=1e-11)
    np.testing.assert_allclose(outer(inner(ours))(2.3), outer(inner(closed))(2.3), rtol=1e-11)
    np.testing.assert_allclose(pb.jit(outer(inner(ours)))(2.3), pb.jit(outer(inner(closed)))(2.3), rtol=1e-11)


def test_nothing_to_solve_for():
    assert implicit.linear_solve(lambda x: x, pnp.zeros(0)).shape == (0,)
    assert implicit.root(lambda x: x, pnp.zeros(0)).shape == (0,)
    assert implicit.fixed_point(lambda x: x, {}) == {}


def test_the_steps_are_bounded():
    assert float(implicit.fixed_point(lambda x: x + 1, 0.0, max_steps=7)) == 7
    assert float(implicit.root(lambda x: x**2, 1.0, max_steps=3)) == 0.125


def test_what_does_not_fit_is_named():
    with pytest.raises(TypeError, match=r"fixed_point.*structure"):
        implicit.fixed_point(lambda x: (x, x), 1.0)
    with pytest.raises(TypeError, match="x_init"):
        implicit.root(lambda x: x, "one")
    with pytest.raises(ValueError, match=r"linear_solver.*'cg'.*'lu'"):
        implicit.root(lambda x: x, 1.0, linear_solver="lu")
    with pytest.raises(ValueError, match=r"linear_solve.*'cg'.*'lu'"):
        implicit.linear_solve(lambda x: x, 1.0, method="lu")
    with pytest.raises(TypeError, match="all real or all complex"):
        implicit.root(lambda x: x, (1.0, 1j))


def identity(x):
    return x


def pair(x):
    return x, x


def three_ones(x):
    return pnp.ones(3)


def square(x):
    return x * x


def three(x):
    return 3


def square_plus_one(v):
    return v * v + 1


def absolute(x):
    return x if x > 0 else -x


def solver_of_a_pair(f, x):
    return x, x


def solver_of_a_function(f, x):
    return f


class Doubled:
    def __call__(self, x):
        return x, x


def here(function):
    return rf"\({function.__name__} \(defined at .*test_implicit\.py:\d+\)\)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(implicit.root, Doubled(), 1.0), r"^root: f \(Doubled\) must return"),
        (partial(implicit.root, pair, 1.0), rf"^root: f {here(pair)} .*of x_init: at the top expected a leaf, got a"),
        (partial(implicit.root, three_ones, 1.0), rf"^root: f {here(three_ones)} .*\n.*expected f64\[\], got f64\[3\]"),
        (partial(implicit.fixed_point, pair, 1.0), rf"^fixed_point: f {here(pair)} .*of x_init: .* a leaf, got a"),
        (
            partial(implicit.fixed_point, three_ones, 1.0),
            rf"^fixed_point: f {here(three_ones)} .*\n.*expected f64\[\], got",
        ),
        (
            partial(implicit.argmin, identity, np.ones(3)),
            rf"^argmin: f {here(identity)} must return a scalar.* got f64\[3\]",
        ),
        (partial(implicit.argmin, pair, 1.0), rf"^argmin: f {here(pair)} must return a scalar.* got .*\*, \*"),
        (
            partial(implicit.argmin, three, 1.0),
            rf"^argmin: f {here(three)} must return .*floating-point number, got i64",
        ),
        (
            partial(implicit.root, identity, 1.0, solver=solver_of_a_pair),
            rf"^root: solver {here(solver_of_a_pair)} must return",
        ),
        (
            partial(implicit.fixed_point, identity, 1.0, solver=solver_of_a_pair),
            rf"^fixed_point: solver {here(solver_of_a_pair)}",
        ),
        (partial(implicit.argmin, square, 1.0, solver=solver_of_a_function), r"^argmin: .* must return arrays"),
        (
            partial(implicit.root, identity, 1.0, linear_solver=solver_of_a_pair),
            rf"^root: linear_solver {here(solver_of_a_pair)}",
        ),
        (
            partial(implicit.linear_solve, square_plus_one, np.ones(2)),
            rf"^linear_solve: matvec {here(square_plus_one)} must be linear",
        ),
        (partial(implicit.linear_solve, pair, np.ones(2)), rf"^linear_solve: matvec {here(pair)} must return"),
        (partial(implicit.root, absolute, 1.0), r"tracing of f of root, absolute \(defined at .*test_"),
        (partial(implicit.root, 3, 1.0), "^root: f: expected a function, got 3 of type int"),
        (partial(implicit.fixed_point, None, 1.0), "^fixed_point: f: expected a function, got None"),
        (partial(implicit.argmin, 3, 1.0), "^argmin: f: expected a function"),
        (partial(implicit.linear_solve, 3, 1.0), "^linear_solve: matvec: expected a function"),
        (partial(implicit.root, identity, 1.0, solver=3), "^root: solver: expected a function"),
        (partial(implicit.root, identity, 1.0, linear_solver=3), "^root: linear_solver must be 'auto'"),
    ],
)
def test_messages_speak_of_what_the_user_gave(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("solve", [implicit.root, implicit.fixed_point, implicit.argmin, implicit.linear_solve])
def test_max_steps_is_checked(solve):
    name = solve.__name__
    with pytest.raises(ValueError, match=f"^{name}: max_steps must be at least 0, got -1"):
        solve(lambda x: x, 1.0, max_steps=-1)
    for bad in (2.5, True, "3", pnp.ones(2)):
        with pytest.raises(TypeError, match=f"^{name}: max_steps must be an integer, got"):
            solve(lambda x: x, 1.0, max_steps=bad)


def test_max_steps_may_be_traced():
    def counted(n):
        return implicit.fixed_point(lambda x: x + 1, 0.0, max_steps=n)

    assert float(pb.jit(counted)(7)) == 7


CONTRACTION = np.random.default_rng(0).standard_normal((5, 5)) / 12


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
@pytest.mark.parametrize(("outer", "inner"), MODES)
def test_neumann_series_where_the_function_contracts(outer, inner, wrap):
    b = np.linspace(-1, 1, 5)

    def loss(linear_solver, b):
        x = implicit.fixed_point(lambda x: pnp.tanh(CONTRACTION @ x + b), pnp.zeros(5), linear_solver=linear_solver)
        return (x**3).sum()

    got, expected = (wrap(outer(inner(partial(loss, solver))))(b) for solver in ("neumann", "dense"))
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_neumann_series_of_a_linear_system(wrap):
    near, b = np.eye(5) + CONTRACTION, np.linspace(-1, 1, 5)

    def solution(b):
        return implicit.linear_solve(lambda v: near @ v, b, method="neumann")

    np.testing.assert_allclose(wrap(solution)(b), np.linalg.solve(near, b), rtol=1e-12)


@pytest.mark.parametrize("method", ["cg", "bicgstab", "neumann", "normal_cg", "dense"])
@pytest.mark.parametrize("size", [1e-30, 1e-16, 1e25])
def test_a_right_hand_side_whose_square_is_no_number(method, size):
    """Residuals are measured relative to b, also where the square of b underflows or overflows."""
    a = np.eye(40) + np.random.default_rng(0).standard_normal((40, 40)) / 50
    a = (a @ a.T if method == "cg" else a).astype(np.float32)
    b = (size * np.random.default_rng(1).standard_normal(40)).astype(np.float32)
    x = implicit.linear_solve(lambda v: a @ v, pnp.asarray(b), method=method)
    exact = np.linalg.solve(a.astype(float), b.astype(float))
    np.testing.assert_allclose(np.asarray(x, float) / size, exact / size, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(implicit.linear_solve(lambda v: a @ v, pnp.zeros(40), method=method), np.zeros(40))


@pytest.mark.parametrize("method", ["cg", "bicgstab", "neumann", "dense", "auto"])
def test_small_entries_beside_large_ones_are_kept(method):
    b = pnp.array([3.0, 7e-6, -49.0])
    np.testing.assert_array_equal(implicit.linear_solve(lambda x: x, b, method=method), b)
    x = implicit.linear_solve(lambda x: pnp.array([1.0, 1e-30]) * x, pnp.array([1e20, 1e-28]))
    np.testing.assert_allclose(x, [1e20, 100.0], rtol=1e-6)


@pytest.mark.parametrize("method", ["cg", "bicgstab", "neumann"])
def test_half_precision_with_more_entries_than_a_half_can_count(method):
    x = implicit.linear_solve(lambda v: v * pnp.float16(0.75), pnp.ones(70_000, np.float16), method=method, tol=1e-3)
    assert x.dtype == np.float16
    np.testing.assert_allclose(np.asarray(x, float), 4 / 3, rtol=2e-3)


@pytest.mark.parametrize("solve", [implicit.root, implicit.fixed_point, implicit.argmin])
def test_a_tolerance_is_a_number(solve):
    with pytest.raises(TypeError, match=f"{solve.__name__}: tol must be a number or None, got 'a'"):
        solve(lambda x: x * x, 1.0, tol="a")
    with pytest.raises(TypeError, match="linear_solve: tol must be a number or None"):
        implicit.linear_solve(lambda x: x, 1.0, tol="a")


def sine_with_a_bwd_rule():
    f = pb.custom_vjp(pnp.sin)

    def fwd(x):
        return f(x), x

    def bwd(x, ct):
        return (ct * pnp.cos(x),)

    f.defvjp(fwd, bwd)
    return f


def jit_of_vmap(f):
    return pb.jit(pb.vmap(f))


@pytest.mark.parametrize("method", ["auto", "bicgstab"])
@pytest.mark.parametrize("wrap", [eager, pb.jit, jit_of_vmap])
def test_reverse_mode_through_what_has_a_backward_rule_alone(method, wrap):
    a = np.array([[2.0, 0.3], [0.1, 1.5]], "float32")

    def gradient(f):
        def loss(w):
            return implicit.fixed_point(lambda x, w: f(a @ x) * w + 1.0, pnp.zeros(2), w, linear_solver=method).sum()

        return wrap(pb.grad(loss))

    w = np.array([[0.3, 0.2], [0.1, 0.3]] if wrap is jit_of_vmap else [0.3, 0.2], "float32")
    np.testing.assert_allclose(gradient(sine_with_a_bwd_rule())(w), gradient(pnp.sin)(w), rtol=2e-5)


def jit_of_jacfwd(f):
    return pb.jit(pb.jacfwd(f))


def grad_of_grad(f):
    return pb.grad(pb.grad(f))


@pytest.mark.parametrize("transform", [forward, jit_of_jacfwd, grad_of_grad])
def test_forward_mode_through_what_has_a_backward_rule_alone_is_refused(transform):
    f = sine_with_a_bwd_rule()

    def point(w):
        return implicit.fixed_point(lambda x, w: f(x) * w + 1.0, 0.0, w)

    with pytest.raises(TypeError, match="can't apply forward-mode autodiff"):
        transform(point)(0.3)
