"""What the rules of a user's primitive return is checked: numbers and NumPy data are taken, all else is refused.

A rule of the tests is the right one but for what a test puts in its place.
"""

import functools
import os
import traceback

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import dtypes, errors, lax
from pullback.extend.core import Primitive, ShapedArray, Zero, instantiate, is_linear

f32 = np.float32
PACKAGE = os.path.dirname(pb.__file__) + os.sep
X = np.array([0.5, -1.0, 2.0], f32)
ELSEWHERE = ShapedArray((2,), "int32")
METHODS = {"kernel": "def_kernel", "impl": "def_impl", "type": "def_abstract_eval", "lowering": "def_lowering",
           "jvp": "def_jvp", "transpose": "def_transpose", "batch": "def_batch"}


def twice(**rules):
    """x + x, with some rules replaced, or left out where they are None."""
    p = Primitive("twice")
    right = {"kernel": lambda x: x + x, "type": lambda x: x,
             "lowering": lambda ctx, x: ctx.op("stablehlo.add", [x, x]),
             "jvp": lambda primals, tangents: (p.bind(*primals), p.bind(instantiate(tangents[0]))),
             "transpose": lambda ct, x: [p.bind(ct)],
             "batch": lambda operands, dims: (p.bind(*operands), dims[0])}
    for which, rule in {**right, **rules}.items():
        if rule is not None:
            getattr(p, METHODS[which])(rule)
    return p


def both(**rules):
    """(x + y, x - y), as `twice`."""
    p = Primitive("both", multiple_results=True)
    right = {"kernel": lambda x, y: [x + y, x - y], "type": lambda x, y: [x, x],
             "lowering": lambda ctx, x, y: [ctx.op("stablehlo.add", [x, y]), ctx.op("stablehlo.subtract", [x, y])],
             "jvp": lambda primals, tangents: (p.bind(*primals), p.bind(*map(instantiate, tangents))),
             "transpose": lambda cts, x, y: p.bind(*map(instantiate, cts)),
             "batch": lambda operands, dims: (p.bind(*operands), dims[0])}
    for which, rule in {**right, **rules}.items():
        if rule is not None:
            getattr(p, METHODS[which])(rule)
    return p


def refused(call, *parts, error=errors.RuleError):
    """The message holds the parts, and the traceback ends in this file (or in a cached property of Python's own)."""
    with pytest.raises(error) as info:
        call()
    for part in parts:
        assert part in str(info.value), str(info.value)
    files = [frame.filename for frame in traceback.extract_tb(info.value.__traceback__)]
    assert [name for name in files if name != functools.__file__][-1] == __file__
    assert not any(name.startswith(PACKAGE) for name in files)
    return str(info.value)


def total(p):
    return lambda *args: pnp.sum(p.bind(*args)[0] if p.multiple_results else p.bind(*args))


# ---- what is set


@pytest.mark.parametrize("method", METHODS.values())
@pytest.mark.parametrize("rule", [None, 3, "x"])
def test_rules_are_functions(method, rule):
    refused(lambda: getattr(Primitive("p"), method)(rule), f"{method} of the primitive 'p': expected a function, got "
            f"{rule!r}", error=TypeError)


@pytest.mark.parametrize("method", METHODS.values())
def test_the_decorators_return_what_they_decorate(method):
    def rule():
        pass

    assert getattr(Primitive("p"), method)(rule) is rule


@pytest.mark.parametrize("make", [twice, both])
def test_right_rules_pass(make):
    p = make()
    args = (X,) if make is twice else (X, X * 3)
    f = total(p)
    assert pb.grad(f)(*args).tolist() == [2.0 if make is twice else 1.0] * 3
    for g in (f, pb.grad(f)):
        eager, compiled, mapped = g(*args), pb.jit(g)(*args), pb.vmap(g)(*[np.stack([x, x]) for x in args])
        assert eager.tolist() == compiled.tolist() == mapped[1].tolist()


def test_messages_name_the_rule_its_place_and_the_primitive():
    def my_rule(primals, tangents):
        return None

    message = refused(lambda: pb.jvp(twice(jvp=my_rule).bind, (X,), (X,)))
    line = my_rule.__code__.co_firstlineno
    assert message.startswith(f"the jvp rule {my_rule.__qualname__.rsplit('.')[-1]} (defined at {__file__}:{line}) of "
                              "'twice' must return a pair (result, tangent of the result), got None of type NoneType")


