"""Functions that say themselves how they are divided, on eight devices; their results and rules are JAX's."""

import re

import jax
import numpy as np
import pytest
from jax.experimental import custom_partitioning as jax_partitioning
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.experimental import custom_partitioning as ours
from pullback.experimental.custom_partitioning import custom_partitioning
from pullback.sharding import Mesh, NamedSharding

P = pb.P
MESH = Mesh(np.array(pb.devices()).reshape(4, 2), ("x", "y"))
A = np.random.default_rng(0).standard_normal((8, 6)).astype("float32")
B = np.random.default_rng(1).standard_normal((6, 4)).astype("float32")


def at(*spec):
    return NamedSharding(MESH, P(*spec))


def identity(x):
    return x


def as_chosen(mesh, args, result):
    """A rule that leaves everything where the compiler has chosen it."""
    return mesh, identity, result.sharding, (args[0].sharding,)


# --- sharding rules ---

RULES = [
    ("i j, j k -> i k", [(8, 6), (6, 4)], [(8, 4)], {"reduction_factors": ("j",)}),
    ("i j -> (i j)", [(8, 6)], [(48,)], {}),
    ("... i -> ... i", [(8, 2, 6)], [(8, 2, 6)], {"need_replication_factors": ("i",)}),
    ("(a b) c -> (a b) c", [(8, 3)], [(8, 3)], {"a": 4, "b": 2}),
    ("i j -> k j", [(8, 6)], [(3, 6)], {}),
    ("batch, d -> batch, d", [(8,), (4,)], [(8,), (4,)], {"permutation_factors": ("d",)}),
    ("...->...", [(8,)], [(8,)], {}),
    ("i -> ", [(8,)], [()], {}),
    ("...0 i, ...1 j -> ...0 i, ...1 j", [(8, 6), (4, 2)], [(8, 6), (4, 2)], {}),
    (" ".join(f"f{i}" for i in range(20)) + " -> f0", [(1,) * 20], [(1,)], {}),
]


def rule_of_jax(text, ins, outs, properties):
    """The attribute in the module that JAX makes of a function with such a rule."""

    def zeros(*xs):
        results = [jax.numpy.zeros(shape) + sum(x.sum() for x in xs) for shape in outs]
        return results[0] if len(results) == 1 else tuple(results)

    def partition(mesh, args, result):
        raise AssertionError("nothing is compiled")

    f = jax_partitioning.custom_partitioning(zeros)
    f.def_partition(partition, sharding_rule=text, **properties)
    mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(4, 2), ("x", "y"))
    whole = jax.sharding.NamedSharding(mesh, jax.P())
    structs = [jax.ShapeDtypeStruct(shape, np.float32, sharding=whole) for shape in ins]
    module = jax.jit(f).lower(*structs).as_text()
    return re.search(r"sdy.sharding_rule = (#sdy.op_sharding_rule<.*?, custom>)", module)[1]


@pytest.mark.parametrize(("text", "ins", "outs", "properties"), RULES)
def test_rules_are_those_of_jax(text, ins, outs, properties):
    rule = ours.custom_partitioning(identity)
    rule.def_partition(as_chosen, sharding_rule=text, **properties)
    assert rule.sharding_rule.text(ins, outs) == rule_of_jax(text, ins, outs, properties)


def test_rules_made_of_mappings():
    mapping, compound = ours.ArrayMapping, ours.CompoundFactor
    rule = ours.SdyShardingRule((mapping(ours.BATCHING, "i", "j"),), (mapping(ours.BATCHING, compound("i", "j")),))
    assert rule.text([(5, 2, 3)], [(5, 6)]) == "#sdy.op_sharding_rule<([i, j, k])->([i, jk]) {i=5, j=2, k=3}, custom>"
    assert repr(ours.SdyShardingRule((mapping("i", "j"),), (mapping("j"),), reduction_factors=("i",))) == (
        "SdyShardingRule((('i', 'j'),), (('j',),), {} reduction_factors=('i',))"
    )
    assert ours.BATCHING == jax_partitioning.BATCHING


