"""What the rules of a user's primitive return is checked: numbers and NumPy data are taken, all else is refused.

Here the rules that say what a primitive computes; test_primitive_derivatives.py has the others.
"""

import functools

import numpy as np
import pytest
from primitives import METHODS, both, refused, total, twice
from wrappers import eager

import pullback as pb
import pullback.numpy as pnp
from pullback.extend.core import Primitive, ShapedArray

f32 = np.float32
X = np.array([0.5, -1.0, 2.0], f32)
ELSEWHERE = ShapedArray((2,), "int32")


# ---- what is set


@pytest.mark.parametrize("method", METHODS.values())
@pytest.mark.parametrize("rule", [None, 3, "x"])
def test_rules_are_functions(method, rule):
    with refused(f"{method} of the primitive 'p': expected a function, got {rule!r}", error=TypeError):
        getattr(Primitive("p"), method)(rule)


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
        plain, compiled, mapped = g(*args), pb.jit(g)(*args), pb.vmap(g)(*[np.stack([x, x]) for x in args])
        assert plain.tolist() == compiled.tolist() == mapped[1].tolist()


def test_messages_name_the_rule_its_place_and_the_primitive():
    def my_rule(primals, tangents):
        return None

    with refused() as info:
        pb.jvp(twice(jvp=my_rule).bind, (X,), (X,))
    line = my_rule.__code__.co_firstlineno
    assert str(info.value).startswith(
        f"the jvp rule {my_rule.__qualname__.rsplit('.')[-1]} (defined at {__file__}:{line}) of "
        "'twice' must return a pair (result, tangent of the result), got None of type NoneType"
    )


def test_rules_that_are_no_plain_functions():
    class Rule:
        def __call__(self, primals, tangents):
            return None

    def typed(x, by):
        return None

    with refused("the jvp rule Rule of 'twice'"):
        pb.jvp(twice(jvp=Rule()).bind, (X,), (X,))
    with refused("the type rule typed (defined at"):
        twice(type=functools.partial(typed, by=2)).bind(X)


def test_errors_inside_of_a_rule_end_in_the_rule():
    def broken(x):
        raise ZeroDivisionError("mine")

    with refused("mine", error=ZeroDivisionError):
        twice(kernel=broken).bind(X)
    with refused("mine", error=ZeroDivisionError):
        twice(impl=broken, kernel=None).bind(X)
    with refused("mine", error=ZeroDivisionError):
        pb.jit(twice(type=broken).bind)(X)


# ---- evaluation


def scalar_of(dtype):
    """A type rule: a number of this dtype, whatever the operand."""

    def typing(x):
        return ShapedArray((), dtype)

    return typing


def constant(result):
    """A rule of one operand that returns the same for each."""

    def rule(x):
        return result

    return rule


def test_kernels_may_return_numbers():
    assert twice(kernel=lambda x: 2.0 * float(x)).bind(1.5).item() == 3
    out = twice(kernel=lambda x: np.float64(x) * 2, type=scalar_of(f32)).bind(1.5)
    assert (out.dtype, out.weak_type, out.item()) == (f32, False, 3)
    out = twice(kernel=constant(3), type=scalar_of("complex64")).bind(1.5)
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


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (None, "got None of type NoneType"),
        ("x", "got 'x' of type str"),
        ([1.0], "got a list of length 1. A primitive"),
        (X[:2], "expected f32[3], got a NumPy array of dtype float32 and shape (2,)"),
        (X * 1j, "expected f32[3], got a NumPy array of dtype complex64"),
        (1.0, "expected f32[3]"),
        (np.array([None] * 3), "expected f32[3], got a NumPy array of dtype object"),
        (np.ma.masked_array(X, X > 0), "masked arrays are not supported"),
    ],
)
def test_what_a_kernel_may_not_return(result, got):
    def kernel(x):
        return result

    with refused("the kernel kernel (defined at", got):
        twice(kernel=kernel).bind(X)


@pytest.mark.parametrize(
    ("kernel", "parts"),
    [
        (lambda x, y: x + y, ["results in a list or a tuple", "got a NumPy array"]),
        (lambda x, y: [x], ["must return 2 results, one for each result, got 1"]),
        (lambda x, y: [x, None], ["got None"]),
    ],
)
def test_what_a_kernel_with_several_results_may_not_return(kernel, parts):
    with refused(*parts):
        both(kernel=kernel).bind(X, X)


def test_a_kernel_does_not_meet_tracers():
    def closes_over_a_tracer(z):
        return pnp.sum(twice(kernel=lambda x: x * z).bind(X))

    with refused("NumPy value", "def_impl"):
        pb.grad(closes_over_a_tracer)(2.0)


@pytest.mark.parametrize(
    "value", [np.float32([1, 2, 3]), np.float64([1, 2, 3]), pnp.arange(3.0) + 1], ids=["float32", "float64", "Array"]
)
def test_implementations_may_return_arrays(value):
    p = twice(kernel=None, impl=constant(value))
    assert isinstance(p.bind(X), pb.Array)
    assert p.bind(X).tolist() == [1, 2, 3]
    assert pb.vmap(p.bind)(X).tolist() == [1, 2, 3]  # the batching rule calls it, on a concrete array


