"""The sections on custom_jvp and custom_vjp of the document the library was begun from, to the letter.

See test_seed.py for the document and for how these tests are named. Here: the two decorators, when rules are
called, what is refused, the debugger in the backward pass, containers, non-differentiable arguments.
"""

import bdb
import io
import pdb
import sys
from collections import namedtuple
from functools import partial

import numpy as np
import pytest

import pullback.numpy as pnp
from pullback import custom_jvp, custom_vjp, errors, grad, jit, jvp, vjp, vmap


def printed(*values):
    """The lines that ``print`` makes of these values."""
    return [str(value) for value in values]


# ---- custom_jvp, basic usage


def sine_with_defjvp():
    f = custom_jvp(lambda x: pnp.sin(x))
    f.defjvp(lambda primals, tangents: (f(*primals), pnp.cos(primals[0]) * tangents[0]))
    return f


def test_custom_jvp_defjvp_returns_the_rule():
    f = custom_jvp(pnp.sin)

    def f_jvp(primals, tangents):
        return f(*primals), pnp.cos(primals[0]) * tangents[0]

    assert f.defjvp(f_jvp) is f_jvp


def test_custom_jvp_one_argument():
    f = sine_with_defjvp()
    assert printed(f(3.0), *jvp(f, (3.0,), (1.0,))) == ["0.14112", "0.14112", "-0.9899925"]


def test_custom_jvp_reverse_mode_by_transposition():
    f = sine_with_defjvp()
    assert printed(grad(f)(3.0), grad(grad(f))(3.0)) == ["-0.9899925", "-0.14112"]


@pytest.mark.parametrize("crooked", [lambda t: t * t, lambda t: pnp.sin(t)])
def test_custom_jvp_tangent_not_linear_is_a_transposition_error(crooked):
    f = custom_jvp(lambda x: x)
    f.defjvp(lambda primals, tangents: (f(*primals), crooked(tangents[0])))
    with pytest.raises((NotImplementedError, TypeError), match=r"(?i)transpos"):
        grad(f)(2.0)


def square_times(x, y):
    return x**2 * y


def test_custom_jvp_two_arguments():
    f = custom_jvp(square_times)

    @f.defjvp
    def f_jvp(primals, tangents):
        (x, y), (x_dot, y_dot) = primals, tangents
        return f(x, y), 2 * x * y * x_dot + x**2 * y_dot

    assert str(grad(f)(2.0, 3.0)) == "12.0"


def test_custom_jvp_defjvps_one_argument():
    f = custom_jvp(lambda x: pnp.sin(x))
    f.defjvps(lambda t, out, x: pnp.cos(x) * t)
    assert str(grad(f)(3.0)) == "-0.9899925"


@pytest.mark.parametrize(
    ("y_rule", "y_slope"),
    [(lambda y_dot, out, x, y: x**2 * y_dot, "4.0"), (None, "0.0")],
    ids=["rule", "None"],
)
def test_custom_jvp_defjvps_two_arguments(y_rule, y_slope):
    f = custom_jvp(square_times)
    f.defjvps(lambda x_dot, out, x, y: 2 * x * y * x_dot, y_rule)
    lines = printed(grad(f)(2.0, 3.0), grad(f, 0)(2.0, 3.0), grad(f, 1)(2.0, 3.0))
    assert lines == ["12.0", "12.0", y_slope]


def test_custom_jvp_keywords_and_defaults_become_positions():
    @custom_jvp
    def f(x, y=3.0):
        return x**2 * y

    f.defjvps(lambda x_dot, out, x, y: 2 * x * y * x_dot, lambda y_dot, out, x, y: x**2 * y_dot)
    # The default, then keywords in the order of the signature and against it.
    lines = printed(grad(f)(2.0), grad(lambda x: f(x, y=3.0))(2.0), grad(lambda y: f(y=y, x=2.0))(3.0))
    assert lines == ["12.0", "12.0", "4.0"]


def noisy_custom_jvp():
    @custom_jvp
    def f(x):
        print("called f!")
        return pnp.sin(x)

    @f.defjvp
    def f_jvp(primals, tangents):
        print("called f_jvp!")
        (x,), (t,) = primals, tangents
        return f(x), pnp.cos(x) * t

    return f