@pytest.mark.parametrize(
    ("text", "properties", "parts"),
    [
        ("i j", {}, ("one arrow", "'i j'")),
        ("i -> i -> i", {}, ("one arrow",)),
        ("1i -> j", {}, ("begins with a letter", "'1i'")),
        ("i.. -> i", {}, ("begins with a letter", "'.'")),
        ("i ... -> i", {}, ("must come before",)),
        ("(i -> i", {}, ("brackets are not balanced",)),
        ("i -> (i)", {}, ("two factors or more",)),
        ("i -> ((i j))", {}, ("begins with a letter", "'('")),
        ("i -> i", {"reduction_factors": ("q",)}, ("reduction_factors", "no factor 'q'")),
        ("i -> i", {"reduction_factors": ("i",)}, ("an axis 'i'",)),
        ("i -> i", {"b": 3}, ("no factor 'b'", "size 3")),
        ("i -> i", {"i": 3}, ("'i' is a whole axis",)),
    ],
)
def test_rules_that_are_none(text, properties, parts):
    f = custom_partitioning(identity)
    with raises(ValueError, *parts):
        f.def_partition(as_chosen, sharding_rule=text, **properties)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("i -> i", ("the sharding rule has 1 axes for operand 0", "(8, 6)")),
        ("i j, k -> i j", ("has 2 operands", "has 1")),
        ("(a b) j -> (a b) j", ("sizes of the factors ['a', 'b']", "operand 0")),
        ("... i -> ... i k", ("result 0",)),
    ],
)
def test_rules_that_do_not_fit(text, parts):
    f = custom_partitioning(identity)
    f.def_partition(as_chosen, sharding_rule=text)
    with raises(ValueError, "custom_partitioning of identity", *parts):
        pb.jit(f)(pb.device_put(A, at("x")))


# --- a product, with the sum over devices that it needs ---


def library(name):
    """The names that the same function is written with."""
    if name == "pullback":
        return pb, pnp, lax, custom_partitioning, MESH, NamedSharding
    mesh = jax.sharding.Mesh(np.array(jax.devices()).reshape(4, 2), ("x", "y"))
    module = jax_partitioning.custom_partitioning
    return jax, jax.numpy, jax.lax, module, mesh, jax.sharding.NamedSharding


def product_of(name):
    """A product of matrices divided by rows and by the axis that is summed over, with rules for its derivative."""
    core, np_, lax_, decorator, mesh, named = library(name)

    @decorator
    def product(a, b):
        return np_.matmul(a, b)

    def partition(mesh, args, result):
        spec = (*args[0].sharding.spec, None, None)[:2]

        def of_parts(a, b):
            y = np_.matmul(a, b)
            return y if spec[1] is None else lax_.psum(y, spec[1])

        places = named(mesh, core.P(*spec)), named(mesh, core.P(spec[1], None))
        return mesh, of_parts, named(mesh, core.P(spec[0], None)), places

    product.def_partition(partition, sharding_rule="i k, k j -> i j", reduction_factors=("k",))

    @core.custom_vjp
    def ruled(a, b):
        return product(a, b)

    def fwd(a, b):
        return product(a, b), (a, b)

    def bwd(saved, ct):
        a, b = saved
        return product(ct, b.T), product(a.T, ct)

    ruled.defvjp(fwd, bwd)
    a = core.device_put(A, named(mesh, core.P("x", "y")))
    b = core.device_put(B, named(mesh, core.P("y", None)))
    return core, ruled, a, b


def test_a_product_over_devices():
    _, product, a, b = product_of("pullback")
    _, theirs, c, d = product_of("JAX")
    y = pb.jit(product)(a, b)
    np.testing.assert_allclose(y, A @ B, rtol=1e-5, atol=1e-6)
    assert y.sharding.spec == P("x")
    assert np.array_equal(np.asarray(y), np.asarray(jax.jit(theirs)(c, d)))
    assert {k: use.calls for k, use in pb.jit(product).lower(a, b).compile().collectives().items()} == {"all-reduce": 1}
    # of others it is the plain function: eagerly, on one device, and on the parts of a shard_map
    assert np.array_equal(product(A, B), np.matmul(A, B))
    assert np.allclose(pb.jit(product)(A, B), A @ B, atol=1e-6)


