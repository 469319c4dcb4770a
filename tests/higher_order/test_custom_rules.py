"""What custom rules offer beyond one rule for each mode: parts of rules, keywords, zeros, transposes, vmap rules."""

import re
import warnings
from functools import partial

import jax
import numpy as np
import pytest
from agreement import all_close
from jax import custom_batching as jax_batching
from jax import custom_derivatives as jax_derivatives

import pullback as pb
import pullback.numpy as pnp
from pullback import custom_jvp, custom_rules, custom_vjp, errors, grad, jit, jvp, lax, vjp, vmap
from pullback.core import check_jaxpr
from pullback.custom_batching import custom_vmap, sequential_vmap
from pullback.custom_derivatives import CustomVJPPrimal, SymbolicZero, linear_call, zero_from_primal

f32 = np.float32
X = np.array([0.3, -0.7, 1.1], f32)
WRAPPERS = [lambda f: f, jit, lambda f: lambda *a: lax.cond(True, f, f, *a),
            lambda f: lambda *a: lax.scan(lambda c, _: (c, f(*a)), 0.0, None, length=1)[1][0]]


# ---- rules that are lost at the next order


def line_of(rule):
    return rule.__code__.co_firstlineno


def without_calling(kind):
    f = custom_rules(lambda x: pnp.sin(x), jvp="transpose")

    def f_jvp(primals, tangents):
        return pnp.sin(primals[0]), pnp.cos(primals[0]) * tangents[0]

    def f_fwd(x):
        return pnp.sin(x), x

    if kind == "jvp":
        f.defjvp(f_jvp)
        return f, f_jvp
    f.defvjp(f_fwd, lambda x, g: (pnp.cos(x) * g,))
    return f, f_fwd


@pytest.mark.parametrize("kind", ["jvp", "fwd"])
@pytest.mark.parametrize("second", [
    lambda f: grad(grad(f)), pb.hessian, lambda f: jit(grad(grad(f))), lambda f: lambda x: vmap(pb.hessian(f))(x[None]),
    lambda f: grad(lambda x: jvp(f, (x,), (1.0,))[1]),
])
def test_rule_that_does_not_call_its_function_warns_at_second_order(kind, second):
    f, rule = without_calling(kind)
    with pytest.warns(errors.RuleOrderWarning) as caught:
        second(f)(pnp.float32(0.5))
    first = caught[0]
    assert (first.filename, first.lineno) == (__file__, line_of(rule))
    assert rule.__name__ in str(first.message)
    assert f"called at {__file__}" in str(first.message)


@pytest.mark.parametrize("kind", ["jvp", "fwd"])
def test_no_warning_at_first_order_nor_twice(kind):
    f, _ = without_calling(kind)
    grad(f)(0.5), jit(grad(f))(0.5), vmap(grad(f))(X), pb.jacfwd(f)(X)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            grad(grad(f))(0.5)
    assert len(caught) == 1


def test_no_warning_where_the_rule_calls_its_function():
    f = custom_rules(lambda x: pnp.sin(x))
    f.defjvp(lambda p, t: (f(*p), pnp.cos(p[0]) * t[0]))
    f.defvjp(lambda x: (f(x), x), lambda x, g: (pnp.cos(x) * g,))
    for call in (f, jit(f), lambda x: vmap(f)(x[None])[0]):
        for transform in (grad, pb.jacfwd):
            all_close(grad(transform(grad(call)))(f32(0.5)), -np.cos(f32(0.5)), 10)


# ---- keyword-only arguments


def scaled(calls=None):
    @custom_rules
    def f(x, *, scale=1.0, mode="soft"):
        return x * scale

    @f.defjvp
    def f_jvp(primals, tangents, *, scale, mode):
        return f(*primals, scale=scale, mode=mode), 10 * scale * tangents[0]

    f.defvjp(lambda x, *, scale, mode: (f(x, scale=scale, mode=mode), None),
             lambda _, g, *, scale, mode: ({"soft": 100.0, "hard": 1000.0}[mode] * scale * g,))
    return f


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_keyword_only_arguments_reach_every_rule_by_keyword(wrap):
    f = scaled()
    all_close(grad(wrap(lambda x: f(x, scale=2.0)))(f32(3)), f32(200))
    all_close(grad(wrap(lambda x: f(x, scale=2.0, mode="hard")))(f32(3)), f32(2000))
    all_close(grad(wrap(lambda x: f(x)))(f32(3)), f32(100))
    all_close(jvp(wrap(lambda x: f(x, scale=2.0)), (f32(3),), (f32(1),)), (f32(6), f32(20)))
    all_close(vmap(grad(wrap(lambda x: f(x, scale=2.0))))(X), np.full(3, 200, f32))


