"""What wrong input gets: messages with the function, the argument, expected, got, the way out; tracebacks."""

import contextlib
import threading
import traceback

import numpy as np
import pytest
from functions import with_jvp, with_vjp
from refusals import PACKAGE, files, raises
from wrappers import grad_of_jit, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, custom_vjp, errors, lax
from pullback._core import errors as errors_of_core

W = np.linspace(0.5, 1.0, 3, dtype=np.float32)


# ---- custom rules


def test_a_rule_that_is_not_defined():
    @custom_jvp
    def f(x):
        return x

    @custom_vjp
    def g(x):
        return x

    with raises(errors.RuleNotDefinedError, "f", "defjvp"):
        pb.grad(f)(1.0)
    with raises(errors.RuleNotDefinedError, "f", "defjvp"):
        pb.jvp(f, (1.0,), (1.0,))
    with raises(errors.RuleNotDefinedError, "g", "defvjp"):
        pb.grad(g)(1.0)


def square(x):
    return x * x


def identity(x):
    return x


def product_and_factor(x, y):
    return pnp.sin(x) * y, {"b": y}


def number_alone(primals, tangents):
    return 3.0


def three_numbers(primals, tangents):
    return 1.0, 2.0, 3.0


def another_key(primals, tangents):
    _, y = primals
    return (y, {"b": y}), (y, {"c": y})


def another_shape(primals, tangents):
    _, y = primals
    return (y, {"b": y}), (y[:2], {"b": y})


def another_dtype(primals, tangents):
    _, y = primals
    return (y, {"b": y}), (y, {"b": y.astype("float16")})


@pytest.mark.parametrize(
    ("rule", "parts"),
    [
        (number_alone, ["pair"]),
        (three_numbers, ["pair"]),
        (another_key, ["'b'", "'c'"]),
        (another_shape, ["[0]", "expected f32[3], got f32[2]"]),
        (another_dtype, ["[1]['b']", "expected f32[3], got f16[3]"]),
    ],
)
def test_a_jvp_rule_that_breaks_its_contract(rule, parts):
    f = with_jvp(product_and_factor, rule)
    with raises(errors.RuleError, *parts, "jvp rule", "defined at " + __file__):
        pb.jvp(f, (1.0, W), (1.0, W))


def weighted(p, y):
    return p["w"] * y


def right_fwd(p, y):
    return p["w"] * y, None


def right_bwd(saved, ct):
    return {"w": 1.0, "v": W}, ct


def value_alone(p, y):
    return p["w"] * y


def first_cotangent_alone(saved, ct):
    return {"w": 1.0, "v": W}


def one_cotangent_of_two(saved, ct):
    return ({"w": 1.0, "v": W},)


def a_leaf_less(saved, ct):
    return {"w": 1.0}, ct


def another_shape_in_a_leaf(saved, ct):
    return {"w": W, "v": W}, ct


def shorter_cotangent(saved, ct):
    return {"w": 1.0, "v": W}, ct[:2]


def text_for_a_cotangent(saved, ct):
    return {"w": 1.0, "v": W}, "text"


@pytest.mark.parametrize(
    ("fwd", "bwd", "parts"),
    [
        (value_alone, right_bwd, ["pair"]),
        (right_fwd, first_cotangent_alone, ["tuple"]),
        (right_fwd, one_cotangent_of_two, ["2", "1"]),
        (right_fwd, a_leaf_less, ["'p'", "'v'"]),
        (right_fwd, another_shape_in_a_leaf, ["argument 'p', leaf ['w']", "expected f32[], got f32[3]"]),
        (right_fwd, shorter_cotangent, ["argument 'y'", "expected f32[3], got f32[2]"]),
        (right_fwd, text_for_a_cotangent, ["'y'", "'text'"]),
    ],
)
def test_a_vjp_rule_that_breaks_its_contract(fwd, bwd, parts):
    f = with_vjp(weighted, fwd, bwd)
    with raises(errors.RuleError, *parts):
        pb.grad(lambda p, y: f(p, y).sum(), argnums=(0, 1))({"w": 2.0, "v": W}, W)


