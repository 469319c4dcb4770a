"""Rules of primitives given through JAX's tables, and the helpers by which libraries trace functions themselves."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import Primitive as JaxPrimitive
from jax.interpreters import ad as jax_ad
from jax.interpreters import batching as jax_batching
from jax.interpreters import mlir as jax_mlir
from jaxlib.mlir import ir
from jaxlib.mlir.dialects import stablehlo as hlo

import pullback as pb
import pullback.numpy as pnp
from pullback import api_util, lax
from pullback.extend import core as extended
from pullback.extend import linear_util as lu
from pullback.extend.core import Primitive, primitives
from pullback.interpreters import ad, batching, mlir, partial_eval


def scale_primitive(library, np_, primitive, ad, batching, mlir):
    """x, y -> a list of factor * x * y and of x: written for either library."""
    p = primitive("scale")
    p.multiple_results = True
    shaped = library.core.ShapedArray

    def impl(x, y, *, factor):
        return [factor * x * y, x + 0]

    def jvp(primals, tangents, *, factor):
        (x, y), (tx, ty) = primals, tangents
        outs = p.bind(x, y, factor=factor)
        if type(tx) is ad.Zero and type(ty) is ad.Zero:
            return outs, [ad.Zero(out_type) for out_type in map(library.typeof, outs)]
        tx, ty = ad.instantiate_zeros(tx), ad.instantiate_zeros(ty)
        first = ad.add_tangents(p.bind(tx, y, factor=factor)[0], p.bind(x, ty, factor=factor)[0])
        return outs, [first, tx]

    def transpose(cts, x, y, *, factor):
        first, second = map(ad.instantiate_zeros, cts)
        if ad.is_undefined_primal(x):
            assert x.aval.shape == first.shape
            return [factor * y * first + second, None]
        return [None, factor * x * first]

    def batch(operands, dims, *, factor):
        size = next(x.shape[d] for x, d in zip(operands, dims, strict=True) if d is not batching.not_mapped)
        x, y = (batching.bdim_at_front(z, d, size) for z, d in zip(operands, dims, strict=True))
        return p.bind(x, y, factor=factor), [0, 0]

    p.def_impl(impl)
    p.def_abstract_eval(lambda x, y, *, factor: [shaped(x.shape, x.dtype), shaped(x.shape, x.dtype)])
    ad.primitive_jvps[p] = jvp
    ad.primitive_transposes[p] = transpose
    batching.primitive_batchers[p] = batch
    mlir.register_lowering(p, mlir.lower_fun(impl, multiple_results=True))
    return lambda x, y: np_.sum(p.bind(x, y, factor=3.0)[0] ** 2) + np_.sum(p.bind(x, y, factor=2.0)[1] * x)


jax_batching.not_mapped = None
OURS = scale_primitive(pb, pnp, Primitive, ad, batching, mlir)
THEIRS = scale_primitive(jax, jnp, JaxPrimitive, jax_ad, jax_batching, jax_mlir)
X, Y = np.float32([0.5, 1.5, -2.0]), np.float32([1.0, 2.0, 0.25])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("wrap", ["eager", "jit", "vmap", "jit of vmap"])
def test_a_primitive_of_a_program_of_jax(wrap, order):
    def transformed(library, f):
        g = library.grad(f, (0, 1))
        if order == 2:
            g = library.jacfwd(library.grad(f))
        if "vmap" in wrap:
            g = library.vmap(g, (0, None))
        return library.jit(g) if "jit" in wrap else g

    x = np.stack([X, Y, X + Y]) if "vmap" in wrap else X
    ours, theirs = transformed(pb, OURS)(x, Y), transformed(jax, THEIRS)(x, Y)
    for a, b in zip(pb.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_the_batch_behind_a_traced_value():
    seen = []

    def f(x, y):
        for traced in (x, x * y, y):
            assert isinstance(traced, batching.BatchTracer)
            seen.append((np.asarray(traced.val).shape, traced.batch_dim, traced.shape))
        return x

    pb.vmap(f, (1, 0))(np.ones((3, 4)), np.ones((4, 3)))
    assert [(shape[:dim] + shape[dim + 1 :], shape[dim]) for shape, dim, _ in seen] == [((3,), 4)] * 3
    assert seen[0] == ((3, 4), 1, (3,))


def test_rules_get_tuples():
    p = Primitive("shown")
    p.def_abstract_eval(lambda x, y: x)
    p.def_impl(lambda x, y: x)
    seen = []

    def rule(primals, tangents):
        seen.append((type(primals), type(tangents)))
        return primals[0], tangents[0]

    ad.primitive_jvps[p] = rule
    pb.jvp(p.bind, (1.0, 2.0), (1.0, 1.0))
    pb.grad(p.bind)(1.0, 2.0)
    assert seen == [(tuple, tuple)] * 2


def test_what_was_assigned_is_read_back():
    p = Primitive("assigned")

    def rule(primals, tangents):
        return primals[0], tangents[0]

    assert p not in ad.primitive_jvps
    ad.primitive_jvps[p] = rule
    assert ad.primitive_jvps[p] is rule
    assert p in list(ad.primitive_jvps)
    del ad.primitive_jvps[p]
    assert ad.primitive_jvps.get(p) is None
    with pytest.raises(TypeError, match=r"primitive_batchers\[...\] = rule: expected a primitive, got 'p'"):
        batching.primitive_batchers["p"] = rule
    with pytest.raises(TypeError, match=r"primitive_batchers\[assigned\]: expected a function"):
        batching.primitive_batchers[p] = 3


def test_rules_of_the_package_through_the_tables():
    (out, dot) = ad.primitive_jvps[lax.sin_p]([pnp.float32(0.5)], [pnp.float32(2.0)])
    assert (out, dot) == (pnp.sin(0.5), 2 * pnp.cos(0.5))
    undefined = ad.UndefinedPrimal(pb.typeof(pnp.float32(0.0)))
    cts = ad.get_primitive_transpose(lax.mul_p)(pnp.float32(5.0), undefined, pnp.float32(3.0))
    assert cts[0] == 15.0
    with pytest.raises(NotImplementedError, match="the primitive 'sin' has no transpose rule"):
        ad.get_primitive_transpose(lax.sin_p)
    out, dim = batching.primitive_batchers[lax.neg_p]([pnp.ones((3, 2))], [1])
    assert (out.shape, dim) == ((3, 2), 1)


def test_an_undefined_primal_is_a_pytree_without_leaves():
    undefined = ad.UndefinedPrimal(pb.typeof(1.0))
    leaves, tree = pb.tree.flatten(undefined)
    assert leaves == []
    assert pb.tree.unflatten(tree, leaves).aval is undefined.aval
    assert ad.is_undefined_primal(undefined)


@pytest.mark.parametrize("table", ["axis_primitive_batchers", "fancy_primitive_batchers"])
def test_batching_rules_that_ask_for_the_axis(table):
    p = Primitive(f"asks_{table}")
    p.def_abstract_eval(lambda x: x)
    p.def_impl(lambda x: x)
    seen = []

    def rule(*args):
        *axis, operands, dims = args
        size, name = axis[:2] if table.startswith("axis") else (axis[0].size, axis[0].name)
        seen.append((size, name, dims))
        return operands[0] * size, dims[0]

    getattr(batching, table)[p] = rule
    assert pb.vmap(p.bind, axis_name="i")(pnp.ones(3)).tolist() == [3.0] * 3
    assert seen == [(3, "i", (0,))] or seen == [(3, "i", [0])]


def test_lowering_rules():
    p = Primitive("lowered")
    p.def_abstract_eval(lambda x, *, n: x)

    def rule(ctx, x, *, n):
        assert ctx.avals_in == ctx.avals_out == [pb.core.ShapedArray((2,), "float32")]
        return mlir.lower_fun(lambda y: [y * n + np.float32([1, 2])], multiple_results=True)(ctx, x)

    mlir.register_lowering(p, rule)
    mlir.register_lowering(p, lambda ctx, x: None, platform="cuda")
    assert pb.jit(lambda x: p.bind(x, n=3))(pnp.ones(2)).tolist() == [4.0, 5.0]

    def builds_mlir(ctx, x, *, n):
        return ctx.module_context.context

    mlir.register_lowering(p, builds_mlir)
    with pytest.raises(AttributeError, match=r"the lowering context has no 'module_context'.*mlir.lower_fun"):
        pb.jit(lambda x: p.bind(x, n=4))(pnp.ones(2))
    with pytest.raises(TypeError, match="register_lowering: expected a primitive, got 'p'"):
        mlir.register_lowering("p", rule)


def rules_of_mlir(library, primitive, mlir, core):
    """Primitives whose lowering rules build operations from MLIR's Python objects, as programs for JAX do."""

    def multiply_add(ctx, x, y, z):
        return [hlo.AddOp(hlo.MulOp(x, y), z).result]

    def both(ctx, x, *, scale):
        twice = hlo.multiply(x, hlo.broadcast(mlir.ir_constant(np.float32(scale)), hlo_sizes(ctx.avals_in[0].shape)))
        whole = hlo.convert(ir.RankedTensorType.get(ctx.avals_out[1].shape, ir.IntegerType.get_signless(32)), x)
        return [twice, whole]

    madd = primitive("madd_of_mlir")
    madd.def_abstract_eval(lambda x, y, z: core.ShapedArray(x.shape, x.dtype))
    mlir.register_lowering(madd, multiply_add, platform="cpu")
    pair = primitive("pair_of_mlir")
    pair.multiple_results = True
    pair.def_abstract_eval(lambda x, *, scale: [x, core.ShapedArray(x.shape, np.dtype("int32"))])
    mlir.register_lowering(pair, both)

    def program(x, y):
        total = madd.bind(x, y, madd.bind(y, x, x))
        scaled, whole = pair.bind(total, scale=3.0)

        def body(carry, row):
            return madd.bind(carry, row, row), row.sum()

        return scaled, whole, library.lax.scan(body, scaled[0], total)

    return library.jit(program)