def test_implementations_may_return_numbers_and_numpy():
    typed = twice(kernel=None, impl=constant(2), type=scalar_of(np.float16)).bind(1.5)
    assert (typed.dtype, typed.weak_type, typed.item()) == (np.float16, False, 2)
    untyped = Primitive("untyped")
    untyped.def_impl(lambda x: np.asarray(x) * 2)
    untyped.def_batch(lambda operands, dims: (untyped.bind(*operands), dims[0]))
    assert pb.vmap(untyped.bind)(X).tolist() == (X * 2).tolist()
    several = both(kernel=None, impl=lambda x, y: (np.asarray(x), 1.0), type=lambda x, y: [x, ShapedArray((), f32)])
    assert [x.shape for x in several.bind(X, X)] == [(3,), ()]
    assert type(several.bind(X, X)) is list


def test_what_an_implementation_may_not_return():
    def impl_of(result, **rules):
        return twice(kernel=None, impl=constant(result), **rules).bind

    with refused("the implementation rule (defined at", "an array or a number as the result, got None"):
        impl_of(None)(X)
    with refused("got 'x' of type str"):
        impl_of("x", type=None)(X)
    with refused("expected f32[3], got f32[2]"):
        impl_of(X[:2])(X)
    with refused("expected f32[3], got i32[3]. Convert it with .astype"):
        impl_of(np.arange(3))(X)
    with refused("expected i32[], got f32[]"):
        impl_of(2.5, type=scalar_of("int32"))(1)
    with refused("2 results, one for each result, got 1"):
        both(kernel=None, impl=lambda x, y: [x]).bind(X, X)


# ---- types


@pytest.mark.parametrize(
    "result",
    [ShapedArray((2,), "int32"), pb.ShapeDtypeStruct((2,), "int32"), np.zeros(2, np.int32), pnp.zeros(2, "int32")],
    ids=["ShapedArray", "ShapeDtypeStruct", "NumPy", "Array"],
)
def test_what_says_a_type(result):
    p = twice(type=constant(result))
    assert pb.eval_shape(p.bind, X) == pb.ShapeDtypeStruct((2,), "int32")
    assert pb.make_jaxpr(p.bind)(X).out_avals == [ELSEWHERE]
    assert pb.make_jaxpr(both(type=lambda x, y: (result, x)).bind)(X, X).out_avals[0] is ELSEWHERE


@pytest.mark.parametrize("transform", [eager, pb.make_jaxpr, pb.grad])
@pytest.mark.parametrize(
    ("result", "got"),
    [
        (None, "such as ShapedArray(shape, dtype), got None"),
        ("x", "got 'x'"),
        (3.0, "got 3.0"),
        ((2, 3), "got a tuple of length 2. A primitive"),
        (ShapedArray, "got <class"),
        (np.array([None]), "arrays cannot have dtype object"),
        (ShapedArray((), np.dtype("U3")), "arrays cannot have dtype"),
    ],
)
def test_what_says_no_type(transform, result, got):
    with refused("the type rule rule (defined at", got):
        transform(twice(type=constant(result)).bind)(1.0)


@pytest.mark.parametrize("transform", [eager, pb.make_jaxpr, pb.grad])
def test_what_says_no_types_of_several_results(transform):
    with refused("types in a list or a tuple"):
        transform(both(type=lambda x, y: x).bind)(1.0, 2.0)
    with refused("got None"):
        transform(both(type=lambda x, y: [x, None]).bind)(1.0, 2.0)


# ---- compilation


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        (lambda ctx, x: None, ["the lowering rule lowering (defined at", "ctx.op(...) gives, of type f32[3]"]),
        (lambda ctx, x: "x", ["got 'x' of type str"]),
        (lambda ctx, x: 2.0, ["emitted with ctx.constant"]),
        (lambda ctx, x: [x], ["got a list of length 1"]),
        (lambda ctx, x: ctx.convert(x, np.dtype("int32")), ["expected f32[3], got i32[3]", "out_type"]),
    ],
)
def test_what_a_lowering_may_not_return(result, parts):
    def lowering(ctx, x):
        return result(ctx, x)

    with refused(*parts):
        pb.jit(twice(lowering=lowering).bind)(X)


def test_what_the_lowering_of_an_eager_operation_may_not_return():
    with refused("the lowering rule"):
        twice(kernel=None, lowering=lambda ctx, x: None).bind(X)


@pytest.mark.parametrize(
    ("lowering", "got"),
    [
        (lambda ctx, x, y: x, "values in a list or a tuple"),
        (lambda ctx, x, y: [x], "2 values, one for each result, got 1"),
    ],
)
def test_what_a_lowering_of_several_results_may_not_return(lowering, got):
    with refused(got):
        pb.jit(both(lowering=lowering).bind)(X, X)