def test_rules_that_are_no_plain_functions():
    class Rule:
        def __call__(self, primals, tangents):
            return None

    def typed(x, by):
        return None

    refused(lambda: pb.jvp(twice(jvp=Rule()).bind, (X,), (X,)), "the jvp rule Rule of 'twice'")
    refused(lambda: twice(type=functools.partial(typed, by=2)).bind(X), "the type rule typed (defined at")


def test_errors_inside_of_a_rule_end_in_the_rule():
    def broken(x):
        raise ZeroDivisionError("mine")

    for call in (lambda: twice(kernel=broken).bind(X), lambda: twice(impl=broken, kernel=None).bind(X),
                 lambda: pb.jit(twice(type=broken).bind)(X)):
        refused(call, "mine", error=ZeroDivisionError)


# ---- evaluation


def test_kernels_may_return_numbers():
    assert twice(kernel=lambda x: 2.0 * float(x)).bind(1.5).item() == 3
    out = twice(kernel=lambda x: np.float64(x) * 2, type=lambda x: ShapedArray((), f32)).bind(1.5)
    assert (out.dtype, out.weak_type, out.item()) == (f32, False, 3)
    out = twice(kernel=lambda x: 3, type=lambda x: ShapedArray((), "complex64")).bind(1.5)
    assert (out.dtype, out.item()) == (np.complex64, 3)
    assert twice(kernel=lambda x: pnp.asarray(x) * 2).bind(X).tolist() == (X * 2).tolist()
    assert [x.tolist() for x in both(kernel=lambda x, y: (x, y)).bind(X, X)] == [X.tolist()] * 2


def test_kernels_of_weak_operands():
    """A kernel gets no weak types, so its result is only compared where the typing rule can do without them."""
    def typing(x, y):
        if x.dtype != y.dtype and not y.weak_type:
            raise TypeError("the dtypes differ")
        return x

    p = Primitive("weak")
    p.def_kernel(lambda x, y: x + y.astype(x.dtype))
    p.def_abstract_eval(typing)
    assert p.bind(X.astype(np.float16), 1.0).dtype == np.float16


@pytest.mark.parametrize(("result", "got"), [
    (None, "got None of type NoneType"), ("x", "got 'x' of type str"), ([1.0], "got a list of length 1. A primitive"),
    (X[:2], "expected f32[3], got a NumPy array of dtype float32 and shape (2,)"),
    (X * 1j, "expected f32[3], got a NumPy array of dtype complex64"), (1.0, "expected f32[3]"),
    (np.array([None] * 3), "expected f32[3], got a NumPy array of dtype object"),
    (np.ma.masked_array(X, X > 0), "masked arrays are not supported"),
])
def test_what_a_kernel_may_not_return(result, got):
    refused(lambda: twice(kernel=lambda x: result).bind(X), "the kernel <lambda>", got)


def test_kernels_with_several_results():
    refused(lambda: both(kernel=lambda x, y: x + y).bind(X, X), "results in a list or a tuple", "got a NumPy array")
    refused(lambda: both(kernel=lambda x, y: [x]).bind(X, X), "must return 2 results, one for each result, got 1")
    refused(lambda: both(kernel=lambda x, y: [x, None]).bind(X, X), "got None")


def test_a_kernel_does_not_meet_tracers():
    refused(lambda: pb.grad(lambda z: pnp.sum(twice(kernel=lambda x: x * z).bind(X)))(2.0), "NumPy value", "def_impl")


def test_implementations_may_return_numbers_and_numpy():
    for value in (np.float32([1, 2, 3]), np.float64([1, 2, 3]), pnp.arange(3.0) + 1):
        p = twice(kernel=None, impl=lambda x, value=value: value)
        assert isinstance(p.bind(X), pb.Array)
        assert p.bind(X).tolist() == [1, 2, 3]
        assert pb.vmap(p.bind)(X).tolist() == [1, 2, 3]  # the batching rule calls it, on a concrete array
    typed = twice(kernel=None, impl=lambda x: 2, type=lambda x: ShapedArray((), np.float16)).bind(1.5)
    assert (typed.dtype, typed.weak_type, typed.item()) == (np.float16, False, 2)
    untyped = Primitive("untyped")
    untyped.def_impl(lambda x: np.asarray(x) * 2)
    untyped.def_batch(lambda operands, dims: (untyped.bind(*operands), dims[0]))
    assert pb.vmap(untyped.bind)(X).tolist() == (X * 2).tolist()
    several = both(kernel=None, impl=lambda x, y: (np.asarray(x), 1.0), type=lambda x, y: [x, ShapedArray((), f32)])
    assert [x.shape for x in several.bind(X, X)] == [(3,), ()]
    assert type(several.bind(X, X)) is list