def test_grad_passes_keywords_on():
    f = scaled()
    all_close(grad(f)(f32(3), scale=2.0), f32(200))
    all_close(jit(grad(f), static_argnames="mode")(f32(3), scale=2.0, mode="hard"), f32(2000))


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_traced_keyword_arguments_are_differentiated_through_the_function(wrap):
    f = scaled()
    # the rule says nothing of scale: d/dscale is x
    all_close(grad(wrap(lambda x, s: f(x, scale=s)), (0, 1))(f32(3), f32(2)), (f32(200), f32(3)))
    all_close(vmap(grad(wrap(lambda x, s: f(x, scale=s)), (0, 1)))(X, 2 * X), (200 * X, X))


def test_rule_that_does_not_take_the_keywords_is_named():
    f = custom_jvp(lambda x, *, scale=1.0: x * scale)
    f.defjvp(lambda p, t: (p[0], t[0]))
    with pytest.raises(errors.RuleError, match=r"jvp rule .*keyword-only arguments.* scale.*unexpected keyword"):
        grad(f)(1.0, scale=2.0)


def test_nondiff_argnames():
    def f(x, kind, power):
        return x ** power

    for names, numbers in ((("kind", "power"), ()), ("kind", 2)):
        g = custom_jvp(f, nondiff_argnums=numbers, nondiff_argnames=names)
        assert sorted(g.nondiff_argnums) == [1, 2]
        g.defjvp(lambda *a, g=g: (g(a[-2][0], "k", 3), 5.0 * a[-1][0]))
        all_close(grad(g)(2.0, kind="k", power=3), f32(5))
    with pytest.raises(ValueError, match="no parameter 'other'"):
        custom_vjp(f, nondiff_argnames="other")


# ---- partial rules


def partial_rule(how):
    f = custom_rules(lambda x, y, z: x * y * z)
    if how == "jvp":
        f.defjvp(lambda p, t: (f(*p), 10 * t[0] * p[1] * p[2] + 10 * t[1] * p[0] * p[1]), argnums=(0, 2))
    elif how == "jvps":
        f.defjvps(lambda t, ans, x, y, z: 10 * t * y * z, ..., lambda t, ans, x, y, z: 10 * x * y * t)
    else:
        f.defvjp(lambda x, y, z: (f(x, y, z), (x, y, z)), lambda r, g: (10 * g * r[1] * r[2], 10 * g * r[0] * r[1]),
                 argnums=(0, 2))
    return f


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("how", ["jvp", "jvps", "vjp"])
def test_rule_for_some_arguments(how, wrap):
    f = partial_rule(how)
    all_close(grad(wrap(f), (0, 2))(2.0, 3.0, 5.0), (f32(150), f32(60)))
    with pytest.raises(errors.RuleNotDefinedError, match=r"no derivative with respect to argument 'y': .*'x', 'z'"):
        grad(wrap(f), 1)(2.0, 3.0, 5.0)
    with pytest.raises(errors.RuleNotDefinedError, match="argument 'y'"):
        vmap(grad(wrap(f), (0, 1)))(X, X, X)
    all_close(grad(lambda y: wrap(f)(2.0, lax.stop_gradient(y), 5.0) + y)(3.0), f32(1))


def test_partial_rule_with_the_wrong_number_of_cotangents():
    f = custom_vjp(lambda x, y: x)
    f.defvjp(lambda x, y: (x, None), lambda _, g: (g, g), argnums=0)
    with pytest.raises(errors.RuleError, match="each of the 1 arguments that the rule covers, got 2"):
        grad(f)(1.0, 2.0)


