"""debug.print, debug.callback and debug.breakpoint under every transformation."""

import bdb
import io
from functools import partial

import numpy as np
import pytest
from wrappers import EAGER_AND_JIT, eager, forward, grad_of_jit, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

X = np.array([3.0, 1.0, 2.0], np.float32)


def cube(x):
    y = x * x
    pb.debug.print("y={y}", y=y)
    return y * x


def second_grad(f):
    return pb.grad(pb.grad(f))


def jit_of_second_grad_of_jit(f):
    return pb.jit(second_grad(pb.jit(f)))


def jvp_of_jit(f):
    return forward(pb.jit(f))


def vmap(f):
    return lambda x: pb.vmap(f)(x * pnp.arange(2.0))


def jit_of_vmap_of_grad(f):
    return lambda x: pb.jit(pb.vmap(pb.grad(f)))(x * pnp.arange(2.0))


def two_steps(f):
    def step(c, _):
        return f(c), None

    return lambda x: lax.scan(step, x, None, 2)[0]


def grad_of_two_steps(f):
    return pb.grad(two_steps(f))


def grad_of_cond(f):
    return pb.grad(lambda x: lax.cond(x > 0, f, eager, x))


@pytest.mark.parametrize(
    ("transform", "lines"),
    [
        (eager, ["y=4.0"]),
        (pb.jit, ["y=4.0"]),
        (pb.grad, ["y=4.0"]),
        (jit_of_grad, ["y=4.0"]),
        (grad_of_jit, ["y=4.0"]),
        (second_grad, ["y=4.0"]),
        (jit_of_second_grad_of_jit, ["y=4.0"]),
        (forward, ["y=4.0"]),
        (jvp_of_jit, ["y=4.0"]),
        (vmap, ["y=0.0", "y=4.0"]),
        (jit_of_vmap_of_grad, ["y=0.0", "y=4.0"]),
        (two_steps, ["y=4.0", "y=64.0"]),
        (grad_of_two_steps, ["y=4.0", "y=64.0"]),
        (grad_of_cond, ["y=4.0"]),
    ],
)
def test_print_once_where_the_function_runs(transform, lines, capfd):
    transform(cube)(2.0)
    assert capfd.readouterr().out.splitlines() == lines


def test_the_jaxpr_is_well_formed_and_keeps_what_gives_no_result():
    jaxpr = pb.make_jaxpr(pb.grad(cube))(2.0)
    check_jaxpr(jaxpr)
    assert "\n    debug_callback[function=print ordered=False] " in str(jaxpr)


def test_print_formats(capfd):
    pb.debug.print("{0} {1:.2f} {name} {0.shape}", pnp.asarray(X), 1.23456, name="n")
    pb.jit(lambda x: pb.debug.print("{} {} {b:.1f} {{}}", x, {"k": [x[0], "s"]}, b=x.astype("bfloat16")[1]))(X)
    pb.debug.print("nothing")
    pb.debug.print("{0}", pnp.asarray([True, False]))
    assert capfd.readouterr().out.splitlines() == [
        "[3. 1. 2.] 1.23 n (3,)",
        "[3. 1. 2.] {'k': [Array(3., dtype=float32), 's']} 1.0 {}",
        "nothing",
        "[ True False]",
    ]


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        (("{}",), {}, "a placeholder has no argument; 0 were given"),
        (("{} {}", 1.0), {}, "a placeholder has no argument; 1 were given"),
        (("{x}", 1.0), {}, "the placeholder 'x' has no argument of that name"),
        (("{x}",), {"x": 1, "y": 2}, "no placeholder for y="),
        (("[1. 2.]", 1.0), {}, "an f-string does not work"),
        (("{",), {}, "Single '{'"),
    ],
)
def test_formats_that_do_not_fit_are_refused_at_once(args, kwargs, message):
    with pytest.raises(ValueError) as info:
        pb.jit(lambda: pb.debug.print(*args, **kwargs))()
    assert message in str(info.value)
    assert "debug.print(" in str(info.value)


def test_the_format_must_be_a_string():
    with pytest.raises(TypeError, match="must be a format string"):
        pb.debug.print(pnp.asarray(X))


@pytest.mark.parametrize("wrap", EAGER_AND_JIT)
def test_callback_gets_arrays_and_what_is_no_array_as_it_is(wrap):
    seen = []

    def note(*args, **kwargs):
        seen.append((args, kwargs))

    @wrap
    def f(x):
        pb.debug.callback(note, x, "text", None, tree={"a": [x]})

    f(X)
    (value, text, none), kwargs = seen.pop()
    assert type(value) is type(kwargs["tree"]["a"][0]) is type(pnp.asarray(X))
    assert (np.asarray(value) == X).all()
    assert (text, none) == ("text", None)