def hlo_sizes(shape):
    return np.array(shape, np.int64)


def test_lowering_rules_that_build_operations_of_mlir():
    x, y = np.stack([X, Y]), np.stack([Y, X + 1])
    ours = rules_of_mlir(pb, Primitive, mlir, pb.core)(x, y)
    theirs = rules_of_mlir(jax, JaxPrimitive, jax_mlir, jax.core)(x, y)
    for a, b in zip(pb.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_what_is_wrong_in_rules_that_build_operations():
    def lowered(rule):
        p = Primitive("wrong")
        p.def_abstract_eval(lambda x: x)
        mlir.register_lowering(p, rule)
        return pb.jit(p.bind)(pnp.ones(3))

    says = "the lowering rule of 'wrong' must return values of the types tensor<3xf32>, got tensor<3xi1>"
    with pytest.raises(pb.errors.RuleError, match=re.escape(says)):
        lowered(lambda ctx, x: [hlo.is_finite(hlo.negate(x))])
    with pytest.raises(pb.errors.RuleError, match="must return MLIR's values, got 3"):
        lowered(lambda ctx, x: [hlo.negate(x) and 3])
    # a fault of the rule's own is raised as it is, once
    calls = []

    def faulty(ctx, x):
        calls.append(x)
        return [x] + 3

    with pytest.raises(TypeError, match="can only concatenate list"):
        lowered(faulty)
    assert len(calls) == 1
    with pytest.raises(AttributeError, match="the lowering context has no 'module_context'"):
        lowered(lambda ctx, x: ctx.module_context)


def test_primitives_under_the_names_of_jax():
    assert (lax.add_p, lax.linalg.qr_p) == (primitives.add_p, primitives.qr_p)
    jaxpr = pb.make_jaxpr(pb.jit(lambda x: lax.cond(x > 0, pnp.sin, pnp.cos, x)))(1.0)
    (eqn,) = jaxpr.eqns
    assert eqn.primitive is primitives.jit_p
    inner = eqn.params["jaxpr"]
    assert inner.jaxpr is inner
    assert inner.consts == []
    assert primitives.cond_p in [e.primitive for e in inner.eqns]
    assert eqn.primitive.get_bind_params(eqn.params) is eqn.params
    assert len(list(extended.jaxprs_in_params(eqn.params))) == len(list(extended.subjaxprs(jaxpr.jaxpr))) == 1


def test_primitives_that_are_functions_here_are_keys_and_no_more():
    assert {primitives.eq_to_p: 1}[primitives.eq_to_p] == 1
    with pytest.raises(NotImplementedError, match="there is no primitive 'eq_to' here; call the function instead"):
        primitives.eq_to_p.bind(1.0)


def test_partial_evaluation():
    computed = []

    @lu.wrap_init
    def f(x, y):
        z = pnp.sin(x)
        computed.append(z)
        return z, y * z, pnp.float32(7.0)

    known, unknown = partial_eval.PartialVal.known(pnp.float32(0.5)), partial_eval.PartialVal.unknown(pb.typeof(1.0))
    jaxpr, outs, consts = partial_eval.trace_to_jaxpr_nounits(f, [known, unknown])
    assert [out.is_known() for out in outs] == [True, False, True]
    assert float(computed[0]) == float(outs[0].get_known()) == float(pnp.sin(0.5))
    assert len(jaxpr.eqns) == 1
    assert pb.core.eval_jaxpr(jaxpr, consts, 2.0)[0] == 2 * pnp.sin(0.5)
    _, outs, _ = partial_eval.trace_to_jaxpr_nounits(f, [known, unknown], instantiate=True)
    assert not any(out.is_known() for out in outs)

    def around(x):
        _, (value, *_), _ = partial_eval.trace_to_jaxpr_nounits(f, [partial_eval.PartialVal.known(x), unknown])
        return value.get_known()

    assert pb.jit(pb.grad(around))(0.5) == pnp.cos(0.5)


def test_wrapped_functions():
    debug = api_util.debug_info("test", lambda x, y: x, (1, 2), {})
    assert (debug.traced_for, debug.arg_names) == ("test", ("x", "y"))
    leaves, tree = pb.tree.flatten((({"a": 1.0}, 2.0), {"k": 3.0}))
    f, out_tree = api_util.flatten_fun(lu.wrap_init(lambda d, y, k: {"out": d["a"] + y * k}, debug_info=debug), tree)
    with pytest.raises(lu.StoreException):
        out_tree()
    assert f.call_wrapped(*leaves) == [7.0]
    assert out_tree() == pb.tree.structure({"out": 0})
    with pytest.raises(lu.StoreException):
        f.call_wrapped(*leaves)
    _, dynamic = api_util.argnums_partial(lu.wrap_init(lambda x, y, z: x * 100 + y * 10 + z), (2, 0), (1, 2, 3))
    assert dynamic == (3, 1)
    assert api_util.flatten_axes("in_axes", pb.tree.structure((1, (2, 3))), (None, 0)) == [None, 0, 0]
    assert api_util.safe_map(max, [1, 5], [3, 4]) == [3, 5]


def test_the_state_of_tracing():
    assert extended.trace_state_clean()
    state = extended.get_opaque_trace_state(convention="flax")
    assert state == extended.get_opaque_trace_state()
    seen = []

    def f(x):
        top = extended.find_top_trace((x,))
        seen.append((isinstance(x, ad.JVPTracer), x._trace.main is top.main, extended.trace_state_clean()))
        assert extended.get_opaque_trace_state() != state
        with pb.core.eval_context():
            assert extended.trace_state_clean()
        return x

    pb.jvp(f, (1.0,), (1.0,))
    assert seen == [(True, True, False)]
    inside = []

    @pb.jit
    def g(x):
        inside.append(extended.unsafe_am_i_under_a_jit_DO_NOT_USE())
        return x

    g(1.0)
    assert inside == [True]
    assert not extended.unsafe_am_i_under_a_jit_DO_NOT_USE()


def test_types_with_and_without_an_axis():
    aval = pb.core.ShapedArray((3, 2), "float32")
    assert extended.mapped_aval(2, 1, aval).shape == (3,)
    assert extended.unmapped_aval(4, 0, aval).shape == (4, 3, 2)
    assert extended.mapped_aval(4, None, aval) is extended.unmapped_aval(4, None, aval) is aval
    with pytest.raises(ValueError, match="mapped_aval: expected length 5 along axis 1"):
        extended.mapped_aval(5, 1, aval)


def test_dead_code_of_a_jaxpr():
    jaxpr = pb.make_jaxpr(lambda x, y, z: (x + 1, y * 2))(1.0, 1.0, 1.0).jaxpr
    smaller, read = partial_eval.dce_jaxpr(jaxpr, [True, False], instantiate=[False, False, True])
    assert read == [True, False, True]
    assert len(smaller.invars) == 2
    assert len(smaller.eqns) == 1


def test_a_closed_jaxpr_is_called_as_an_equation_is():
    """Libraries that interpret jaxprs bind `jit_p` to what `make_jaxpr` returns; its constants are captured values."""
    x = pnp.arange(3.0)
    (eqn,) = pb.make_jaxpr(pb.jit(lambda x: 2 * x))(x).eqns

    def call(x):
        return eqn.primitive.bind(x, **{**eqn.params, "jaxpr": closed})[0]

    closed = pb.make_jaxpr(lambda y: y * x)(x)
    assert len(closed.consts) == 1
    for f in (call, pb.jit(call)):
        assert f(x).tolist() == [0, 1, 4]
    assert pb.grad(lambda x: call(x).sum())(x).tolist() == [0, 1, 2]
    assert pb.typeof(x).at_least_vspace() == pb.typeof(x)
    assert pb.typeof(pnp.arange(2)).at_least_vspace().dtype == pb.float0
