"""What the rules of a user's primitive for derivatives and batches return is checked (cf. test_primitive_checks.py)."""

import numpy as np
import pytest
from primitives import both, refused, total, twice
from wrappers import eager, grad_of_jit, jit_of_grad

import pullback as pb
import pullback.numpy as pnp
from pullback import dtypes, errors, lax
from pullback.extend.core import Primitive, ShapedArray, Zero, instantiate, is_linear

f32 = np.float32
X = np.array([0.5, -1.0, 2.0], f32)
OTHER = ShapedArray((2,), f32)


# ---- forward differentiation


def with_jvp(result, **rules):
    """`twice`, whose jvp rule returns `result(out, tangent)`."""

    def jvp_rule(primals, tangents):
        return result(p.bind(*primals), tangents[0])

    p = twice(jvp=jvp_rule, **rules)
    return p


def jvp_of(result, primal=X, **rules):
    return pb.jvp(with_jvp(result, **rules).bind, (primal,), (primal,))


@pytest.mark.parametrize("tangent", [2.0, np.float64(2), np.asarray(2, f32), 2], ids=lambda x: type(x).__name__)
def test_results_and_tangents_may_be_numbers(tangent):
    y, t = jvp_of(lambda out, _: (3.0, tangent), f32(1))
    assert (y.item(), t.item(), t.dtype) == (3, 2, f32)


def test_results_and_tangents_may_be_numpy_and_lists():
    assert jvp_of(lambda out, t: (np.asarray(out), np.asarray(X)))[1].tolist() == X.tolist()
    assert jvp_of(lambda out, t: [out, 2], np.float16(1))[1].dtype == np.float16


def test_rules_get_arrays():
    seen = []

    def twice_jvp(primals, tangents):
        seen.append(primals[0])
        return primals[0] + primals[0], tangents[0]

    def both_jvp(primals, tangents):
        seen.extend(primals)
        return list(primals), [instantiate(t) for t in tangents]

    pb.jvp(twice(jvp=twice_jvp).bind, (f32(1),), (f32(1),))
    pb.jvp(lambda x: both(jvp=both_jvp).bind(x, 2.0)[0], (1.0,), (1.0,))
    assert [isinstance(x, pb.Array) for x in seen] == [True] * 3


def zero_of_its_type(out):
    return Zero.of(out.aval)


def zero_of_integers(out):
    return Zero.of(ShapedArray(out.shape, "int32"))


def float0_of_numpy(out):
    return np.zeros(3, dtypes.float0)


def instantiated_zero(out):
    return instantiate(Zero.of(out.aval))


@pytest.mark.parametrize("zero", [zero_of_its_type, zero_of_integers])
def test_symbolic_zeros_are_taken(zero):
    assert jvp_of(lambda out, t: (out, zero(out)))[1].tolist() == [0] * 3
    f = total(with_jvp(lambda out, t: (out, zero(out))))
    assert pb.grad(f)(X).tolist() == jit_of_grad(f)(X).tolist() == [0] * 3


TO_INTEGERS = {"kernel": lambda x: x.astype(np.int32), "type": lambda x: ShapedArray(x.shape, "int32")}


@pytest.mark.parametrize("tangent", [zero_of_its_type, float0_of_numpy, instantiated_zero, pnp.zeros_like])
def test_tangents_of_integers_vanish(tangent):
    assert jvp_of(lambda out, _: (out, tangent(out)), **TO_INTEGERS)[1].dtype == dtypes.float0


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (lambda out, t: None, "got None of type NoneType"),
        (lambda out, t: "xy", "got 'xy'"),
        (lambda out, t: out, "must return a pair (result, tangent of the result), got an array of type f32[3]"),
        (lambda out, t: (out, t, t), "got a tuple of length 3"),
        (lambda out, t: (out, None), "a tangent of type f32[3] for a result of type f32[3], got None. Use Zero.of"),
        (lambda out, t: (out, "x"), "as the tangent, got 'x'"),
        (lambda out, t: (None, t), "as the result, got None"),
        (lambda out, t: (out, t[:2]), "a tangent of the shape and dtype of its result: expected f32[3], got f32[2]"),
        (lambda out, t: (out, 2.0), "expected f32[3], got f32[]"),
        (lambda out, t: (out, np.arange(3)), "expected f32[3], got i32[3]"),
        (lambda out, t: (out, t * 1j), "expected f32[3], got c64[3]"),
        (lambda out, t: (out[:2], t[:2]), "a result of the type that the type rule says: expected f32[3], got f32[2]"),
        (lambda out, t: (out, Zero.of(OTHER)), "expected f32[3], got SymbolicZero(f32[2])"),
    ],
)
def test_what_a_jvp_rule_may_not_return(result, got):
    with refused("the jvp rule jvp_rule (defined at", got):
        jvp_of(result)
    with refused("the jvp rule jvp_rule (defined at", got):
        pb.grad(total(with_jvp(result)))(X)