def test_partial_rule_of_an_argument_that_is_not_differentiable():
    f = custom_vjp(lambda k, x: x, nondiff_argnums=0)
    f.defvjp(lambda k, x: (x, None), lambda k, _, g: (g,), argnums=0)
    with pytest.raises(ValueError, match=r"argnums=\(0,\).*'k'.*nondiff_argnums"):
        grad(f, 1)("k", 2.0)


# ---- what an error names


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_errors_name_rule_definition_call_leaf_expected_and_got(wrap):
    f = custom_vjp(lambda params: params["w"] * 2)
    f.defvjp(lambda params: (f(params), None), lambda _, g: ({"w": pnp.zeros(7)},))

    def user(w):
        return f({"w": w}).sum()

    with pytest.raises(errors.RuleError) as caught:
        grad(wrap(user))(X)
    message = str(caught.value)
    call = user.__code__.co_firstlineno + 1
    definition = f.bwd_rule.__code__.co_firstlineno
    for part in (f"defined at {__file__}:{definition}", f"called at {__file__}:{call}", "['w']", "f32[3]", "f32[7]",
                 "bwd rule"):
        assert part in message


# ---- symbolic zeros


def reporting(lib, derivatives, seen):
    f = lib.custom_jvp(lambda x, y: x * y)

    def rule(primals, tangents):
        zero = derivatives.SymbolicZero
        seen.append([type(t) is zero for t in tangents])
        x, y = primals
        tx, ty = [0 * p if type(t) is zero else t for p, t in zip(primals, tangents, strict=True)]
        return f(x, y), 10 * (tx * y + x * ty)

    f.defjvp(rule, symbolic_zeros=True)
    return f


@pytest.mark.parametrize("transform", [
    lambda lib, f: lambda: lib.jvp(lambda x: f(x, 2.0), (3.0,), (1.0,)),
    lambda lib, f: lambda: lib.grad(f, 1)(3.0, 2.0),
    lambda lib, f: lambda: lib.vmap(lib.grad(f), (0, None))(X, 2.0),
    lambda lib, f: lambda: lib.grad(lambda x: f(x, x))(3.0),
    lambda lib, f: lambda: lib.jit(lib.grad(f))(3.0, 2.0),
])
def test_symbolic_zeros_of_a_jvp_rule_as_in_jax(transform):
    mine, theirs = [], []
    got = transform(pb, reporting(pb, pb.custom_derivatives, mine))()
    expected = transform(jax, reporting(jax, jax_derivatives, theirs))()
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    assert mine == theirs


def test_symbolic_zeros_may_be_returned():
    f = custom_jvp(lambda x, n: (x, n))
    f.defjvp(lambda p, t: (f(*p), tuple(t)), symbolic_zeros=True)
    outs, touts = jvp(f, (X, np.arange(3)), (X, np.zeros(3, jax.dtypes.float0)))
    all_close(outs, (X, np.arange(3, dtype="int32")))
    assert touts[1].dtype == jax.dtypes.float0
    g = custom_jvp(lambda x: x)
    g.defjvp(lambda p, t: (g(*p), SymbolicZero(pnp.zeros(7).aval)))
    with pytest.raises(errors.RuleError, match=r"expected f32\[3\], got SymbolicZero\(f32\[7\]\)"):
        jvp(g, (X,), (X,))


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_symbolic_zeros_of_a_vjp_rule(wrap):
    seen = []
    f = custom_vjp(lambda a, b: (a["u"] * b, a["v"] + b))

    def fwd(a, b):
        assert all(isinstance(p, CustomVJPPrimal) for p in (a["u"], a["v"], b))
        seen.append((a["u"].perturbed, a["v"].perturbed, b.perturbed))
        return f({k: p.value for k, p in a.items()}, b.value), (a["u"].value, b.value)

    def bwd(res, cts):
        seen.append(tuple(type(ct) is SymbolicZero for ct in cts))
        first, second = [0.0 if type(ct) is SymbolicZero else ct for ct in cts]
        return {"u": first * res[1], "v": second + 0 * res[1]}, first * res[0] + second

    f.defvjp(fwd, bwd, symbolic_zeros=True)
    out = grad(wrap(lambda u: f({"u": u, "v": 5.0}, 2.0)[0]))(3.0)
    all_close(out, f32(2))
    assert seen[0] == (True, False, False)
    if wrap is WRAPPERS[0]:
        assert seen[1] == (False, True)
    all_close(vmap(grad(wrap(lambda b: f({"u": 3.0, "v": 5.0}, b)[1])))(X), np.ones(3, f32))