def test_derivatives_come_from_rules_around_it():
    def gradients(core, product, a, b):
        def loss(a, b):
            return (product(a, b) ** 2).sum()

        return core.jit(core.grad(loss, (0, 1)))(a, b)

    got, expected = gradients(*product_of("pullback")), gradients(*product_of("JAX"))
    y = 2 * A @ B
    for g, e, exact in zip(got, expected, (y @ B.T, A.T @ y), strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(g, exact, rtol=1e-4, atol=1e-4)


def test_inside_of_loops_and_beside_other_collectives():
    _, product, a, b = product_of("pullback")

    def steps(a, b):
        def step(c, _):
            return pnp.tanh(product(c, b) @ b.T), (c**2).sum()

        return lax.scan(step, a, None, length=3)

    got, sums = pb.jit(steps)(a, b)
    expected, expected_sums = steps(pnp.asarray(A), pnp.asarray(B))
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(sums, expected_sums, rtol=1e-5)


# --- the structure of arguments and results, static arguments, functions that make the rule ---


def test_trees_static_arguments_and_rules_made_for_them():
    seen = []

    def shifted(power, tree):
        return {"up": tree["x"] ** power, "index": tree["y"] + 1}

    f = custom_partitioning(shifted, static_argnums=(0,))

    def partition(power, mesh, args, result):
        (tree,) = args
        seen.append((power, tree["x"].shape, tree["x"].sharding.spec, result["index"].dtype))
        name = tree["x"].sharding.spec[0]

        def of_parts(tree):
            place = lax.axis_index(name)
            return {"up": tree["x"] ** power, "index": tree["y"] + 1 + 0 * place}

        return mesh, of_parts, {"up": at(name), "index": at(name)}, ({"x": at(name), "y": at(name)},)

    def rule(power, mesh, operands, results):
        assert (power, mesh, [x.shape for x in operands]) == (3, MESH, [(8, 6), (8,)])
        return "i j, i -> i, i j", {}

    f.def_partition(partition, sharding_rule=rule)
    tree = {"x": pb.device_put(A, at("x")), "y": pb.device_put(np.arange(8, dtype="int32"), at("x"))}
    # leaves of results are in the order of their keys: "index", "up"
    got = pb.jit(f, static_argnums=(0,))(3, tree)
    np.testing.assert_allclose(got["up"], A**3, rtol=1e-5)
    assert got["index"].tolist() == list(range(1, 9))
    assert seen == [(3, (8, 6), P("x"), np.dtype("int32"))]
    with raises(TypeError, "custom_partitioning of shifted", "argument 0", "static"):
        f(pnp.ones(2), tree)


def test_shardings_that_are_lists_of_parts():
    kinds = []
    f = custom_partitioning(identity)

    def partition(mesh, args, result):
        kinds.append((type(args[0].sharding).__name__, args[0].sharding.shard_shape(args[0].shape)))
        return as_chosen(mesh, args, result)

    f.def_partition(partition, decode_shardings=False, sharding_rule="... i -> ... i")
    y = pb.jit(f)(pb.device_put(A, at("x", "y")))
    assert np.array_equal(y, A)
    assert kinds == [("TiledSharding", (2, 3))]


def test_arguments_are_brought_to_where_the_function_needs_them():
    @custom_partitioning
    def spectrum(x):
        return pnp.fft.fft(x)

    def partition(mesh, args, result):
        rows = NamedSharding(mesh, P(*args[0].sharding.spec[:1], None))
        return mesh, pnp.fft.fft, rows, (rows,)

    spectrum.def_partition(partition, sharding_rule="... i -> ... i", need_replication_factors=("i",))
    by_rows = pb.device_put(A, at("x"))
    np.testing.assert_allclose(pb.jit(spectrum)(by_rows), np.fft.fft(A), rtol=1e-4, atol=1e-4)
    assert not pb.jit(spectrum).lower(by_rows).compile().collectives()
    by_both = pb.device_put(A, at("x", "y"))
    np.testing.assert_allclose(pb.jit(spectrum)(by_both), np.fft.fft(A), rtol=1e-4, atol=1e-4)
    assert pb.jit(spectrum).lower(by_both).compile().collectives()


def test_the_text_of_a_module_does_not_name_its_program():
    def scaled_by(factor):
        f = custom_partitioning(identity)

        def partition(mesh, args, result):
            def of_parts(x):
                return x * factor

            return mesh, of_parts, result.sharding, (args[0].sharding,)

        f.def_partition(partition, sharding_rule="... -> ...")
        return pb.jit(f)(pb.device_put(A, at("x")))

    for factor in (1, 2, 3):
        np.testing.assert_allclose(scaled_by(np.float32(factor)), factor * A, rtol=1e-6)


def test_in_shard_map_it_is_the_function_of_the_parts():
    f = custom_partitioning(identity)

    def never(mesh, args, result):
        raise AssertionError("each device has its part already")

    f.def_partition(never, sharding_rule="... -> ...")
    mapped = pb.shard_map(f, mesh=MESH, in_specs=P("x"), out_specs=P("x"))
    assert np.array_equal(pb.jit(mapped)(A), A)


# --- what is refused ---


def test_derivatives_and_batches_are_refused_by_name():
    f = custom_partitioning(identity)
    f.def_partition(as_chosen, sharding_rule="... -> ...")

    def total(x):
        return f(x).sum()

    with raises(NotImplementedError, "custom_partitioning of identity", "derivative", "custom_vjp"):
        pb.grad(total)(pnp.ones(3))
    with raises(NotImplementedError, "custom_partitioning of identity", "vmap", "custom_vmap"):
        pb.vmap(f)(pnp.ones((2, 3)))
    oracle = jax_partitioning.custom_partitioning(identity)
    oracle.def_partition(as_chosen, sharding_rule="... -> ...")
    with pytest.raises(NotImplementedError, match="Batching rule for 'custom_partitioning'"):
        jax.vmap(oracle)(np.ones((2, 3)))
    assert pb.grad(lambda x: (x * f(lax.stop_gradient(x))).sum())(pnp.ones(3)).tolist() == [1, 1, 1]


def test_what_is_missing_or_captured_is_told():
    f = custom_partitioning(identity)
    with raises(TypeError, "custom_partitioning of identity", "def_partition"):
        f(A)
    with raises(NotImplementedError, "infer_sharding_from_operands", "sharding_rule"):
        f.def_partition(as_chosen, infer_sharding_from_operands=as_chosen)
    captured = pnp.arange(3.0)

    @custom_partitioning
    def adds(x):
        return x + captured

    adds.def_partition(as_chosen, sharding_rule="i -> i")
    with raises(ValueError, "custom_partitioning of adds", "1 arrays", "f32[3]"):
        adds(captured)


def answers(answer):
    """A function whose rule returns this."""
    f = custom_partitioning(identity)

    def partition(mesh, args, result):
        return answer(mesh, args, result)

    f.def_partition(partition, sharding_rule="... -> ...")
    return pb.jit(f)(pb.device_put(A, at("x")))


def test_answers_of_the_rule_that_do_not_fit():
    who = "custom_partitioning of identity: partition"
    with raises(TypeError, who, "mesh, function of the parts"):
        answers(lambda mesh, args, result: None)
    with raises(TypeError, who, "expected a sharding for each of the result", "None"):
        answers(lambda mesh, args, result: (mesh, identity, None, (args[0].sharding,)))
    with raises(ValueError, who, "['f32[2,6]']", "['f32[2]']"):
        answers(lambda mesh, args, result: (mesh, row_sums, result.sharding, (args[0].sharding,)))


def row_sums(x):
    return x.sum(1)


class OwnError(Exception):
    pass


def test_the_exception_of_a_rule_is_raised():
    def fail(mesh, args, result):
        raise OwnError("not today")

    with pytest.raises(OwnError, match="not today"):
        answers(fail)
    assert np.array_equal(answers(as_chosen), A)