@pytest.mark.parametrize(("tangent", "got"), [(None, "got None. Use Zero.of"), ("x", "got 'x'")])
def test_no_tangent_of_an_integer_is_refused_alike(tangent, got):
    with refused(got):
        jvp_of(lambda out, t: (out, tangent), **TO_INTEGERS)


def jvp_of_both(result):
    """`both` of x and x, whose jvp rule returns `result(outs, tangents)`."""

    def jvp_rule(primals, tangents):
        return result(p.bind(*primals), [instantiate(t) for t in tangents])

    p = both(jvp=jvp_rule)
    return pb.jvp(lambda x: p.bind(x, x), (X,), (X,))


def test_jvp_rules_with_several_results():
    _, tangents = jvp_of_both(lambda outs, ts: (tuple(outs), [Zero.of(outs[0].aval), ts[0]]))
    assert [t.tolist() for t in tangents] == [[0] * 3, X.tolist()]


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        (lambda outs, ts: (outs, ts[0]), ["tangents in a list or a tuple", "got an array of type f32[3]"]),
        (lambda outs, ts: (outs, ts[:1]), ["must return 2 tangents, one for each result, got 1"]),
        (lambda outs, ts: (outs[:1], ts), ["must return 2 results, one for each result, got 1"]),
        (lambda outs, ts: (outs, [ts[0], ts[1][:2]]), ["expected f32[3], got f32[2]"]),
    ],
)
def test_what_a_jvp_rule_with_several_results_may_not_return(result, parts):
    with refused(*parts):
        jvp_of_both(result)


def two(x):
    return 2.0


def square(x):
    return x * x


def zero(x):
    return 0.0


def grad(f):
    return pb.grad(f)(f32(2))


def compiled_grad(f):
    return jit_of_grad(f)(f32(2))


def batched_grad(f):
    return pb.vmap(pb.grad(f))(X)


def second_grad(f):
    return pb.grad(pb.grad(f))(f32(2))


def linearize(f):
    return pb.linearize(f, f32(2))


def grad_of_compiled(f):
    return grad_of_jit(f)(f32(2))


@pytest.mark.parametrize("transform", [grad, compiled_grad, batched_grad, second_grad, linearize, grad_of_compiled])
def test_a_tangent_depends_on_tangents_or_vanishes(transform):
    def function_with(tangent):
        def jvp_rule(primals, tangents):
            return p.bind(*primals), tangent(primals[0])

        p = twice(jvp=jvp_rule)
        return p.bind

    for constant in (two, square, pnp.ones_like):
        with refused("does not depend on the tangents it got", "Zero.of(out.aval)"):
            transform(function_with(constant))
    for vanishing in (zero, pnp.zeros_like):
        transform(function_with(vanishing))


# ---- reverse differentiation


def times(transpose):
    """x * y of scalars, linear in each."""
    p = Primitive("times")

    @p.def_jvp
    def jvp(primals, tangents):
        return p.bind(*primals), p.bind(instantiate(tangents[0]), primals[1])

    p.def_kernel(lambda x, y: x * y)
    p.def_abstract_eval(lambda x, y: x)
    p.def_transpose(transpose)
    return p.bind


ONE_ZERO = Zero.of(ShapedArray((), f32))


@pytest.mark.parametrize(
    ("part", "expected"), [(3, 3), (3.0, 3), (np.float64(3), 3), (np.asarray(3, f32), 3), (None, 0), (ONE_ZERO, 0)]
)
def test_cotangents_may_be_numbers_numpy_none_and_zeros(part, expected):
    out = pb.grad(times(lambda ct, x, y: (part, None)))(f32(1), f32(2))
    assert (out.item(), out.dtype) == (expected, f32)


@pytest.mark.parametrize("part", [None, 3.0, X, Zero.of(OTHER)])
def test_cotangents_of_what_is_known_are_ignored(part):
    assert pb.grad(times(lambda ct, x, y: [ct * y, part]), (0, 1))(1.0, 2.0)[1].item() == 0


def test_cotangents_of_what_is_known_must_be_arrays():
    with refused("the cotangent of operand 1, got 'x'"):
        pb.grad(times(lambda ct, x, y: [ct, "x"]))(1.0, 2.0)


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (lambda ct: None, "for each of 2 operands, got None of type NoneType. Return them in a list: [ct, None]"),
        (lambda ct: ct, "got an array of type f32[]"),
        (lambda ct: "xy", "got 'xy'"),
        (lambda ct: [ct], "for each of 2 operands, got 1"),
        (lambda ct: [ct] * 3, "for each of 2 operands, got 3"),
        (
            lambda ct: [pnp.ones(3), None],
            "a cotangent of operand 0 of the operand's shape and dtype: expected f32[], got f32[3]",
        ),
        (lambda ct: ["x", None], "as the cotangent of operand 0, got 'x'"),
        (lambda ct: [np.int32(1), None], "expected f32[], got i32[]"),
        (lambda ct: [1j, None], "expected f32[], got c64[]"),
        (lambda ct: [Zero.of(ShapedArray((3,), f32)), None], "got SymbolicZero(f32[3])"),
    ],
)
def test_what_a_transpose_rule_may_not_return(result, got):
    def transpose_rule(ct, x, y):
        return result(ct)

    f = times(transpose_rule)
    with refused("the transpose rule transpose_rule (defined at", got):
        pb.grad(f)(1.0, 2.0)
    with refused("the transpose rule transpose_rule (defined at", got):
        pb.linear_transpose(lambda x: f(x, 2.0), 1.0)(1.0)