def test_a_whole_primal_as_residual_is_refused():
    f = custom_vjp(lambda x: x)
    f.defvjp(lambda x: (x.value, x), lambda r, g: (g,), symbolic_zeros=True)
    with pytest.raises(errors.RuleError, match=r"CustomVJPPrimal; save its \.value"):
        grad(f)(1.0)


def test_zero_from_primal():
    for x in (X, 3.0, np.arange(3), True, np.ones(2, np.complex64)):
        got, expected = zero_from_primal(x), jax_derivatives.zero_from_primal(x)
        assert np.shape(got) == np.shape(expected)
        assert got.dtype == expected.dtype
        assert not np.any(np.asarray(got).astype(bool))
        symbolic = zero_from_primal(x, symbolic_zeros=True)
        assert isinstance(symbolic, SymbolicZero)
        assert (symbolic.shape, symbolic.dtype) == (np.shape(expected), expected.dtype)


# ---- linear functions with their own transpose


def convolve(calls):
    f = custom_rules(lambda kernel, x: pnp.convolve(x, kernel, "full"))

    @partial(f.deftranspose, linear_argnums=1)
    def transpose(others, ct):
        calls.append("transpose")
        return (pnp.correlate(ct, others[0], "valid"),)

    return f


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_transpose_alone_gives_both_modes_and_any_order(wrap):
    calls = []
    f, kernel = convolve(calls), np.array([1, 2, -1], f32)
    plain = lambda x: pnp.convolve(x, kernel, "full")  # noqa: E731
    loss = lambda g: lambda x: (g(x) ** 3).sum()  # noqa: E731
    g = wrap(lambda x: f(kernel, x))
    all_close(grad(loss(g))(X), grad(loss(plain))(X), 20)
    assert calls
    all_close(jvp(g, (X,), (X,)), jvp(plain, (X,), (X,)), 20)
    expected = pb.hessian(loss(plain))(X)
    for outer in (pb.jacfwd, pb.jacrev):
        for inner in (pb.jacfwd, pb.jacrev):
            all_close(outer(inner(loss(g)))(X), expected, 50)
    all_close(vmap(grad(loss(g)))(np.stack([X, 2 * X])), vmap(grad(loss(plain)))(np.stack([X, 2 * X])), 20)
    check_jaxpr(pb.make_jaxpr(grad(loss(g)))(X))


def test_transpose_covers_the_linear_arguments():
    with pytest.raises(errors.RuleNotDefinedError, match="argument 'kernel'"):
        grad(lambda k: convolve([])(k, X).sum())(np.ones(3, f32))


def test_transpose_of_a_transpose_is_the_function():
    def once(lib, call):
        def f(x):
            return call(lambda _, x: 2.0 * x, lambda _, ct: 7.0 * ct, (), x)

        def transpose(g):
            return lambda y: lib.linear_transpose(g, 1.0)(y)[0]

        return [transpose(f)(1.0), transpose(transpose(f))(1.0), transpose(transpose(transpose(f)))(1.0),
                lib.jit(transpose(transpose(f)))(1.0), lib.grad(f)(1.0), lib.vmap(lib.grad(f))(X)]

    got = once(pb, linear_call)
    assert [float(v) for v in got[:5]] == [7, 2, 7, 2, 7]
    all_close(got[0], once_jax := jax.linear_transpose(
        lambda x: jax_derivatives.linear_call(lambda _, x: 2.0 * x, lambda _, ct: 7.0 * ct, (), x), 1.0)(1.0)[0])
    assert once_jax == 7