def test_jvp_of_a_custom_vjp_function():
    f = custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), lambda _, g: (g,))
    with raises(TypeError, "can't apply forward-mode autodiff (jvp) to a custom_vjp function."):
        pb.jvp(f, (1.0,), (1.0,))


@pytest.mark.parametrize("around", [pb.grad, grad_of_jit, jit_of_grad])
def test_a_rule_that_asks_for_itself(around):
    f, g = custom_jvp(square), custom_vjp(square)
    f.defjvp(lambda p, t: pb.jvp(f, p, t))
    g.defvjp(lambda x: pb.vjp(g, x), lambda pullback, ct: pullback(ct))
    with raises(errors.RuleError, "the jvp rule", "differentiates square", "without end"):
        around(f)(3.0)
    with raises(errors.RuleError, "the fwd rule", "differentiates square", "without end"):
        around(g)(3.0)


def test_a_function_that_is_deep_is_not_blamed_on_its_rule():
    f = custom_jvp(lambda x, n: x if n == 0 else f(x, n - 1))
    f.defjvp(lambda p, t: (f(*p), t[0]))
    with raises(RecursionError, "recursion"):
        pb.grad(lambda x: f(x, 10**5))(1.0)


def test_a_tangent_that_is_not_linear():
    f = custom_jvp(lambda x: x)
    f.defjvp(lambda p, t: (p[0], pnp.sin(t[0])))
    with raises(errors.RuleNotDefinedError, "'sin' has no transpose rule", "linear"):
        pb.grad(f)(1.0)
    g = custom_jvp(lambda x: x)
    g.defjvp(lambda p, t: (p[0], t[0] * t[0]))
    with raises(errors.RuleError, "'mul' multiplies two tangents", "must be linear"):
        pb.grad(g)(1.0)


def test_a_tracer_in_nondiff_argnums():
    f = custom_vjp(lambda n, x: n * x, nondiff_argnums=(0,))
    f.defvjp(lambda n, x: (n * x, None), lambda n, _, g: (n * g,))
    assert float(pb.grad(f, argnums=1)(2.0, 3.0)) == 2.0
    with raises(errors.UnexpectedTracerError, "nondiff_argnums", "'n'"):
        pb.grad(lambda n: f(n, 3.0))(2.0)


# ---- tangents, cotangents, gradients


def test_tangents():
    def f(p, y):
        return p["a"] * y

    with raises(ValueError, "jvp of f: the tangent of argument 'y': expected shape (3,), got (2,)"):
        pb.jvp(f, ({"a": 1.0}, W), ({"a": 1.0}, W[:2]))
    with raises(TypeError, "jvp of f: the tangent of argument 'p', leaf ['a']: expected dtype float32, got float16"):
        pb.jvp(f, ({"a": 1.0}, W), ({"a": W.astype(np.float16)[0]}, W))
    with raises(
        TypeError, "jvp: primals and tangents must have one structure, at [0]: expected a dict with keys ['a'], got"
    ):
        pb.jvp(f, ({"a": 1.0}, W), ({"b": 1.0}, W))
    with raises(TypeError, "expected a tuple of 2 children, got a tuple of 1 child"):
        pb.jvp(f, (1.0, 2.0), (1.0,))
    with raises(TypeError, "jvp: primals must be a tuple or a list", "got float"):
        pb.jvp(f, 1.0, 1.0)
    with raises(TypeError, "argument 'n'", "i32[]", "float0"):
        pb.jvp(lambda n: n, (1,), (1.0,))


def test_cotangents():
    _, pullback = pb.vjp(lambda x: {"r": x}, W)
    with raises(TypeError, "the vjp of <lambda>: the cotangent must have the structure of the result"):
        pullback({"s": W})
    with raises(ValueError, "the cotangent at ['r']: expected shape (3,), got ()"):
        pullback({"r": 1.0})
    with raises(TypeError, "the cotangent at ['r']: expected an array", "'text'"):
        pullback({"r": "text"})
    _, push = pb.linearize(lambda x: x, W)
    with raises(ValueError, "the linearized <lambda>: the tangent of argument 'x': expected shape (3,)"):
        push(W[:2])