def test_the_operands_that_are_linear_are_told():
    seen = []

    def transpose_rule(ct, x, y):
        seen.append((is_linear(x), is_linear(y)))
        return [ct, None]

    pb.grad(times(transpose_rule))(1.0, 2.0)
    assert seen == [(True, False)]


# ---- vectorization


def vmap_of(result, **rules):
    """`twice` in vmap, whose batching rule returns `result(out, dim)`."""

    def batching_rule(operands, dims):
        return result(p.bind(operands[0]), dims[0])

    p = twice(batch=batching_rule, **rules)
    return pb.vmap(p.bind)


def test_batched_results_may_be_numpy_and_numbers():
    assert vmap_of(lambda out, d: (np.asarray(out), np.int64(d)))(X).tolist() == (X * 2).tolist()
    assert vmap_of(lambda out, d: [7.0, None])(X).tolist() == [7] * 3
    matrix = np.arange(6, dtype=f32).reshape(3, 2)
    assert vmap_of(lambda out, d: (out.T, -1))(matrix).tolist() == (2 * matrix).tolist()
    p = both(batch=lambda operands, dims: (tuple(map(np.asarray, p.bind(*operands))), [0, 0]))
    assert pb.vmap(p.bind)(X, X)[1].tolist() == [0] * 3


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (lambda out, d: None, "must return a pair (result, its batch axis), got None"),
        (lambda out, d: out, "got an array of type f32[3,2]"),
        (lambda out, d: "xy", "got 'xy'"),
        (lambda out, d: ("x", 0), "as the result, got 'x'"),
        (lambda out, d: (out, "x"), "the batch axis as an int, or None"),
        (lambda out, d: (out, 0.0), "got 0.0 of type float"),
        (lambda out, d: (out, [0]), "got a list of length 1"),
        (lambda out, d: (out, 2), "the batch axis 2, which is out of range for its result of type f32[3,2]"),
        (lambda out, d: (out, -3), "the batch axis -3"),
        (lambda out, d: (2.0, 0), "out of range"),
        (
            lambda out, d: (out[:1], 0),
            "the 3 examples of the batch along its batch axis: axis 0 of f32[1,2] has length 1",
        ),
        (lambda out, d: (out, 1), "axis 1 of f32[3,2] has length 2"),
        (lambda out, d: (out, None), "result without batch axis of the type that the type rule says: expected f32[2]"),
        (lambda out, d: (out[:, :1], 0), "expected f32[3,2] with the batch axis 0, got f32[3,1]"),
    ],
)
def test_what_a_batching_rule_may_not_return(result, got):
    with refused("the batching rule batching_rule (defined at", got):
        vmap_of(result)(np.ones((3, 2), f32))


def test_a_batch_without_a_typing_rule_has_its_size():
    p = Primitive("untyped")
    p.def_impl(lambda x: x[:1])
    p.def_batch(lambda operands, dims: (p.bind(*operands), 0))
    with refused("axis 0 of f32[1] has length 1"):
        pb.vmap(p.bind)(X)


@pytest.mark.parametrize(
    ("result", "got"),
    [
        (lambda outs: (outs[0], 0), "results in a list or a tuple"),
        (lambda outs: (outs, [0]), "must return 2 batch dims, one for each result, got 1"),
        (lambda outs: (outs[:1], [0]), "must return 2 results, one for each result, got 1"),
        (lambda outs: (outs, [0, 5]), "the batch axis 5"),
    ],
)
def test_batching_rules_with_several_results(result, got):
    p = both(batch=lambda operands, dims: result(p.bind(*operands)))
    with refused(got):
        pb.vmap(p.bind)(X, X)


# ---- in other places


def loop(f):
    def step(c, _):
        return f(c), None

    return lambda x: lax.scan(step, x, None, length=2)[0]


def branch(f):
    return lambda x: lax.cond(x[0] > 0, f, eager, x)


@pytest.mark.parametrize("place", [loop, branch, pb.jit, pb.checkpoint])
def test_checks_hold_inside_of_loops_and_branches(place):
    def jvp_rule(primals, tangents):
        return primals[0], tangents[0][:1]

    f = place(twice(jvp=jvp_rule).bind)
    with refused("expected f32[3], got f32[1]"):
        pb.jvp(f, (X,), (X,))


@pytest.mark.parametrize("wrap", [eager, pb.jit])
def test_a_tangent_with_something_added_is_not_linear(wrap):
    p = with_jvp(lambda out, t: (out, instantiate(t) + 1.0))
    with pytest.raises(errors.RuleError, match=r"jvp rule .* of 'twice' returned a tangent that is not linear .*'add'"):
        wrap(pb.grad(lambda x: p.bind(x).sum()))(X)
