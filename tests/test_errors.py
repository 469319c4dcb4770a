"""What wrong input gets: messages with the function, the argument, expected, got, the way out; tracebacks."""

import contextlib
import threading
import traceback

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, custom_vjp, errors, lax

W = np.linspace(.5, 1., 3, dtype=np.float32)
PACKAGE = str(pb.__file__).rsplit("/", 1)[0] + "/"


def frames(error):
    return [frame.filename for frame in traceback.extract_tb(error.__traceback__)]


def chain(error):
    """The exceptions that a printed traceback would show, from the last to the first."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def caught(call, kind):
    """The error of a call, after checking that no frame of the package is left in what would be printed."""
    with pytest.raises(kind) as info:
        call()
    assert type(info.value) is kind
    for error in chain(info.value):
        inside = [name for name in frames(error) if name.startswith(PACKAGE)]
        assert not inside, inside
    assert frames(info.value)[-1] == __file__
    return str(info.value)


def says(call, kind, *parts):
    text = caught(call, kind)
    for part in parts:
        assert part in text, text


# ---- custom rules


def test_a_rule_that_is_not_defined():
    @custom_jvp
    def f(x):
        return x

    @custom_vjp
    def g(x):
        return x

    says(lambda: pb.grad(f)(1.), errors.RuleNotDefinedError, "f", "defjvp")
    says(lambda: pb.jvp(f, (1.,), (1.,)), errors.RuleNotDefinedError, "f", "defjvp")
    says(lambda: pb.grad(g)(1.), errors.RuleNotDefinedError, "g", "defvjp")


def square(x):
    return x * x


def with_jvp(rule):
    f = custom_jvp(lambda x, y: (pnp.sin(x) * y, {"b": y}))
    f.defjvp(rule)
    return lambda: pb.jvp(f, (1., W), (1., W))


@pytest.mark.parametrize(("rule", "parts"), [
    (lambda p, t: 3., ["pair"]),
    (lambda p, t: (1., 2., 3.), ["pair"]),
    (lambda p, t: ((p[1], {"b": p[1]}), (p[1], {"c": p[1]})), ["'b'", "'c'"]),
    (lambda p, t: ((p[1], {"b": p[1]}), (p[1][:2], {"b": p[1]})), ["[0]", "expected f32[3], got f32[2]"]),
    (lambda p, t: ((p[1], {"b": p[1]}), (p[1], {"b": p[1].astype("float16")})),
     ["[1]['b']", "expected f32[3], got f16[3]"])],
    ids=["no pair", "triple", "structure", "shape", "dtype"])
def test_a_jvp_rule_that_breaks_its_contract(rule, parts):
    text = caught(with_jvp(rule), errors.RuleError)
    for part in (*parts, "jvp rule", "defined at " + __file__):
        assert part in text, text


def with_vjp(fwd, bwd):
    f = custom_vjp(lambda p, y: p["w"] * y)
    f.defvjp(fwd, bwd)
    return lambda: pb.grad(lambda p, y: f(p, y).sum(), argnums=(0, 1))({"w": 2., "v": W}, W)


def forward(p, y):
    return p["w"] * y, None


@pytest.mark.parametrize(("fwd", "bwd", "parts"), [
    (lambda p, y: p["w"] * y, lambda r, g: ({"w": 1., "v": W}, g), ["pair"]),
    (forward, lambda r, g: {"w": 1., "v": W}, ["tuple"]),
    (forward, lambda r, g: ({"w": 1., "v": W},), ["2", "1"]),
    (forward, lambda r, g: ({"w": 1.}, g), ["'p'", "'v'"]),
    (forward, lambda r, g: ({"w": W, "v": W}, g), ["argument 'p', leaf ['w']", "expected f32[], got f32[3]"]),
    (forward, lambda r, g: ({"w": 1., "v": W}, g[:2]), ["argument 'y'", "expected f32[3], got f32[2]"]),
    (forward, lambda r, g: ({"w": 1., "v": W}, "text"), ["'y'", "'text'"])],
    ids=["fwd no pair", "bwd no tuple", "bwd too short", "structure", "shape in a leaf", "shape", "no array"])
def test_a_vjp_rule_that_breaks_its_contract(fwd, bwd, parts):
    text = caught(with_vjp(fwd, bwd), errors.RuleError)
    for part in parts:
        assert part in text, text


def test_jvp_of_a_custom_vjp_function():
    f = custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x, None), lambda _, g: (g,))
    says(lambda: pb.jvp(f, (1.,), (1.,)), TypeError,
         "can't apply forward-mode autodiff (jvp) to a custom_vjp function.")


@pytest.mark.parametrize("around", [pb.grad, lambda f: pb.grad(pb.jit(f)), lambda f: pb.jit(pb.grad(f))],
                         ids=["grad", "grad of jit", "jit of grad"])
def test_a_rule_that_asks_for_itself(around):
    f, g = custom_jvp(square), custom_vjp(square)
    f.defjvp(lambda p, t: pb.jvp(f, p, t))
    g.defvjp(lambda x: pb.vjp(g, x), lambda pullback, ct: pullback(ct))
    says(lambda: around(f)(3.), errors.RuleError, "the jvp rule", "differentiates square", "without end")
    says(lambda: around(g)(3.), errors.RuleError, "the fwd rule", "differentiates square", "without end")


def test_a_function_that_is_deep_is_not_blamed_on_its_rule():
    f = custom_jvp(lambda x, n: x if n == 0 else f(x, n - 1))
    f.defjvp(lambda p, t: (f(*p), t[0]))
    says(lambda: pb.grad(lambda x: f(x, 10**5))(1.), RecursionError, "recursion")


def test_a_tangent_that_is_not_linear():
    f = custom_jvp(lambda x: x)
    f.defjvp(lambda p, t: (p[0], pnp.sin(t[0])))
    says(lambda: pb.grad(f)(1.), errors.RuleNotDefinedError, "'sin' has no transpose rule", "linear")
    g = custom_jvp(lambda x: x)
    g.defjvp(lambda p, t: (p[0], t[0] * t[0]))
    says(lambda: pb.grad(g)(1.), TypeError, "'mul' multiplies two tangents", "must be linear")


def test_a_tracer_in_nondiff_argnums():
    f = custom_vjp(lambda n, x: n * x, nondiff_argnums=(0,))
    f.defvjp(lambda n, x: (n * x, None), lambda n, _, g: (n * g,))
    assert float(pb.grad(f, argnums=1)(2., 3.)) == 2.
    text = caught(lambda: pb.grad(lambda n: f(n, 3.))(2.), errors.UnexpectedTracerError)
    assert "nondiff_argnums" in text
    assert "'n'" in text


# ---- tangents, cotangents, gradients


def test_tangents():
    def f(p, y):
        return p["a"] * y

    says(lambda: pb.jvp(f, ({"a": 1.}, W), ({"a": 1.}, W[:2])), ValueError,
         "jvp of f: the tangent of argument 'y': expected shape (3,), got (2,)")
    says(lambda: pb.jvp(f, ({"a": 1.}, W), ({"a": W.astype(np.float16)[0]}, W)), TypeError,
         "jvp of f: the tangent of argument 'p', leaf ['a']: expected dtype float32, got float16")
    says(lambda: pb.jvp(f, ({"a": 1.}, W), ({"b": 1.}, W)), TypeError,
         "jvp: primals and tangents must have one structure, at [0]: expected a dict with keys ['a'], got")
    says(lambda: pb.jvp(f, (1., 2.), (1.,)), TypeError,
         "expected a tuple of 2 children, got a tuple of 1 child")
    says(lambda: pb.jvp(f, 1., 1.), TypeError, "jvp: primals must be a tuple or a list", "got float")
    says(lambda: pb.jvp(lambda n: n, (1,), (1.,)), TypeError, "argument 'n'", "i32[]", "float0")


def test_cotangents():
    _, pullback = pb.vjp(lambda x: {"r": x}, W)
    says(lambda: pullback({"s": W}), TypeError,
         "the vjp of <lambda>: the cotangent must have the structure of the result")
    says(lambda: pullback({"r": 1.}), ValueError, "the cotangent at ['r']: expected shape (3,), got ()")
    says(lambda: pullback({"r": "text"}), TypeError, "the cotangent at ['r']: expected an array", "'text'")
    _, push = pb.linearize(lambda x: x, W)
    says(lambda: push(W[:2]), ValueError,
         "the linearized <lambda>: the tangent of argument 'x': expected shape (3,)")


def test_grad():
    says(lambda: pb.grad(lambda x: x)(W), TypeError,
         "grad: <lambda> must return a scalar (shape ()), got shape (3,)",
         "jacrev")
    says(lambda: pb.grad(lambda x: (x, x))(1.), TypeError, "must return a scalar", "has_aux=True")
    says(lambda: pb.grad(lambda x: 3)(1.), TypeError, "real floating-point number, got dtype int32")
    says(lambda: pb.grad(lambda x: x * 1j)(1.), TypeError, "got dtype complex64", "holomorphic=True")
    says(lambda: pb.grad(lambda x: "text")(1.), TypeError, "grad: <lambda> must return arrays",
         "'text' of type str")
    says(lambda: pb.grad(lambda p: p["n"] * 1.)({"n": 3}), TypeError,
         "grad of <lambda>: argument 'p', leaf ['n'] has dtype int32", "allow_int=True")
    says(lambda: pb.grad(lambda x, y: y, argnums=1)(1., "text"), TypeError,
         "grad of <lambda>: argument 'y': expected an array or a number, got 'text' of type str")
    says(lambda: pb.grad(lambda x: x, argnums=1)(1.), ValueError, "asks for positional argument 1",
         "1 positional argument")
    says(lambda: pb.grad(lambda x: x)(x=1.), ValueError, "0 positional arguments", "by position")
    says(lambda: pb.grad(lambda x: x, argnums="x"), TypeError,
         "grad: argnums must be an int or a sequence of ints, got 'x'")
    says(lambda: pb.grad(lambda x, y: x, argnums=(0, -2))(1., 2.), ValueError, "names an argument twice")
    says(lambda: pb.grad(3.), TypeError, "grad: expected a function, got 3.0 of type float")
    says(lambda: pb.grad(lambda x: x, has_aux=True)(1.), TypeError, "must return a pair (result, auxiliary)")
    says(lambda: pb.grad(lambda x: x)(pb.ShapeDtypeStruct((), "float32")), TypeError, "which has no data",
         "eval_shape")
    says(lambda: pb.grad(lambda x: x, holomorphic=True)(1.), TypeError, "expected a complex dtype", "'x'")


# ---- tracing


def test_concretization():
    says(lambda: pb.jit(lambda x: 1 if x > 0 else 2)(1.), errors.TracerBoolConversionError,
         "for jit", f"made by 'gt' at {__file__}", "lax.cond", "static_argnums")
    says(lambda: pb.jit(lambda n: list(range(n)))(3), errors.TracerIntegerConversionError, "argument 'n'",
         "static_argnums")
    says(lambda: pb.jit(lambda x: np.sin(x))(1.), errors.TracerArrayConversionError, "argument 'x'",
         "pullback.numpy")
    says(lambda: pb.jit(lambda p: float(p["a"]))({"a": 1.}), errors.ConcretizationTypeError,
         "argument 'p'['a']", "float()")
    says(lambda: pb.vmap(lambda x: x if x > 0 else -x)(W), errors.TracerBoolConversionError,
         "vmap of <lambda>")
    says(lambda: pb.jit(lambda n: pnp.zeros(n))(3), TypeError, "zeros", "concrete integers", "static")
    says(lambda: pb.jit(lambda x: x[x > 0])(W), errors.NonConcreteBooleanIndexError, "bool[3]", "where")
    says(lambda: pb.jit(lambda k, x: float(x), static_argnums=0)(3, 1.), errors.ConcretizationTypeError,
         "argument 'x'")


def leak(transform):
    held = []
    transform(lambda x: [held.append(x * 2), x][1])
    return held[0]


TRANSFORMATIONS = {"jit": lambda f: pb.jit(f)(1.), "grad": lambda f: pb.grad(f)(1.),
                   "vmap": lambda f: pb.vmap(f)(W),
                   "jvp": lambda f: pb.jvp(f, (1.,), (1.,)), "make_jaxpr": lambda f: pb.make_jaxpr(f)(1.),
                   "scan": lambda f: lax.scan(lambda c, x: (f(c), x), 1., W),
                   "cond": lambda f: pb.jit(lambda x: lax.cond(x > 0, f, lambda x: x, x))(1.)}


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_leaks_say_where_the_value_was_made(name):
    escaped = leak(TRANSFORMATIONS[name])
    uses = [lambda: escaped + 1, lambda: pb.jit(lambda y: y * escaped)(1.),
            lambda: pb.grad(lambda y: y * escaped)(1.),
            lambda: pb.vmap(lambda y: y * escaped)(W), lambda: pb.grad(lambda y: y)(escaped),
            lambda: pb.jit(lambda y: y)(escaped), lambda: float(escaped), lambda: np.asarray(escaped),
            lambda: bool(escaped)]
    for use in uses:
        says(use, errors.UnexpectedTracerError, "had ended", __file__, "leaked")
    assert name in repr(escaped) or name == "cond"


def test_a_generator_that_outlives_its_transformation():
    held = []

    def f(x):
        lazy = (x * i for i in range(3))
        next(lazy)
        held.append(lazy)
        return x

    pb.grad(f)(1.)
    says(lambda: next(held[0]), errors.UnexpectedTracerError, "grad of f", "had ended")


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

    pb.jit(f)(1.)
    assert "thread" in result[0]


# ---- control flow


def test_carries_that_change():
    says(lambda: lax.scan(lambda c, x: ({"a": c["a"], "b": c["b"].astype("int32")}, x),
                          {"a": 0., "b": np.float32(1)}, W),
         TypeError, "scan", "['b']: expected f32[], got i32[]", ".astype()")
    says(lambda: lax.scan(lambda c, x: (c[:2], x), W, W), TypeError, "scan", "expected f32[3], got f32[2]")
    says(lambda: lax.scan(lambda c, x: ((c, c), x), 1., W), TypeError, "scan", "expected")
    says(lambda: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1].astype("int32")), (0, 1.)),
         TypeError,
         "while_loop", "[1]: expected f32[], got i32[]")
    says(lambda: lax.while_loop(lambda c: c, lambda c: c, 1.), TypeError, "while_loop", "f32[]")
    says(lambda: lax.scan(lambda c, x: c, 1., W), TypeError, "scan", "pair")


def test_weak_initial_values_are_not_truncated():
    says(lambda: lax.scan(lambda c, x: (pnp.asarray(2), x), 1.5, W), TypeError, "expected f32[], got i32[]")
    total, _ = lax.scan(lambda c, x: (c + x, x), 0, W)
    assert float(total) == pytest.approx(W.sum())


def test_reverse_mode_through_while_loop():
    says(lambda: pb.grad(lambda x: lax.while_loop(lambda c: c < 3., lambda c: c * 2., x))(1.), ValueError,
         "reverse-mode differentiation", "while_loop", __file__, "fori_loop", "scan")


# ---- operations


def test_shapes_and_dtypes():
    x = pnp.ones((2, 3))
    says(lambda: x + pnp.ones(4), ValueError, "add: shapes (2, 3), (4,) do not broadcast together")
    says(lambda: pnp.dot(x, x), TypeError, "dot", "(2, 3)")
    says(lambda: x @ x, TypeError, "matmul", "(2, 3)")
    says(lambda: x.reshape(5), ValueError, "reshape: cannot turn shape (2, 3) (6 elements) into (5,)")
    says(lambda: pnp.concatenate([x, pnp.ones((2, 2))]), ValueError, "concatenate", "(2, 3)", "(2, 2)")
    says(lambda: x[0, 0, 0], IndexError, "(2, 3)", "3")
    says(lambda: x.sum(axis=2), ValueError, "sum", "2")
    says(lambda: pnp.stack([x, pnp.ones(3)]), ValueError, "stack")
    says(lambda: x.transpose(0, 0), ValueError, "transpose")
    says(lambda: x.astype("nope"), TypeError, "dtype", "'nope'")
    says(lambda: x + [1., 2., 3.], TypeError, "list", "asarray")
    says(lambda: pnp.sin("text"), TypeError, "sin", "'text'")
    says(lambda: x.at[0].set(pnp.ones(2)), ValueError, "(3,)", "(2,)")
    says(lambda: pb.jit(lambda x: x + pnp.ones(4))(x), ValueError, "add: shapes (2, 3), (4,)")


def test_arrays():
    x = pnp.ones(3)
    says(lambda: bool(x), ValueError, "ambiguous")
    says(lambda: hash(x), TypeError, "unhashable type: 'Array'")
    says(lambda: x.__setitem__(0, 1.), TypeError, "immutable", ".at[i].set(y)")
    says(lambda: float(x), TypeError, "shape (3,)")
    says(lambda: len(pnp.ones(())), TypeError, "len")
    says(lambda: list(pnp.ones(())), TypeError, "0-d")


def test_jit():
    says(lambda: pb.jit(lambda x, s: x, static_argnums=1)(1., [1]), TypeError,
         "static argument 's' must be hashable",
         "got [1] of type list", "tuple")
    says(lambda: pb.jit(lambda k, p: p, static_argnums=0)(3, {"a": ["text"]}), TypeError,
         "jit of <lambda>: argument 'p', leaf ['a'][0]: expected an array or a number, got 'text' of type")
    says(lambda: pb.jit(lambda x: x)(np.array(["a"])), TypeError,
         "jit of <lambda>: argument 'x': arrays cannot have dtype")
    says(lambda: pb.jit(lambda x: x)(2 ** 40), OverflowError, "jit of <lambda>: argument 'x'", "enable_x64")
    says(lambda: pb.jit(lambda x: {"r": "text"})(1.), TypeError, "the leaf ['r'] is 'text' of type str")
    says(lambda: pb.jit("text"), TypeError, "jit: expected a function, got 'text'")
    says(lambda: pb.jit(lambda x: x)(pb.ShapeDtypeStruct((), "float32")), TypeError, "which has no data")
    says(lambda: pb.jit(lambda x, y: x)(1.), TypeError, "y")


# ---- tracebacks


def fails(x):
    return {}["missing"]


def catches_and_raises(x):
    try:
        return fails(x)
    except KeyError as error:
        raise ValueError("from the user") from error


NESTS = {"jit": lambda f: pb.jit(f)(1.), "grad": lambda f: pb.grad(f)(1.), "vmap": lambda f: pb.vmap(f)(W),
         "jit of vmap of grad": lambda f: pb.jit(pb.vmap(pb.grad(f)))(W), "jacfwd": lambda f: pb.jacfwd(f)(W),
         "hessian": lambda f: pb.hessian(f)(W), "scan": lambda f: lax.scan(lambda c, x: (f(c), x), 1., W),
         "cond": lambda f: lax.cond(True, f, f, 1.),
         "while_loop": lambda f: lax.while_loop(lambda c: c < 3, f, 1.),
         "eval_shape": lambda f: pb.eval_shape(f, 1.),
         "linear_transpose": lambda f: pb.linear_transpose(f, 1.)(1.),
         "vjp": lambda f: pb.vjp(f, 1.), "linearize": lambda f: pb.linearize(f, 1.),
         "custom_jvp": lambda f: custom_jvp(f)(1.)}


@pytest.mark.parametrize("name", NESTS)
def test_the_users_exceptions_pass_unchanged(name):
    assert caught(lambda: NESTS[name](fails), KeyError) == "'missing'"
    assert caught(lambda: NESTS[name](catches_and_raises), ValueError) == "from the user"
    assert float(pnp.sin(0.) + pb.jit(lambda x: x + 1)(1.)) == 2.
    assert float(pb.grad(pnp.sin)(0.)) == 1.


def test_the_frames_can_be_seen():
    pb.config.update("traceback_filtering", "off")
    try:
        with pytest.raises(KeyError) as info:
            pb.jit(fails)(1.)
        assert any(name.startswith(PACKAGE) for name in frames(info.value))
    finally:
        pb.config.update("traceback_filtering", "auto")


def test_a_user_may_catch_and_go_on():
    def f(x):
        with contextlib.suppress(TypeError, ValueError, errors.ConcretizationTypeError):
            float(x)
        with contextlib.suppress(ValueError):
            x + pnp.ones(3) + pnp.ones(2)
        with contextlib.suppress(TypeError):
            pb.grad(lambda y: (y, y))(x)
        return x * 2

    assert float(pb.grad(f)(1.)) == 2.
    assert float(pb.jit(f)(1.)) == 2.
    assert pb.vmap(f)(W).tolist() == (2 * W).tolist()


def test_keyboard_interrupts_leave_no_trace_behind():
    def interrupted(x):
        raise KeyboardInterrupt

    for transform in (pb.jit, pb.grad, pb.vmap):
        with pytest.raises(KeyboardInterrupt):
            transform(interrupted)(W)
        assert pnp.sin(0.).tolist() == 0.