def test_grad():
    with raises(TypeError, "grad: <lambda> must return a scalar (shape ()), got shape (3,)", "jacrev"):
        pb.grad(lambda x: x)(W)
    with raises(TypeError, "must return a scalar", "has_aux=True"):
        pb.grad(lambda x: (x, x))(1.0)
    with raises(TypeError, "real floating-point number, got dtype int32"):
        pb.grad(lambda x: 3)(1.0)
    with raises(TypeError, "got dtype complex64", "holomorphic=True"):
        pb.grad(lambda x: x * 1j)(1.0)
    with raises(TypeError, "grad: <lambda> must return arrays", "'text' of type str"):
        pb.grad(lambda x: "text")(1.0)
    with raises(TypeError, "grad of <lambda>: argument 'p', leaf ['n'] has dtype int32", "allow_int=True"):
        pb.grad(lambda p: p["n"] * 1.0)({"n": 3})
    with raises(TypeError, "grad of <lambda>: argument 'y': expected an array or a number, got 'text' of type str"):
        pb.grad(lambda x, y: y, argnums=1)(1.0, "text")
    with raises(ValueError, "asks for positional argument 1", "1 positional argument"):
        pb.grad(lambda x: x, argnums=1)(1.0)
    with raises(ValueError, "0 positional arguments", "by position"):
        pb.grad(lambda x: x)(x=1.0)
    with raises(TypeError, "grad: argnums must be an int or a sequence of ints, got 'x'"):
        pb.grad(lambda x: x, argnums="x")
    with raises(ValueError, "names an argument twice"):
        pb.grad(lambda x, y: x, argnums=(0, -2))(1.0, 2.0)
    with raises(TypeError, "grad: expected a function, got 3.0 of type float"):
        pb.grad(3.0)
    with raises(TypeError, "must return a pair (result, auxiliary)"):
        pb.grad(lambda x: x, has_aux=True)(1.0)
    with raises(TypeError, "which has no data", "eval_shape"):
        pb.grad(lambda x: x)(pb.ShapeDtypeStruct((), "float32"))
    with raises(TypeError, "expected a complex dtype", "'x'"):
        pb.grad(lambda x: x, holomorphic=True)(1.0)


# ---- tracing


def test_concretization():
    with raises(
        errors.TracerBoolConversionError, "for jit", f"made by 'gt' at {__file__}", "lax.cond", "static_argnums"
    ):
        pb.jit(lambda x: 1 if x > 0 else 2)(1.0)
    with raises(errors.TracerIntegerConversionError, "argument 'n'", "static_argnums"):
        pb.jit(lambda n: list(range(n)))(3)
    with raises(errors.TracerArrayConversionError, "argument 'x'", "pullback.numpy"):
        pb.jit(lambda x: np.sin(x))(1.0)
    with raises(errors.ConcretizationTypeError, "argument 'p'['a']", "float()"):
        pb.jit(lambda p: float(p["a"]))({"a": 1.0})
    with raises(errors.TracerBoolConversionError, "vmap of <lambda>"):
        pb.vmap(lambda x: x if x > 0 else -x)(W)
    with raises(TypeError, "zeros", "concrete integers", "static"):
        pb.jit(lambda n: pnp.zeros(n))(3)
    with raises(errors.NonConcreteBooleanIndexError, "bool[3]", "where"):
        pb.jit(lambda x: x[x > 0])(W)
    with raises(errors.ConcretizationTypeError, "argument 'x'"):
        pb.jit(lambda k, x: float(x), static_argnums=0)(3, 1.0)


# transformations that run a function


def jit(f):
    pb.jit(f)(1.0)


def grad(f):
    pb.grad(f)(1.0)


def vmap(f):
    pb.vmap(f)(W)


def jvp(f):
    pb.jvp(f, (1.0,), (1.0,))


def make_jaxpr(f):
    pb.make_jaxpr(f)(1.0)


def scan(f):
    lax.scan(lambda c, x: (f(c), x), 1.0, W)


def cond(f):
    lax.cond(True, f, f, 1.0)


def jit_of_cond(f):
    pb.jit(lambda x: lax.cond(x > 0, f, identity, x))(1.0)


# uses of a value


def add_one(value):
    value + 1


def multiply_in_jit(value):
    pb.jit(lambda y: y * value)(1.0)


def multiply_in_grad(value):
    pb.grad(lambda y: y * value)(1.0)