def test_what_an_implementation_may_not_return():
    def of(result, **rules):
        return twice(kernel=None, impl=lambda x: result, **rules).bind

    refused(lambda: of(None)(X), "the implementation <lambda>", "an array or a number as the result, got None")
    refused(lambda: of("x", type=None)(X), "got 'x' of type str")
    refused(lambda: of(X[:2])(X), "expected f32[3], got f32[2]")
    refused(lambda: of(np.arange(3))(X), "expected f32[3], got i32[3]. Convert it with .astype")
    refused(lambda: of(2.5, type=lambda x: ShapedArray((), "int32"))(1), "expected i32[], got f32[]")
    refused(lambda: both(kernel=None, impl=lambda x, y: [x]).bind(X, X), "2 results, one for each result, got 1")


# ---- types


@pytest.mark.parametrize("result", [ShapedArray((2,), "int32"), pb.ShapeDtypeStruct((2,), "int32"),
                                    np.zeros(2, np.int32), pnp.zeros(2, "int32")])
def test_what_says_a_type(result):
    assert pb.eval_shape(twice(type=lambda x: result).bind, X) == pb.ShapeDtypeStruct((2,), "int32")
    assert pb.make_jaxpr(twice(type=lambda x: result).bind)(X).out_avals == [ELSEWHERE]
    assert pb.make_jaxpr(both(type=lambda x, y: (result, x)).bind)(X, X).out_avals[0] is ELSEWHERE


@pytest.mark.parametrize("where", [lambda f: f, pb.make_jaxpr, pb.grad], ids=["eager", "make_jaxpr", "grad"])
def test_what_says_no_type(where):
    for result, got in ((None, "such as ShapedArray(shape, dtype), got None"), ("x", "got 'x'"), (3.0, "got 3.0"),
                        ((2, 3), "got a tuple of length 2. A primitive"), (ShapedArray, "got <class"),
                        (np.array([None]), "arrays cannot have dtype object"),
                        (ShapedArray((), np.dtype("U3")), "arrays cannot have dtype")):
        refused(lambda result=result: where(twice(type=lambda x: result).bind)(1.0), "the type rule <lambda>", got)
    refused(lambda: where(both(type=lambda x, y: x).bind)(1.0, 2.0), "types in a list or a tuple")
    refused(lambda: where(both(type=lambda x, y: [x, None]).bind)(1.0, 2.0), "got None")


# ---- compilation


def test_what_a_lowering_may_not_return():
    def of(rule):
        return pb.jit(twice(lowering=rule).bind)

    refused(lambda: of(lambda ctx, x: None)(X), "the lowering rule <lambda>", "ctx.op(...) gives, of type f32[3]")
    refused(lambda: of(lambda ctx, x: "x")(X), "got 'x' of type str")
    refused(lambda: of(lambda ctx, x: 2.0)(X), "emitted with ctx.constant")
    refused(lambda: of(lambda ctx, x: [x])(X), "got a list of length 1")
    refused(lambda: of(lambda ctx, x: ctx.convert(x, np.dtype("int32")))(X), "expected f32[3], got i32[3]", "out_type")
    refused(lambda: twice(kernel=None, lowering=lambda ctx, x: None).bind(X), "the lowering rule")
    refused(lambda: pb.jit(both(lowering=lambda ctx, x, y: x).bind)(X, X), "values in a list or a tuple")
    refused(lambda: pb.jit(both(lowering=lambda ctx, x, y: [x]).bind)(X, X), "2 values, one for each result, got 1")


# ---- forward differentiation


def jvp_of(result, primal=X, **rules):
    p = twice(jvp=lambda primals, tangents: result(p.bind(*primals), tangents[0]), **rules)
    return pb.jvp(p.bind, (primal,), (primal,))