def test_linear_call_with_residuals():
    def f(x, r):
        return linear_call(lambda r, x: x / r["d"], lambda r, ct: ct / r["d"], {"d": r}, x)

    all_close(jit(f)(9.0, 3.0), f32(3))
    all_close(grad(f)(9.0, 4.0), f32(0.25))
    with pytest.raises(errors.RuleNotDefinedError, match="'r'"):
        grad(f, 1)(9.0, 4.0)


def test_linear_function_in_a_jvp_rule():
    calls = []
    double = custom_rules(lambda x: 2.0 * x)
    double.deftranspose(lambda _, ct: (calls.append(1) or 2.0 * ct,))
    f = custom_jvp(pnp.sin)
    f.defjvp(lambda p, t: (f(*p), double(pnp.cos(p[0]) * t[0])))
    all_close(grad(f)(0.5), f32(2 * np.cos(0.5)), 10)
    assert calls


# ---- vmap rules


def tagged():
    """The batched function is ten times the function, so that a lost rule shows."""
    f = custom_vmap(lambda x, y: x * y)

    @f.def_vmap
    def rule(axis_size, in_batched, x, y):
        assert isinstance(in_batched, list)
        return 10 * x * y, in_batched[0] or in_batched[1]

    return f


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_vmap_rule(wrap):
    f = wrap(tagged())
    all_close(f(pnp.float32(2), pnp.float32(3)), f32(6))
    all_close(vmap(f)(X, X), 10 * X * X)
    all_close(vmap(f, (0, None))(X, 2.0), 20 * X)
    all_close(vmap(f, (None, 0), out_axes=0)(2.0, X), 20 * X)
    all_close(jit(vmap(f))(X, X), 10 * X * X)
    all_close(vmap(f, 1, 1)(np.stack([X, X], 1), np.stack([X, X], 1)), 10 * np.stack([X * X] * 2, 1))
    # the rule is an ordinary function to a second vmap
    all_close(vmap(vmap(f))(np.stack([X, X]), np.stack([X, X])), 10 * np.stack([X * X] * 2))
    # forward mode keeps the rule, whatever comes first
    all_close(vmap(lambda x: jvp(lambda v: f(v, 2.0), (x,), (1.0,))[1])(X), np.full(3, 20, f32))
    all_close(jvp(vmap(f), (X, X), (X, X))[1], 20 * X * X)
    all_close(grad(lambda x: vmap(f)(x, x).sum())(X), 20 * X)
    # reverse mode inside of vmap is that of the function
    all_close(vmap(grad(f))(X, X), X)


def test_vmap_rule_beside_derivative_rules():
    f = custom_rules(lambda x: x * x)
    f.defvmap(lambda n, batched, x: (10 * x * x, batched[0]))
    f.defvjp(lambda x: (f(x), x), lambda x, g: (100 * x * g,))
    all_close(vmap(f)(X), 10 * X * X)
    all_close(grad(f)(3.0), f32(300))
    all_close(vmap(grad(f))(X), 100 * X)
    all_close(grad(lambda x: vmap(f)(x).sum())(X), 100 * X)


def test_vmap_rule_with_pytrees_and_flags_as_in_jax():
    def make(lib, batching):
        f = batching.custom_vmap(lambda t, s: {"sum": t["a"] + t["b"], "s": s})

        @f.def_vmap
        def rule(axis_size, in_batched, t, s):
            assert in_batched[0] == {"a": True, "b": False}, in_batched
            return {"sum": t["a"] + t["b"] + axis_size, "s": s}, {"sum": True, "s": in_batched[1]}

        return lib.vmap(lambda a: f({"a": a, "b": f32(2)}, f32(3)))(X)

    all_close(make(pb, pb.custom_batching), make(jax, jax_batching), 10)


def test_vmap_rule_that_breaks_its_contract():
    def refused(rule, match):
        f = custom_vmap(lambda x: (x, x))
        f.def_vmap(rule)
        with pytest.raises(errors.RuleError, match=match):
            vmap(f)(X)

    refused(lambda n, b, x: x, r"vmap rule .*must return a pair \(out, out_batched\)")
    refused(lambda n, b, x: ((x, x[0]), (True, True)), r"\[1\] is marked as batched, .* length 3, got f32\[\]")
    refused(lambda n, b, x: ((x, x), (True,)), r"out_batched, a bool for each leaf")