def test_custom_jvp_rule_not_called_without_differentiation(capsys):
    f = noisy_custom_jvp()
    print(f(3.0))
    print(vmap(f)(pnp.arange(3.0)))
    print(jit(f)(3.0))
    assert capsys.readouterr().out == (
        "called f!\n0.14112\ncalled f!\n[0.         0.84147096 0.9092974 ]\ncalled f!\n0.14112\n"
    )


def test_custom_jvp_rule_called_in_forward_mode(capsys):
    _, y_dot = jvp(noisy_custom_jvp(), (3.0,), (1.0,))
    print(y_dot)
    assert capsys.readouterr().out == "called f_jvp!\ncalled f!\n-0.9899925\n"


def test_custom_jvp_rule_called_in_reverse_mode(capsys):
    print(grad(noisy_custom_jvp())(3.0))
    assert capsys.readouterr().out == "called f_jvp!\ncalled f!\n-0.9899925\n"


def test_custom_jvp_rule_called_at_every_order(capsys):
    second = grad(grad(noisy_custom_jvp()))(3.0)
    assert capsys.readouterr().out == "called f_jvp!\ncalled f_jvp!\ncalled f!\n"
    assert repr(second) == "Array(-0.14112, dtype=float32, weak_type=True)"


def test_custom_jvp_rule_that_does_not_call_f_serves_one_order_only():
    f = custom_jvp(lambda x: pnp.sin(x))
    # A slope of 5 times the true one shows which derivative used the rule.
    f.defjvp(lambda primals, tangents: (pnp.sin(primals[0]), 5.0 * pnp.cos(primals[0]) * tangents[0]))
    inner = jvp(f, (3.0,), (1.0,))
    with pytest.warns(errors.RuleOrderWarning, match=r"jvp rule .*test_seed_rules.py.* does not call"):
        through_value = grad(lambda x: jvp(f, (x,), (1.0,))[0])(3.0)
    assert printed(*inner, through_value) == ["0.14112", "-4.9499626", "-0.9899925"]


def test_custom_jvp_python_control_flow():
    @custom_jvp
    def f(x):
        return pnp.sin(x) if x > 0 else pnp.cos(x)

    @f.defjvp
    def f_jvp(primals, tangents):
        (x,), (x_dot,) = primals, tangents
        out = f(x)
        if x > 0:
            return out, 2 * x_dot
        return out, 3 * x_dot

    assert printed(grad(f)(1.0), grad(f)(-1.0)) == ["2.0", "3.0"]


# ---- custom_vjp, reverse-mode-only rules


def sine_with_defvjp():
    f = custom_vjp(lambda x: pnp.sin(x))
    f.defvjp(lambda x: (f(x), pnp.cos(x)), lambda cos_x, y_bar: (cos_x * y_bar,))
    return f


def test_custom_vjp_one_argument():
    f = sine_with_defvjp()
    assert printed(f(3.0), grad(f)(3.0)) == ["0.14112", "-0.9899925"]


def test_custom_vjp_two_arguments():
    @custom_vjp
    def f(x, y):
        return pnp.sin(x) * y

    def f_bwd(saved, g):
        cos_x, sin_x, y = saved
        return cos_x * g * y, sin_x * g

    f.defvjp(lambda x, y: (f(x, y), (pnp.cos(x), pnp.sin(x), y)), f_bwd)
    assert str(grad(f)(2.0, 3.0)) == "-1.2484405"


def test_custom_vjp_keywords_and_defaults_become_positions():
    @custom_vjp
    def f(x, y=3.0):
        return x**2 * y

    f.defvjp(lambda x, y: (f(x, y), (x, y)), lambda xy, g: (2 * xy[0] * xy[1] * g, xy[0] ** 2 * g))
    lines = printed(grad(f)(2.0), grad(lambda x: f(x, y=3.0))(2.0), grad(lambda y: f(y=y, x=2.0))(3.0))
    assert lines == ["12.0", "12.0", "4.0"]


@pytest.mark.parametrize(
    "bwd", [lambda _, g: g, lambda _, g: (g, g), lambda _, g: ()], ids=["no sequence", "too many", "too few"]
)
def test_custom_vjp_bwd_must_return_one_entry_per_argument(bwd):
    f = custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), bwd)
    with pytest.raises(TypeError, match="bwd"):
        grad(f)(2.0)