def test_results_and_tangents_may_be_numbers_and_numpy():
    for tangent in (2.0, np.float64(2), np.asarray(2, f32), 2):
        y, t = jvp_of(lambda out, _, tangent=tangent: (3.0, tangent), f32(1))
        assert (y.item(), t.item(), t.dtype) == (3, 2, f32)
    assert jvp_of(lambda out, t: (np.asarray(out), np.asarray(X)))[1].tolist() == X.tolist()
    assert jvp_of(lambda out, t: [out, 2], np.float16(1))[1].dtype == np.float16


def test_rules_get_arrays():
    seen = []
    p = twice(jvp=lambda primals, tangents: (seen.append(primals[0]), (p.bind(*primals), tangents[0]))[1])
    pb.jvp(lambda t: both(jvp=lambda xs, ts: (seen.extend(xs), (list(xs), [instantiate(t) for t in ts]))[1]).bind(
        t, 2.0)[0], (1.0,), (1.0,))
    assert [isinstance(x, pb.Array) for x in seen] == [True, True]


@pytest.mark.parametrize("zero", [lambda out: Zero.of(out.aval), lambda out: Zero.of(ShapedArray(out.shape, "int32"))])
def test_symbolic_zeros_are_taken(zero):
    assert jvp_of(lambda out, t: (out, zero(out)))[1].tolist() == [0] * 3
    p = twice(jvp=lambda primals, tangents: (p.bind(*primals), zero(primals[0])))
    assert pb.grad(total(p))(X).tolist() == pb.jit(pb.grad(total(p)))(X).tolist() == [0] * 3


@pytest.mark.parametrize("tangent", [lambda out: Zero.of(out.aval), lambda out: np.zeros(3, dtypes.float0),
                                     lambda out: instantiate(Zero.of(out.aval)), pnp.zeros_like])
def test_tangents_of_integers_vanish(tangent):
    rules = {"kernel": lambda x: x.astype(np.int32), "type": lambda x: ShapedArray(x.shape, "int32")}
    assert jvp_of(lambda out, _: (out, tangent(out)), **rules)[1].dtype == dtypes.float0


@pytest.mark.parametrize(("result", "got"), [
    (lambda out, t: None, "got None of type NoneType"), (lambda out, t: "xy", "got 'xy'"),
    (lambda out, t: out, "must return a pair (result, tangent of the result), got an array of type f32[3]"),
    (lambda out, t: (out, t, t), "got a tuple of length 3"),
    (lambda out, t: (out, None), "a tangent of type f32[3] for a result of type f32[3], got None. Use Zero.of"),
    (lambda out, t: (out, "x"), "as the tangent, got 'x'"), (lambda out, t: (None, t), "as the result, got None"),
    (lambda out, t: (out, t[:2]), "a tangent of the shape and dtype of its result: expected f32[3], got f32[2]"),
    (lambda out, t: (out, 2.0), "expected f32[3], got f32[]"),
    (lambda out, t: (out, np.arange(3)), "expected f32[3], got i32[3]"),
    (lambda out, t: (out, t * 1j), "expected f32[3], got c64[3]"),
    (lambda out, t: (out[:2], t[:2]), "a result of the type that the type rule says: expected f32[3], got f32[2]"),
    (lambda out, t: (out, Zero.of(ShapedArray((2,), f32))), "expected f32[3], got SymbolicZero(f32[2])"),
])
def test_what_a_jvp_rule_may_not_return(result, got):
    refused(lambda: jvp_of(result), "the jvp rule <lambda>", got)
    p = twice(jvp=lambda primals, tangents: result(p.bind(*primals), tangents[0]))
    refused(lambda: pb.grad(total(p))(X), "the jvp rule <lambda>", got)


def test_no_tangent_of_an_integer_is_refused_alike():
    rules = {"kernel": lambda x: x.astype(np.int32), "type": lambda x: ShapedArray(x.shape, "int32")}
    refused(lambda: jvp_of(lambda out, t: (out, None), **rules), "got None. Use Zero.of")
    refused(lambda: jvp_of(lambda out, t: (out, "x"), **rules), "got 'x'")