def test_sequential_vmap():
    shapes = []

    @sequential_vmap
    def f(x, y):
        shapes.append(x.shape)
        return x.sum() * y

    x = np.stack([X, 2 * X])
    all_close(vmap(f, (0, None))(x, 2.0), 2 * x.sum(1), 10)
    assert set(shapes) == {(3,)}
    all_close(vmap(lambda a: jvp(lambda v: f(v, 2.0), (a,), (a,))[1])(x), 2 * x.sum(1), 10)
    all_close(grad(lambda a: vmap(f, (0, None))(a, 2.0).sum())(x), np.full((2, 3), 2, f32))


# ---- other forms


@pytest.mark.parametrize("wrap", [lambda f: f, jit])
def test_custom_gradient_as_in_jax(wrap):
    def make(lib, numpy):
        def f(x, y):
            s = numpy.sin(x)
            return s * y, lambda ct: (10 * ct * numpy.cos(x) * y, 100 * ct * s)

        return lib.custom_gradient(f)

    mine, theirs = make(pb, pnp), make(jax, jax.numpy)
    for transform in (lambda lib, f: lib.grad(f, (0, 1)), lambda lib, f: lib.vmap(lib.grad(f, 1)),
                      lambda lib, f: lib.value_and_grad(f)):
        args = (X, X) if "vmap" in transform.__code__.co_names else (f32(0.3), f32(0.7))
        all_close(transform(pb, wrap(mine))(*args), transform(jax, theirs)(*args), 10)
    all_close(grad(wrap(pb.custom_gradient(lambda x: (x ** 2, lambda ct: ct * x))))(3.0), f32(3))
    # the rule holds at the next order too
    square = pb.custom_gradient(lambda x: (x ** 2, lambda ct: ct * 10 * x))
    all_close(grad(lambda x: grad(lambda v: square(v) ** 2)(x))(2.0), f32(2 * (10 * 2) ** 2 + 2 * 4 * 10))
    with pytest.raises(errors.RuleError, match=r"must return a pair \(value, rule\)"):
        pb.custom_gradient(lambda x: x)(1.0)


def test_closure_convert():
    def f(a, k):
        converted, values = pb.closure_convert(lambda t: {"out": a * t["x"] + k}, {"x": 1.0})
        assert len(values) == 1
        return converted({"x": 3.0}, *values)["out"]

    all_close(grad(f)(2.0, 5), f32(3))
    all_close(jit(f)(2.0, 5), f32(11))
    converted, values = pb.closure_convert(pnp.sin, 1.0)
    assert values == []
    with pytest.raises(TypeError, match="structure they were converted for"):
        converted({"x": 1.0})


# ---- logs of the backward pass


def logged(name="norm"):
    f = custom_vjp(lambda x: 2 * x)
    f.defvjp_with_logs(lambda x: (f(x), x), lambda x, g: ((10 * g,), {name: {"ct": g, "x": [x]}}))
    return f


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_logs_of_the_backward_pass(wrap):
    f = wrap(logged())
    f_vjp = vjp(lambda x: f(3 * x), f32(1))[1]
    all_close(f_vjp(f32(1)), (f32(30),))
    cts, logs = f_vjp.with_logs(f32(1))
    stacked = wrap is WRAPPERS[3]
    all_close(cts, (f32(30),))
    expected = {"norm": {"ct": f32(1), "x": [f32(3)]}}
    all_close(logs, pb.tree.map(lambda v: v[None], expected) if stacked else expected)
    all_close(jit(lambda x: vjp(lambda x: f(3 * x), x)[1].with_logs(f32(1))[1])(f32(1)), logs)
    assert "tap" not in str(pb.make_jaxpr(grad(f))(1.0))