def multiply_in_vmap(value):
    pb.vmap(lambda y: y * value)(W)


def differentiate_at(value):
    pb.grad(identity)(value)


def pass_to_jit(value):
    pb.jit(identity)(value)


@pytest.mark.parametrize("transform", [jit, grad, vmap, jvp, make_jaxpr, scan, jit_of_cond])
def test_leaks_say_where_the_value_was_made(transform):
    held = []

    def leaking(x):
        held.append(x * 2)
        return x

    transform(leaking)
    for use in (
        add_one,
        multiply_in_jit,
        multiply_in_grad,
        multiply_in_vmap,
        differentiate_at,
        pass_to_jit,
        float,
        np.asarray,
        bool,
    ):
        with raises(errors.UnexpectedTracerError, "had ended", __file__, "leaked"):
            use(held[0])
    assert transform.__name__ in repr(held[0]) or transform is jit_of_cond


def test_a_generator_that_outlives_its_transformation():
    held = []

    def f(x):
        lazy = (x * i for i in range(3))
        next(lazy)
        held.append(lazy)
        return x

    pb.grad(f)(1.0)
    with raises(errors.UnexpectedTracerError, "grad of f", "had ended"):
        next(held[0])


def test_a_tracer_in_another_thread():
    result = []

    def work(x):
        try:
            result.append(x + 1)
        except errors.UnexpectedTracerError as error:
            result.append(str(error))

    def f(x):
        thread = threading.Thread(target=work, args=(x,))
        thread.start()
        thread.join()
        return x

    pb.jit(f)(1.0)
    assert "thread" in result[0]


# ---- control flow


def test_carries_that_change():
    with raises(TypeError, "scan", "['b']: expected f32[], got i32[]", ".astype()"):
        lax.scan(lambda c, x: ({"a": c["a"], "b": c["b"].astype("int32")}, x), {"a": 0.0, "b": np.float32(1)}, W)
    with raises(TypeError, "scan", "expected f32[3], got f32[2]"):
        lax.scan(lambda c, x: (c[:2], x), W, W)
    with raises(TypeError, "scan", "expected"):
        lax.scan(lambda c, x: ((c, c), x), 1.0, W)
    with raises(TypeError, "while_loop", "[1]: expected f32[], got i32[]"):
        lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1].astype("int32")), (0, 1.0))
    with raises(TypeError, "while_loop", "f32[]"):
        lax.while_loop(lambda c: c, lambda c: c, 1.0)
    with raises(TypeError, "scan", "pair"):
        lax.scan(lambda c, x: c, 1.0, W)


def test_weak_initial_values_are_not_truncated():
    with raises(TypeError, "expected f32[], got i32[]"):
        lax.scan(lambda c, x: (pnp.asarray(2), x), 1.5, W)
    total, _ = lax.scan(lambda c, x: (c + x, x), 0, W)
    assert float(total) == pytest.approx(W.sum())


def test_reverse_mode_through_while_loop():
    def fun(x):
        return lax.while_loop(lambda c: c < 3.0, lambda c: c * 2.0, x)

    with raises(ValueError, "reverse-mode differentiation", "while_loop", __file__, "fori_loop", "scan"):
        pb.grad(fun)(1.0)


# ---- operations