def test_jvp_rules_with_several_results():
    def of(result):
        p = both(jvp=lambda primals, tangents: result(p.bind(*primals), [instantiate(t) for t in tangents]))
        return lambda: pb.jvp(lambda x: p.bind(x, x), (X,), (X,))

    assert [t.tolist() for t in of(lambda outs, ts: (tuple(outs), [Zero.of(outs[0].aval), ts[0]]))()[1]] == [
        [0] * 3, X.tolist()]
    refused(of(lambda outs, ts: (outs, ts[0])), "tangents in a list or a tuple", "got an array of type f32[3]")
    refused(of(lambda outs, ts: (outs, ts[:1])), "must return 2 tangents, one for each result, got 1")
    refused(of(lambda outs, ts: (outs[:1], ts)), "must return 2 results, one for each result, got 1")
    refused(of(lambda outs, ts: (outs, [ts[0], ts[1][:2]])), "expected f32[3], got f32[2]")


@pytest.mark.parametrize("transform", [lambda f: pb.grad(f)(f32(2)), lambda f: pb.jit(pb.grad(f))(f32(2)),
                                       lambda f: pb.vmap(pb.grad(f))(X), lambda f: pb.grad(pb.grad(f))(f32(2)),
                                       lambda f: pb.linearize(f, f32(2)), lambda f: pb.grad(pb.jit(f))(f32(2))])
def test_a_tangent_depends_on_tangents_or_vanishes(transform):
    def of(tangent):
        p = twice(jvp=lambda primals, tangents: (p.bind(*primals), tangent(primals[0])))
        return lambda: transform(p.bind)

    for constant in (lambda x: 2.0, lambda x: x * x, pnp.ones_like):
        refused(of(constant), "does not depend on the tangents it got", "Zero.of(out.aval)")
    for zero in (lambda x: 0.0, pnp.zeros_like):
        of(zero)()


# ---- reverse differentiation


def times(transpose):
    """x * y of scalars, linear in each."""
    p = Primitive("times")
    p.def_kernel(lambda x, y: x * y)
    p.def_abstract_eval(lambda x, y: x)
    p.def_jvp(lambda primals, tangents: (p.bind(*primals), p.bind(instantiate(tangents[0]), primals[1])))
    p.def_transpose(transpose)
    return p.bind


def test_cotangents_may_be_numbers_numpy_none_and_zeros():
    for part, expected in ((3, 3), (3.0, 3), (np.float64(3), 3), (np.asarray(3, f32), 3), (None, 0),
                           (Zero.of(ShapedArray((), f32)), 0)):
        out = pb.grad(times(lambda ct, x, y, part=part: (part, None)))(f32(1), f32(2))
        assert (out.item(), out.dtype) == (expected, f32)


def test_cotangents_of_what_is_known_are_ignored():
    for part in (None, 3.0, X, Zero.of(ShapedArray((2,), f32))):
        assert pb.grad(times(lambda ct, x, y, part=part: [ct * y, part]), (0, 1))(1.0, 2.0)[1].item() == 0
    refused(lambda: pb.grad(times(lambda ct, x, y: [ct, "x"]))(1.0, 2.0), "the cotangent of operand 1, got 'x'")


@pytest.mark.parametrize(("result", "got"), [
    (lambda ct: None, "for each of 2 operands, got None of type NoneType. Return them in a list: [ct, None]"),
    (lambda ct: ct, "got an array of type f32[]"), (lambda ct: "xy", "got 'xy'"),
    (lambda ct: [ct], "for each of 2 operands, got 1"), (lambda ct: [ct] * 3, "for each of 2 operands, got 3"),
    (lambda ct: [pnp.ones(3), None],
     "a cotangent of operand 0 of the operand's shape and dtype: expected f32[], got f32[3]"),
    (lambda ct: ["x", None], "as the cotangent of operand 0, got 'x'"),
    (lambda ct: [np.int32(1), None], "expected f32[], got i32[]"), (lambda ct: [1j, None], "expected f32[], got c64[]"),
    (lambda ct: [Zero.of(ShapedArray((3,), f32)), None], "got SymbolicZero(f32[3])"),
])
def test_what_a_transpose_rule_may_not_return(result, got):
    f = times(lambda ct, x, y: result(ct))
    refused(lambda: pb.grad(f)(1.0, 2.0), "the transpose rule <lambda>", got)
    refused(lambda: pb.linear_transpose(lambda x: f(x, 2.0), 1.0)(1.0), "the transpose rule <lambda>", got)


def test_the_operands_that_are_linear_are_told():
    seen = []
    pb.grad(times(lambda ct, x, y: (seen.append((is_linear(x), is_linear(y))), [ct, None])[1]))(1.0, 2.0)
    assert seen == [(True, False)]