def test_logs_with_one_name_are_refused():
    f, g = logged("same"), logged("same")
    _, f_vjp = vjp(lambda x: f(g(x)), 1.0)
    with pytest.raises(ValueError, match="several values are logged as 'same'"):
        f_vjp.with_logs(1.0)
    h = custom_vjp(lambda x: x)
    h.defvjp_with_logs(lambda x: (h(x), None), lambda _, g: (g,))
    with pytest.raises(errors.RuleError, match=r"defvjp_with_logs, must return a pair \(cotangents, logs\)"):
        grad(h)(1.0)
    h.defvjp_with_logs(lambda x: (h(x), None), lambda _, g: ((g,), None))
    assert vjp(h, 1.0)[1].with_logs(1.0)[1] == {}


# ---- what a rule costs


def test_differentiating_one_of_three_arguments_keeps_the_residuals_of_one():
    f = custom_vjp(lambda x, y, z: x * pnp.sin(y) * pnp.exp(z))
    f.defvjp(lambda x, y, z: (f(x, y, z), (pnp.sin(y) * pnp.exp(z), x * pnp.cos(y), pnp.tanh(z))),
             lambda res, g: (g * res[0], g * res[1], g * res[2]))
    for call in (f, jit(f), lambda *a: lax.cond(True, f, f, *a),
                 lambda *a: lax.scan(lambda c, _: (c + f(*a), None), 0.0, None, length=3)[0]):

        def by_vjp(x, y, z, call=call):
            return vjp(lambda v: call(v, y, z), x)[1](1.0)

        for transform in (grad(call), jit(grad(call)), grad(jit(call)), by_vjp):
            text = str(pb.make_jaxpr(transform)(1.0, 2.0, 3.0))
            check_jaxpr(pb.make_jaxpr(transform)(1.0, 2.0, 3.0))
            assert not re.search(r"\b(cos|tanh)\b", text), text
        assert re.search(r"\bcos\b", str(pb.make_jaxpr(grad(call, 1))(1.0, 2.0, 3.0)))
        assert not re.search(r"\btanh\b", str(pb.make_jaxpr(grad(call, (0, 1)))(1.0, 2.0, 3.0)))


def test_grad_of_cond_traces_a_function_once():
    counts = {"f": 0}

    def f(x):
        counts["f"] += 1
        return pnp.sin(x)

    grad(lambda x: lax.cond(x > 0, f, lambda v: v, x))(1.0)
    assert counts["f"] == 1
    with pb.debug.counters() as seen:
        grad(lambda x: lax.cond(x > 0, f, lambda v: v, x))(1.0)
    assert seen["traces"] == 2  # one for each branch


def test_rules_are_not_asked_where_nothing_is_differentiated():
    f = custom_rules(pnp.sin)
    f.defjvp(lambda p, t: (f(*p), t[0]))
    f.defvjp(lambda x: (f(x), None), lambda _, g: (g,))
    with pb.debug.counters() as seen:
        f(1.0), jit(f)(1.0), vmap(f)(X), pb.make_jaxpr(f)(1.0), lax.cond(True, f, f, 1.0)
    assert seen["rules"] == 0
    with pb.debug.counters() as seen:
        grad(f)(1.0)
    assert seen["rules"] == 2  # fwd and bwd


def test_a_batching_rule_does_not_make_a_constant_a_tangent():
    """In a compiled function with a rule by jvp: what is added to the constant is no sum beside a tangent."""
    def constant(x):
        return pnp.full((3,), .5)

    batched = pb.custom_batching.custom_vmap(constant)
    batched.def_vmap(lambda size, moved, x: (pnp.full((size, 3), .5), True))

    def shifted(x):
        return x, 2 + pnp.tanh(batched(x))

    ruled = pb.custom_jvp(shifted)
    ruled.defjvp(lambda primals, tangents: pb.jvp(shifted, primals, tangents))
    outer = pb.custom_jvp(lambda h, x: h(x), nondiff_argnums=(0,))
    outer.defjvp(lambda h, primals, tangents: pb.jvp(h, primals, tangents))
    compiled = pb.jit(ruled)
    assert pb.grad(lambda x: outer(lambda a: compiled(a)[1].sum(), x))(1.) == 0
    assert pb.grad(lambda x: outer(lambda a: compiled(a)[0], x))(1.) == 1
