"""debug.print, debug.callback and debug.breakpoint under every transformation."""

import bdb
import io

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.core import check_jaxpr

X = np.array([3.0, 1.0, 2.0], np.float32)


def cube(x):
    y = x * x
    pb.debug.print("y={y}", y=y)
    return y * x


@pytest.mark.parametrize(("transform", "lines"), [
    (lambda f: f, ["y=4.0"]),
    (pb.jit, ["y=4.0"]),
    (pb.grad, ["y=4.0"]),
    (lambda f: pb.jit(pb.grad(f)), ["y=4.0"]),
    (lambda f: pb.grad(pb.jit(f)), ["y=4.0"]),
    (lambda f: pb.grad(pb.grad(f)), ["y=4.0"]),
    (lambda f: pb.jit(pb.grad(pb.grad(pb.jit(f)))), ["y=4.0"]),
    (lambda f: lambda x: pb.jvp(f, (x,), (1.0,)), ["y=4.0"]),
    (lambda f: lambda x: pb.jvp(pb.jit(f), (x,), (1.0,)), ["y=4.0"]),
    (lambda f: lambda x: pb.vmap(f)(x * pnp.arange(2.0)), ["y=0.0", "y=4.0"]),
    (lambda f: lambda x: pb.jit(pb.vmap(pb.grad(f)))(x * pnp.arange(2.0)), ["y=0.0", "y=4.0"]),
    (lambda f: lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 2)[0], ["y=4.0", "y=64.0"]),
    (lambda f: pb.grad(lambda x: lax.scan(lambda c, _: (f(c), None), x, None, 2)[0]), ["y=4.0", "y=64.0"]),
    (lambda f: pb.grad(lambda x: lax.cond(x > 0, f, lambda x: x, x)), ["y=4.0"]),
])
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
        "[3. 1. 2.] 1.23 n (3,)", "[3. 1. 2.] {'k': [array(3., dtype=float32), 's']} 1.0 {}", "nothing",
        "[ True False]"]


@pytest.mark.parametrize(("args", "kwargs", "message"), [
    (("{}",), {}, "a placeholder has no argument; 0 were given"),
    (("{} {}", 1.0), {}, "a placeholder has no argument; 1 were given"),
    (("{x}", 1.0), {}, "the placeholder 'x' has no argument of that name"),
    (("{x}",), {"x": 1, "y": 2}, "no placeholder for y="),
    (("[1. 2.]", 1.0), {}, "an f-string does not work"),
    (("{",), {}, "Single '{'"),
])
def test_formats_that_do_not_fit_are_refused_at_once(args, kwargs, message):
    with pytest.raises(ValueError) as info:
        pb.jit(lambda: pb.debug.print(*args, **kwargs))()
    assert message in str(info.value)
    assert "debug.print(" in str(info.value)


def test_the_format_must_be_a_string():
    with pytest.raises(TypeError, match="must be a format string"):
        pb.debug.print(pnp.asarray(X))


def test_callback_gets_read_only_numpy_arrays_and_what_is_no_array_as_it_is():
    seen = []
    for f in (lambda g: g, pb.jit):
        f(lambda x: pb.debug.callback(lambda *a, **k: seen.append((a, k)), x, "text", None, tree={"a": [x]}))(X)
        (value, text, none), kwargs = seen.pop()
        assert type(value) is type(kwargs["tree"]["a"][0]) is np.ndarray
        assert (value == X).all()
        assert (text, none) == ("text", None)


def test_what_a_callback_returns_is_ignored_and_what_it_raises_is_not():
    pb.jit(lambda x: pb.debug.callback(lambda v: v, x))(X)

    def fails(v):
        raise LookupError("mine")

    for f in (lambda g: g, pb.jit, lambda g: pb.jit(pb.grad(lambda x: (g(x), x.sum())[1]))):
        with pytest.raises(LookupError, match="mine"):
            f(lambda x: pb.debug.callback(fails, x))(pnp.asarray(X))
    with pytest.raises(TypeError, match=r"debug\.callback: expected a function"):
        pb.debug.callback("f", X)


def test_under_vmap_only_what_is_batched_is_called_for_each_example(capfd):
    pb.vmap(lambda x, y: pb.debug.print("{}", y), (0, None))(X, 1.0)
    pb.vmap(lambda x, y: pb.debug.print("{} {}", x, y), (0, None))(X, 1.0)
    assert capfd.readouterr().out.splitlines() == ["1.0", "3.0 1.0", "1.0 1.0", "2.0 1.0"]


def test_while_loops_that_are_linearized_print_once(capfd):
    def f(x):
        return lax.while_loop(lambda v: v < 10, lambda v: (pb.debug.print("{}", v), v * 2)[1], x)

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


@pytest.mark.parametrize("transform", [lambda f: f, pb.jit, pb.grad, lambda f: pb.jit(pb.grad(f)),
                                       lambda f: pb.grad(pb.jit(f))])
def test_breakpoint_shows_values_where_the_user_stands(transform):
    text, _ = debugged(transform, "p y.tolist()\np tree['w'][0].tolist(), tree['name']\np len(X)\nl\nwhere\nc\n",
                       pnp.asarray(X))
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


@pytest.mark.parametrize("transform", [lambda f: f, pb.jit])
def test_quitting_the_debugger_stops_the_program(transform):
    with pytest.raises(bdb.BdbQuit):
        debugged(transform, "q\n", pnp.asarray(X))