# ---- vectorization


def vmap_of(result, **rules):
    p = twice(batch=lambda operands, dims: result(p.bind(operands[0]), dims[0]), **rules)
    return pb.vmap(p.bind)


def test_batched_results_may_be_numpy_and_numbers():
    assert vmap_of(lambda out, d: (np.asarray(out), np.int64(d)))(X).tolist() == (X * 2).tolist()
    assert vmap_of(lambda out, d: [7.0, None])(X).tolist() == [7] * 3
    matrix = np.arange(6, dtype=f32).reshape(3, 2)
    assert vmap_of(lambda out, d: (out.T, -1))(matrix).tolist() == (2 * matrix).tolist()
    p = both(batch=lambda operands, dims: (tuple(map(np.asarray, p.bind(*operands))), [0, 0]))
    assert pb.vmap(p.bind)(X, X)[1].tolist() == [0] * 3


@pytest.mark.parametrize(("result", "got"), [
    (lambda out, d: None, "must return a pair (result, its batch axis), got None"),
    (lambda out, d: out, "got an array of type f32[3,2]"), (lambda out, d: "xy", "got 'xy'"),
    (lambda out, d: ("x", 0), "as the result, got 'x'"),
    (lambda out, d: (out, "x"), "the batch axis as an int, or None"),
    (lambda out, d: (out, 0.0), "got 0.0 of type float"), (lambda out, d: (out, [0]), "got a list of length 1"),
    (lambda out, d: (out, 2), "the batch axis 2, which is out of range for its result of type f32[3,2]"),
    (lambda out, d: (out, -3), "the batch axis -3"), (lambda out, d: (2.0, 0), "out of range"),
    (lambda out, d: (out[:1], 0), "the 3 examples of the batch along its batch axis: axis 0 of f32[1,2] has length 1"),
    (lambda out, d: (out, 1), "axis 1 of f32[3,2] has length 2"),
    (lambda out, d: (out, None), "result without batch axis of the type that the type rule says: expected f32[2]"),
    (lambda out, d: (out[:, :1], 0), "expected f32[3,2] with the batch axis 0, got f32[3,1]"),
])
def test_what_a_batching_rule_may_not_return(result, got):
    matrix = np.ones((3, 2), f32)
    refused(lambda: vmap_of(result)(matrix), "the batching rule <lambda>", got)


def test_a_batch_without_a_typing_rule_has_its_size():
    p = Primitive("untyped")
    p.def_impl(lambda x: x[:1])
    p.def_batch(lambda operands, dims: (p.bind(*operands), 0))
    refused(lambda: pb.vmap(p.bind)(X), "axis 0 of f32[1] has length 1")


def test_batching_rules_with_several_results():
    def of(result):
        p = both(batch=lambda operands, dims: result(p.bind(*operands)))
        return lambda: pb.vmap(p.bind)(X, X)

    refused(of(lambda outs: (outs[0], 0)), "results in a list or a tuple")
    refused(of(lambda outs: (outs, [0])), "must return 2 batch dims, one for each result, got 1")
    refused(of(lambda outs: (outs[:1], [0])), "must return 2 results, one for each result, got 1")
    refused(of(lambda outs: (outs, [0, 5])), "the batch axis 5")


def test_checks_hold_inside_of_loops_and_branches():
    bad = twice(jvp=lambda primals, tangents: (primals[0], tangents[0][:1])).bind
    for f in (lambda x: lax.scan(lambda c, _: (bad(c), None), x, None, length=2)[0],
              lambda x: lax.cond(x[0] > 0, bad, lambda x: x, x), pb.jit(bad), pb.checkpoint(bad)):
        refused(lambda f=f: pb.jvp(f, (X,), (X,)), "expected f32[3], got f32[1]")


@pytest.mark.parametrize("wrap", [lambda f: f, pb.jit], ids=["eager", "jit"])
def test_a_tangent_with_something_added_is_not_linear(wrap):
    p = twice(jvp=lambda primals, tangents: (p.bind(*primals), instantiate(tangents[0]) + 1.))
    with pytest.raises(errors.RuleError, match=r"jvp rule .* of 'twice' returned a tangent that is not linear .*'add'"):
        wrap(pb.grad(lambda x: p.bind(x).sum()))(X)