def test_custom_vjp_bwd_may_return_a_list():
    f = custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), lambda _, g: [5 * g])
    assert str(grad(f)(2.0)) == "5.0"


@pytest.fixture
def noisy_custom_vjp():
    @custom_vjp
    def f(x):
        print("called f!")
        return pnp.sin(x)

    def f_fwd(x):
        print("called f_fwd!")
        return f(x), pnp.cos(x)

    def f_bwd(cos_x, y_bar):
        print("called f_bwd!")
        return (cos_x * y_bar,)

    f.defvjp(f_fwd, f_bwd)
    return f


def test_custom_vjp_rule_not_called_without_differentiation(noisy_custom_vjp, capsys):
    f = noisy_custom_vjp
    print(f(3.0))
    assert capsys.readouterr().out == "called f!\n0.14112\n"
    print(vmap(f)(pnp.arange(3.0)))
    print(jit(f)(3.0))
    assert capsys.readouterr().out == "called f!\n[0.         0.84147096 0.9092974 ]\ncalled f!\n0.14112\n"


def test_custom_vjp_rule_called_by_grad(noisy_custom_vjp, capsys):
    print(grad(noisy_custom_vjp)(3.0))
    assert capsys.readouterr().out == "called f_fwd!\ncalled f!\ncalled f_bwd!\n-0.9899925\n"


def test_custom_vjp_rule_called_in_halves_by_vjp(noisy_custom_vjp, capsys):
    y, f_vjp = vjp(noisy_custom_vjp, 3.0)
    print(y)
    assert capsys.readouterr().out == "called f_fwd!\ncalled f!\n0.14112\n"
    print(f_vjp(1.0))
    assert capsys.readouterr().out == ("called f_bwd!\n(Array(-0.9899925, dtype=float32, weak_type=True),)\n")


def test_custom_vjp_refuses_forward_mode(noisy_custom_vjp, capsys):
    try:
        jvp(noisy_custom_vjp, (3.0,), (1.0,))
    except TypeError as error:
        print(f"ERROR! {error}")
    assert capsys.readouterr().out == (
        "called f_fwd!\ncalled f!\nERROR! can't apply forward-mode autodiff (jvp) to a custom_vjp function.\n"
    )


# ---- Python debugging: pdb in the backward pass


def debug_session(x, *typed):
    """Type these commands at the stop in the backward pass; return (gradient or None if quit, screen)."""
    screen = io.StringIO()
    # pytest replaces pdb.set_trace, so make the debugger that it would make, with streams of our own.
    keys = io.StringIO("".join(f"{command}\n" for command in typed))
    debugger = pdb.Pdb(stdin=keys, stdout=screen, nosigint=True, readrc=False)

    @custom_vjp
    def debug(x):
        return x

    def debug_bwd(x, g):
        debugger.set_trace(sys._getframe())
        return (g,)

    debug.defvjp(lambda x: (x, x), debug_bwd)
    try:
        gradient = grad(lambda x: pnp.sin(debug(x**2)))(x)
    except bdb.BdbQuit:
        gradient = None
    return gradient, screen.getvalue()


def test_python_debugging_session():
    gradient, screen = debug_session(np.float32(3.0), "p x", "p g", "q")
    assert gradient is None
    location, *rest = screen.splitlines()
    assert location.startswith("> ")
    assert location.endswith(")debug_bwd()")
    # The first prompt follows the line of code it stops at, which differs between versions of Python.
    assert rest[0].startswith("-> ")
    assert rest[1:] == ["(Pdb) Array(9., dtype=float32)", "(Pdb) Array(-0.91113025, dtype=float32)", "(Pdb) "]


def test_python_debugging_weak_types_show():
    # A Python number is weakly typed, and says so here as in all other sections.
    _, screen = debug_session(3.0, "p x", "p g", "q")
    assert screen.splitlines()[2:4] == [
        "(Pdb) Array(9., dtype=float32, weak_type=True)",
        "(Pdb) Array(-0.91113025, dtype=float32, weak_type=True)",
    ]


def test_python_debugging_continue():
    gradient, _ = debug_session(3.0, "c")
    assert str(gradient) == "-5.4667816"


# ---- Working with list / tuple / dict containers (and other pytrees)

Point = namedtuple("Point", ["x", "y"])