def test_what_a_callback_returns_is_ignored():
    pb.jit(partial(pb.debug.callback, lambda v: v))(X)


def jit_of_grad_beside(f):
    @pb.grad
    def gradient(x):
        f(x)
        return x.sum()

    return pb.jit(gradient)


@pytest.mark.parametrize("transform", [*EAGER_AND_JIT, jit_of_grad_beside])
def test_what_a_callback_raises_is_not_ignored(transform):
    def fails(v):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        transform(partial(pb.debug.callback, fails))(pnp.asarray(X))


def test_a_callback_is_a_function():
    with pytest.raises(TypeError, match=r"debug\.callback: expected a function"):
        pb.debug.callback("f", X)


def test_under_vmap_only_what_is_batched_is_called_for_each_example(capfd):
    pb.vmap(lambda x, y: pb.debug.print("{}", y), (0, None))(X, 1.0)
    pb.vmap(lambda x, y: pb.debug.print("{} {}", x, y), (0, None))(X, 1.0)
    assert capfd.readouterr().out.splitlines() == ["1.0", "3.0 1.0", "1.0 1.0", "2.0 1.0"]


def test_while_loops_that_are_linearized_print_once(capfd):
    def double(v):
        pb.debug.print("{}", v)
        return v * 2

    def f(x):
        return lax.while_loop(lambda v: v < 10, double, x)

    y, push = pb.linearize(f, 3.0)
    push(1.0)
    assert capfd.readouterr().out.splitlines() == ["3.0", "6.0"]
    assert (float(y), float(push(1.0))) == (12, 4)


def test_print_inside_rules(capfd):
    @pb.custom_vjp
    def f(x):
        pb.debug.print("primal {}", x)
        return x * x

    def fwd(x):
        pb.debug.print("fwd {}", x)
        return x * x, x

    def bwd(x, ct):
        pb.debug.print("bwd {} {}", x, ct)
        return (2 * x * ct,)

    f.defvjp(fwd, bwd)

    def looped(x):
        return lax.scan(lambda c, _: (f(c), None), x, None, 1)[0]

    for g in (pb.grad(f), pb.jit(pb.grad(f)), pb.jit(pb.grad(looped))):
        assert float(g(3.0)) == 6
        assert capfd.readouterr().out.splitlines() == ["fwd 3.0", "bwd 3.0 1.0"]
    pb.jit(f)(3.0)
    assert capfd.readouterr().out.splitlines() == ["primal 3.0"]


# --- breakpoint ---


def debugged(transform, commands, x):
    """What the debugger wrote, opened in a function under a transformation."""
    screen = io.StringIO()

    def looked_at(x):
        y = x * 2
        tree = {"w": [y + 1], "name": "text"}
        pb.debug.breakpoint(stdin=io.StringIO(commands), stdout=screen)
        return (y * tree["w"][0]).sum()

    result = transform(looked_at)(x)
    return screen.getvalue(), result


@pytest.mark.parametrize("transform", [eager, pb.jit, pb.grad, jit_of_grad, grad_of_jit])
def test_breakpoint_shows_values_where_the_user_stands(transform):
    text, _ = debugged(
        transform, "p y.tolist()\np tree['w'][0].tolist(), tree['name']\np len(X)\nl\nwhere\nc\n", pnp.asarray(X)
    )
    assert "[6.0, 2.0, 4.0]" in text
    assert "([7.0, 3.0, 5.0], 'text')" in text
    assert "(Pdb) 3" in text
    assert "test_debug_callbacks.py(" in text
    assert "looked_at()" in text
    assert "-> pb.debug.breakpoint(" in text


def test_breakpoint_opens_once_for_each_example():
    screen = io.StringIO()

    def f(x):
        pb.debug.breakpoint(stdin=io.StringIO("p float(x)\nc\n" * 3), stdout=screen)
        return x

    pb.vmap(f)(X)
    shown = [line.removeprefix("(Pdb) ") for line in screen.getvalue().splitlines() if line.startswith("(Pdb) ")]
    assert len([line for line in shown if line in ("3.0", "1.0", "2.0")]) == 3


@pytest.mark.parametrize("transform", EAGER_AND_JIT)
def test_quitting_the_debugger_stops_the_program(transform):
    with pytest.raises(bdb.BdbQuit):
        debugged(transform, "q\n", pnp.asarray(X))