def test_shapes_and_dtypes():
    x = pnp.ones((2, 3))
    with raises(ValueError, "add: shapes (2, 3), (4,) do not broadcast together"):
        x + pnp.ones(4)
    with raises(TypeError, "dot", "(2, 3)"):
        pnp.dot(x, x)
    with raises(TypeError, "matmul", "(2, 3)"):
        x @ x
    with raises(ValueError, "reshape: cannot turn shape (2, 3) (6 elements) into (5,)"):
        x.reshape(5)
    with raises(ValueError, "concatenate", "(2, 3)", "(2, 2)"):
        pnp.concatenate([x, pnp.ones((2, 2))])
    with raises(TypeError, "concatenate", "one list: concatenate([x, y])"):
        pnp.concatenate(x, x)
    with raises(TypeError, "got 3", "one tuple, as in zeros((2, 3))"):
        pnp.zeros(2, 3)
    for y in (np.ones(2), pnp.ones(2)):
        with raises(TypeError, "expected a dtype", "one list, as in vstack([x, y])"):
            pnp.vstack(pnp.ones(2), y)
    with raises(IndexError, "(2, 3)", "3"):
        x[0, 0, 0]
    with raises(np.exceptions.AxisError, "sum", "2"):
        x.sum(axis=2)
    with raises(ValueError, "stack"):
        pnp.stack([x, pnp.ones(3)])
    with raises(ValueError, "transpose"):
        x.transpose(0, 0)
    with raises(TypeError, "dtype", "'nope'"):
        x.astype("nope")
    with raises(TypeError, "list", "asarray"):
        x + [1.0, 2.0, 3.0]
    with raises(TypeError, "sin", "'text'"):
        pnp.sin("text")
    with raises(ValueError, "(3,)", "(2,)"):
        x.at[0].set(pnp.ones(2))
    with raises(ValueError, "add: shapes (2, 3), (4,)"):
        pb.jit(lambda x: x + pnp.ones(4))(x)


def test_arrays():
    x = pnp.ones(3)
    with raises(ValueError, "ambiguous"):
        bool(x)
    with raises(TypeError, "unhashable type: 'Array'"):
        hash(x)
    with raises(TypeError, "immutable", ".at[i].set(y)"):
        x.__setitem__(0, 1.0)
    with raises(TypeError, "shape (3,)"):
        float(x)
    with raises(TypeError, "len"):
        len(pnp.ones(()))
    with raises(TypeError, "0-d"):
        list(pnp.ones(()))


def test_jit():
    with raises(TypeError, "static argument 's' must be hashable", "got [1] of type list", "tuple"):
        pb.jit(lambda x, s: x, static_argnums=1)(1.0, [1])
    with raises(
        TypeError, "jit of <lambda>: argument 'p', leaf ['a'][0]: expected an array or a number, got 'text' of type"
    ):
        pb.jit(lambda k, p: p, static_argnums=0)(3, {"a": ["text"]})
    with raises(TypeError, "jit of <lambda>: argument 'x': arrays cannot have dtype"):
        pb.jit(lambda x: x)(np.array(["a"]))
    with raises(OverflowError, "jit of <lambda>: argument 'x'", "enable_x64"):
        pb.jit(lambda x: x)(2**40)
    with raises(TypeError, "the leaf ['r'] is 'text' of type str"):
        pb.jit(lambda x: {"r": "text"})(1.0)
    with raises(TypeError, "jit: expected a function, got 'text'"):
        pb.jit("text")
    with raises(TypeError, "which has no data"):
        pb.jit(lambda x: x)(pb.ShapeDtypeStruct((), "float32"))
    with raises(TypeError, "y"):
        pb.jit(lambda x, y: x)(1.0)


# ---- tracebacks


def fails(x):
    return {}["missing"]


def catches_and_raises(x):
    try:
        return fails(x)
    except KeyError as error:
        raise ValueError("from the user") from error


def jit_of_vmap_of_grad(f):
    pb.jit(pb.vmap(pb.grad(f)))(W)


def jacfwd(f):
    pb.jacfwd(f)(W)


def hessian(f):
    pb.hessian(f)(W)


def while_loop(f):
    lax.while_loop(lambda c: c < 3, f, 1.0)


def eval_shape(f):
    pb.eval_shape(f, 1.0)


def linear_transpose(f):
    pb.linear_transpose(f, 1.0)(1.0)


def vjp(f):
    pb.vjp(f, 1.0)


def linearize(f):
    pb.linearize(f, 1.0)


def call_of_custom_jvp(f):
    custom_jvp(f)(1.0)


@pytest.mark.parametrize(
    "transform",
    [
        jit,
        grad,
        vmap,
        jit_of_vmap_of_grad,
        jacfwd,
        hessian,
        scan,
        cond,
        while_loop,
        eval_shape,
        linear_transpose,
        vjp,
        linearize,
        call_of_custom_jvp,
    ],
)
def test_the_users_exceptions_pass_unchanged(transform):
    with raises(KeyError) as info:
        transform(fails)
    assert str(info.value) == "'missing'"
    with raises(ValueError) as info:
        transform(catches_and_raises)
    assert str(info.value) == "from the user"
    assert float(pnp.sin(0.0) + pb.jit(lambda x: x + 1)(1.0)) == 2.0
    assert float(pb.grad(pnp.sin)(0.0)) == 1.0