def features(pt):
    return {"a": pt.x**2, "b": (pnp.sin(pt.x), pnp.cos(pt.y))}


def features_custom_jvp():
    f = custom_jvp(features)

    @f.defjvp
    def f_jvp(primals, tangents):
        (pt,), (pt_dot,) = primals, tangents
        slope = {
            "a": 2 * pt.x * pt_dot.x,
            "b": (pnp.cos(pt.x) * pt_dot.x, -pnp.sin(pt.y) * pt_dot.y),
        }
        return f(pt), slope

    return f


def features_custom_vjp():
    f = custom_vjp(features)

    def f_bwd(pt, g):
        x_bar = 2 * pt.x * g["a"] + pnp.cos(pt.x) * g["b"][0]
        return (Point(x_bar, -pnp.sin(pt.y) * g["b"][1]),)

    f.defvjp(lambda pt: (f(pt), pt), f_bwd)
    return f


@pytest.mark.parametrize(("make", "y_bar"), [(features_custom_jvp, "0."), (features_custom_vjp, "-0.")])
def test_containers(make, y_bar):
    f = make()

    def fun(pt):
        out = f(pt)
        return out["a"] + out["b"][0]

    pt = Point(1.0, 2.0)
    assert str(f(pt)) == (
        "{'a': 1.0, 'b': (Array(0.84147096, dtype=float32, weak_type=True), "
        "Array(-0.41614684, dtype=float32, weak_type=True))}"
    )
    assert str(grad(fun)(pt)) == (
        f"Point(x=Array(2.5403023, dtype=float32, weak_type=True), y=Array({y_bar}, dtype=float32, weak_type=True))"
    )


# ---- Handling non-differentiable arguments


def test_nondiff_argnums_custom_jvp():
    @partial(custom_jvp, nondiff_argnums=(0,))
    def app(f, x):
        return f(x)

    app.defjvp(lambda f, primals, tangents: (f(*primals), 2.0 * tangents[0]))
    assert printed(app(lambda x: x**3, 3.0), grad(app, 1)(lambda x: x**3, 3.0)) == ["27.0", "2.0"]


def test_nondiff_argnums_come_first_in_the_rule():
    @partial(custom_jvp, nondiff_argnums=(0, 2))
    def app2(f, x, g):
        return f(g(x))

    app2.defjvp(lambda f, g, primals, tangents: (f(g(*primals)), 3.0 * tangents[0]))
    arguments = (lambda x: x**3), 3.0, (lambda y: 5 * y)
    assert printed(app2(*arguments), grad(app2, 1)(*arguments)) == ["3375.0", "3.0"]


def test_nondiff_argnums_custom_vjp():
    @partial(custom_vjp, nondiff_argnums=(0,))
    def app(f, x):
        return f(x)

    app.defvjp(lambda f, x: (f(x), x), lambda f, x, g: (5 * g,))
    assert printed(app(lambda x: x**2, 4.0), grad(app, 1)(lambda x: x**2, 4.0)) == ["16.0", "5.0"]


def test_nondiff_argnums_fwd_keeps_the_order_of_the_function():
    @partial(custom_vjp, nondiff_argnums=(1,))
    def power(x, name):
        return x**3 if name == "cube" else x**2

    def power_bwd(name, x, g):
        return (3 * x**2 * g if name == "cube" else 2 * x * g,)

    power.defvjp(lambda x, name: (power(x, name), x), power_bwd)
    assert printed(grad(power)(2.0, "cube"), grad(power)(2.0, "square")) == ["12.0", "4.0"]


@pytest.mark.parametrize(
    "transformed",
    [
        lambda scale: grad(lambda a: scale(a, 3.0))(2.0),
        lambda scale: jit(lambda a: scale(a, 3.0))(2.0),
        lambda scale: jit(lambda a: grad(scale, 1)(a, 3.0))(2),
    ],
    ids=["grad", "jit", "grad under jit, integer"],
)
def test_nondiff_argnums_tracer_is_an_error(transformed):
    @partial(custom_vjp, nondiff_argnums=(0,))
    def scale(factor, x):
        return factor * x

    scale.defvjp(lambda factor, x: (factor * x, None), lambda factor, _, g: (factor * g,))
    with pytest.raises(errors.UnexpectedTracerError, match="nondiff_argnums"):
        transformed(scale)