def test_the_frames_can_be_seen():
    pb.config.update("traceback_filtering", "off")
    try:
        with pytest.raises(KeyError) as info:
            pb.jit(fails)(1.0)
        assert any(name.startswith(PACKAGE) for name in files(info.value))
    finally:
        pb.config.update("traceback_filtering", "auto")


def calls_compiled(x):
    return pb.jit(pb.jit(fails))(x)


@pytest.fixture
def filtering(request):
    pb.config.update("traceback_filtering", request.param)
    yield
    pb.config.update("traceback_filtering", "auto")


@pytest.mark.parametrize("filtering", ["tracebackhide"], indirect=True)
@pytest.mark.usefixtures("filtering")
def test_frames_can_be_marked_as_hidden():
    with pytest.raises(KeyError) as info:
        pb.grad(calls_compiled)(1.0)
    frames = [frame for frame, _ in traceback.walk_tb(info.value.__traceback__)]
    shown = [frame for frame in frames if "__tracebackhide__" not in frame.f_locals]
    assert any(frame.f_code.co_filename.startswith(PACKAGE) for frame in frames)
    assert [frame.f_code.co_name for frame in shown][-2:] == ["calls_compiled", "fails"]
    assert not any(frame.f_code.co_filename.startswith(PACKAGE) for frame in shown)


@pytest.mark.parametrize("filtering", ["remove_frames"], indirect=True)
@pytest.mark.usefixtures("filtering")
def test_the_cause_has_the_frames_that_were_removed():
    with pytest.raises(KeyError) as info:
        pb.grad(calls_compiled)(1.0)
    cause = info.value.__cause__
    assert type(cause) is errors_of_core.UnfilteredStackTrace
    assert cause.__cause__ is None
    shown = [frame for frame, _ in traceback.walk_tb(info.value.__traceback__)]
    whole = [frame for frame, _ in traceback.walk_tb(cause.__traceback__)]
    assert [frame.f_code.co_name for frame in shown][-2:] == ["calls_compiled", "fails"]
    assert not any(frame.f_code.co_filename.startswith(PACKAGE) for frame in shown)
    # in their order: those of all boundaries that the exception has passed, below the call of the outermost
    assert [frame for frame in whole if not frame.f_code.co_filename.startswith(PACKAGE)] == shown[1:]
    names = [frame.f_code.co_name for frame in whole]
    assert len(whole) > len(shown) + 2
    assert names.index("calls_compiled") < names.index("fails") == len(names) - 1


def raises_from_another(x):
    try:
        fails(x)
    except KeyError as error:
        raise ValueError("at last") from error


@pytest.mark.parametrize("filtering", ["remove_frames"], indirect=True)
@pytest.mark.usefixtures("filtering")
def test_the_users_cause_is_that_of_the_whole_traceback():
    with pytest.raises(ValueError, match="at last") as info:
        pb.jit(raises_from_another)(1.0)
    assert type(info.value.__cause__) is errors_of_core.UnfilteredStackTrace
    assert type(info.value.__cause__.__cause__) is KeyError


def test_a_user_may_catch_and_go_on():
    def f(x):
        with contextlib.suppress(TypeError, ValueError, errors.ConcretizationTypeError):
            float(x)
        with contextlib.suppress(ValueError):
            x + pnp.ones(3) + pnp.ones(2)
        with contextlib.suppress(TypeError):
            pb.grad(lambda y: (y, y))(x)
        return x * 2

    assert float(pb.grad(f)(1.0)) == 2.0
    assert float(pb.jit(f)(1.0)) == 2.0
    assert pb.vmap(f)(W).tolist() == (2 * W).tolist()


def test_keyboard_interrupts_leave_no_trace_behind():
    def interrupted(x):
        raise KeyboardInterrupt

    for transform in (pb.jit, pb.grad, pb.vmap):
        with pytest.raises(KeyboardInterrupt):
            transform(interrupted)(W)
        assert pnp.sin(0.0).tolist() == 0.0
