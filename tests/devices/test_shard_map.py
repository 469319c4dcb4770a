"""`shard_map`: values and derivatives as JAX's and as without a mesh, with and without the check of what varies."""

import re

import jax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback.experimental import checkify

P = pb.P
AUTO = (pb.sharding.AxisType.Auto,) * 2
JAX_AUTO = (jax.sharding.AxisType.Auto,) * 2
R = np.random.RandomState(0)
X = R.randn(8, 4).astype(np.float32)
W = (R.randn(4, 6) * 0.3).astype(np.float32)
B = R.randn(6).astype(np.float32)
STEPS = R.randn(3, 4).astype(np.float32)
HALF = np.float32(0.5)


def mesh_of(lib):
    return lib.make_mesh((4, 2), ("x", "y"), axis_types=AUTO if lib is pb else JAX_AUTO)


def data_parallel(lib, np_):
    def loss(x, w, b):
        return lib.lax.pmean((np_.tanh(x @ w + b) ** 2).sum(), ("x", "y"))

    return loss, (lib.P(("x", "y")), lib.P(), lib.P()), lib.P()


def tensor_parallel(lib, np_):
    def layer(x, w, v):
        return lib.lax.psum(np_.tanh(x @ w) @ v, "y")

    return layer, (lib.P("x"), lib.P(None, "y"), lib.P("y")), lib.P("x")


def gathers(lib, np_):
    def f(x, w):
        return np_.sin(lib.lax.all_gather(x, "x", tiled=True) @ w) * (1 + lib.lax.axis_index("x"))

    return f, (lib.P("x"), lib.P()), lib.P("x")


def gathers_along_two_axes(lib, np_):
    def f(x):
        return np_.sin(lib.lax.all_gather(x, ("x", "y"), tiled=True)).sum(0, keepdims=True) * x

    return f, (lib.P(("x", "y")),), lib.P(("x", "y"))


def stacks(lib, np_):
    def f(x):
        return lib.lax.psum(np_.sin(lib.lax.all_gather(x, "x", axis=1)) * x[:, None], "y")

    return f, (lib.P("x"),), lib.P("x")


def scatters(lib, np_):
    def f(x):
        return lib.lax.psum_scatter(np_.sin(x), "x", scatter_dimension=0, tiled=True)

    return f, (lib.P(None, "y"),), lib.P("x", "y")


def permutes(lib, np_):
    def f(x):
        return np_.sin(x) * lib.lax.ppermute(x, "x", [(i, (i + 1) % 4) for i in range(4)])

    return f, (lib.P("x"),), lib.P("x")


def permutes_some(lib, np_):
    def f(x):
        return np_.sin(x) + lib.lax.ppermute(x * x, "x", [(0, 2), (3, 1)])

    return f, (lib.P("x", "y"),), lib.P("x", "y")


def exchanges(lib, np_):
    def f(x):
        return np_.sin(lib.lax.all_to_all(x, "x", 1, 0, tiled=True))

    return f, (lib.P("x"),), lib.P(None, "x")


def exchanges_pieces(lib, np_):
    def f(x):
        return np_.sin(lib.lax.all_to_all(x, "x", 1, 0)) * x[:, :1].sum()

    return f, (lib.P("x"),), lib.P(None, "x")


def extrema(lib, np_):
    def f(x):
        top = lib.lax.pmax(lib.lax.stop_gradient(x.max()), "x")
        low = lib.lax.pmin(lib.lax.stop_gradient(x.min()), "x")
        return np_.exp(x - top) + x * low

    return f, (lib.P("x"),), lib.P("x")


def loops(lib, np_):
    def f(x, w):
        def step(c, row):
            return np_.tanh(lib.lax.psum(c * row, "x") + c), (c * c).sum()

        c, ys = lib.lax.scan(step, x, w)
        return c, lib.lax.psum(ys, "x")

    return f, (lib.P("x"), lib.P()), (lib.P("x"), lib.P())


def loops_with_one_carry(lib, np_):
    def f(x, w):
        def step(c, row):
            return np_.tanh(c + lib.lax.pmean((x * row).sum(), ("x", "y"))), None

        return lib.lax.scan(step, np_.float32(0.5), w)[0]

    return f, (lib.P("x"), lib.P()), lib.P()


def branches(lib, np_):
    def f(x, w):
        return lib.lax.cond(
            lib.lax.axis_index("x") > 1, lambda x: np_.sin(x) @ w, lambda x: lib.lax.psum((x @ w) ** 2, "y"), x
        )

    return f, (lib.P("x"), lib.P()), lib.P("x")


def recomputes(lib, np_):
    @lib.checkpoint
    def f(x, w):
        return np_.sin(lib.lax.psum(np_.sin(x) @ w, "x")) + x @ w

    return f, (lib.P("x"), lib.P()), lib.P("x")


def maps(lib, np_):
    def row(x, w):
        return np_.sin(lib.lax.psum(x, "x") * x + w)

    return lib.vmap(row, in_axes=(1, None)), (lib.P("x"), lib.P()), lib.P(None, "x")


def calls(lib, np_):
    @lib.jit
    def f(x, w):
        return np_.sin(lib.lax.psum(x, "x") * x + w)

    return f, (lib.P("x"), lib.P()), lib.P("x")


def returns_one_value_and_many(lib, np_):
    def f(x, w):
        total = lib.lax.psum(x, "x")
        return {"total": total * w, "parts": total * x + w}

    return f, (lib.P("x"), lib.P()), {"total": lib.P(), "parts": lib.P("x")}


BODIES = (
    (data_parallel, (X, W, B)),
    (tensor_parallel, (X, W, W.T.copy())),
    (gathers, (X, W)),
    (gathers_along_two_axes, (X,)),
    (stacks, (X,)),
    (scatters, (X,)),
    (permutes, (X,)),
    (permutes_some, (X,)),
    (exchanges, (X,)),
    (exchanges_pieces, (X,)),
    (extrema, (X,)),
    (loops, (X, STEPS)),
    (loops_with_one_carry, (X, STEPS)),
    (branches, (X, W)),
    (recomputes, (X, W)),
    (maps, (X, HALF)),
    (calls, (X, HALF)),
    (returns_one_value_and_many, (X, HALF)),
)
EACH_BODY = pytest.mark.parametrize(("body", "args"), BODIES, ids=[body.__name__ for body, _ in BODIES])


def mapped(lib, body, check):
    np_ = pnp if lib is pb else jax.numpy
    f, ins, outs = body(lib, np_)
    return lib.shard_map(f, mesh=mesh_of(lib), in_specs=ins, out_specs=outs, check_vma=check)


def results(lib, body, args, check):
    """The value, the gradient of the sum of squares, and the derivative along the arguments themselves."""
    f = mapped(lib, body, check)

    def loss(*xs):
        return sum((leaf**2).sum() for leaf in lib.tree.leaves(f(*xs)))

    def along(*xs):
        return lib.jvp(f, xs, xs)[1]

    gradient = lib.grad(loss, tuple(range(len(args))))
    return [
        np.asarray(x) for x in lib.tree.leaves((lib.jit(f)(*args), lib.jit(gradient)(*args), lib.jit(along)(*args)))
    ]


# what JAX 0.10.2 refuses: the transpose of an exchange whose two axes differ, a mean along an axis where nothing varies
REFUSED_BY_JAX = ((exchanges_pieces, True), (exchanges_pieces, False), (loops_with_one_carry, True))


@EACH_BODY
@pytest.mark.parametrize("check", [True, False])
def test_values_and_derivatives_as_jaxs(body, args, check):
    if (body, check) in REFUSED_BY_JAX:
        with pytest.raises(ValueError, match=r"Expected cotangent type|can only accept axis_name"):
            results(jax, body, args, check)
        return
    ours, theirs = results(pb, body, args, check), results(jax, body, args, check)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


@EACH_BODY
def test_gradients_are_those_of_differences(body, args):
    if body is extrema:  # which stops derivatives
        return
    f = mapped(pb, body, True)

    def loss(*xs):
        return sum((leaf**2).sum() for leaf in pb.tree.leaves(f(*xs)))

    directions = [np.asarray(R.randn(*x.shape), np.float32) for x in args]
    gradient = pb.jit(pb.grad(loss, tuple(range(len(args)))))(*args)
    slope = sum(float((np.asarray(g, np.float64) * d).sum()) for g, d in zip(gradient, directions, strict=True))
    compiled, h = pb.jit(loss), 2e-3
    ahead, behind = (
        float(compiled(*[(x + s * h * d).astype(np.float32) for x, d in zip(args, directions, strict=True)]))
        for s in (1, -1)
    )
    # the rounding of float32 sums over the step
    scale = max(1.0, abs(slope), abs(ahead))
    assert abs((ahead - behind) / (2 * h) - slope) < 2e-3 * scale


def test_second_derivatives():
    def second(lib, body, args):
        f = mapped(lib, body, True)

        def loss(x):
            return sum((leaf**2).sum() for leaf in lib.tree.leaves(f(x, *args[1:])))

        return np.asarray(lib.jit(lib.hessian(loss))(X))

    for body, args in ((tensor_parallel, (X, W, W.T.copy())), (loops, (X, STEPS))):
        np.testing.assert_allclose(second(pb, body, args), second(jax, body, args), rtol=5e-4, atol=5e-4)


def test_eager_calls_are_compiled_once():
    f = mapped(pb, gathers, True)
    f(X, W)
    with pb.debug.counters() as counts:
        value = f(X, W)
    assert counts["compiles"] == 0
    np.testing.assert_allclose(value, pb.jit(f)(X, W), rtol=1e-6)


def test_vmap_around():
    def per_column(lib, np_):
        f = mapped(lib, calls, True)
        return lib.jit(lib.vmap(f, in_axes=(1, None), out_axes=1))(X, HALF)

    np.testing.assert_allclose(per_column(pb, pnp), per_column(jax, jax.numpy), rtol=1e-5)


def test_axes_that_the_function_has_no_parts_along():
    def total(lib):
        f = lib.shard_map(
            lambda x, w: lib.lax.psum(x, "x") * x + w,
            mesh=mesh_of(lib),
            in_specs=(lib.P("x"), lib.P()),
            out_specs=lib.P("x"),
            axis_names={"x"},
        )
        return lib.jit(lib.value_and_grad(lambda x, w: (f(x, w) ** 2).sum(), (0, 1)))(X, HALF)

    for a, b in zip(pb.tree.leaves(total(pb)), jax.tree.leaves(total(jax)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_closed_over_values_are_differentiated():
    mesh = mesh_of(pb)

    def loss(x, w):
        f = pb.shard_map(lambda x: lax.psum(pnp.sin(x) @ w, "x"), mesh=mesh, in_specs=P("x"), out_specs=P())
        return (f(x) ** 2).sum()

    def plain(x, w):
        return (pnp.sin(x).reshape(4, 2, 4).sum(0) @ w).__pow__(2).sum()

    for a, b in zip(pb.grad(loss, (0, 1))(X, W), pb.grad(plain, (0, 1))(X, W), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_placement_of_results():
    mesh = mesh_of(pb)
    f = pb.shard_map(
        lambda x: (x, lax.psum(x, ("x", "y"))), mesh=mesh, in_specs=P("x", "y"), out_specs=(P("x", "y"), P())
    )
    parts, total = pb.jit(f)(X)
    assert parts.sharding.is_equivalent_to(pb.NamedSharding(mesh, P("x", "y")), 2)
    assert total.sharding.is_fully_replicated
    assert [s.data.shape for s in parts.addressable_shards] == [(2, 2)] * 8


def test_dtypes():
    mesh = mesh_of(pb)
    for dtype in ("float32", "bfloat16", "float16", "int32", "int8", "uint32", "bool", "complex64"):
        x = pnp.asarray(np.arange(8) % 3, dtype)
        f = pb.shard_map(
            lambda x: (lax.psum(x, "x"), lax.all_gather(x, "x", tiled=True), lax.ppermute(x, "x", [(0, 1)])),
            mesh=mesh,
            in_specs=P("x"),
            out_specs=(P(), P("x"), P("x")),
        )
        total, gathered, sent = f(x)
        wide = np.asarray(x, np.complex64 if dtype == "complex64" else np.float32).reshape(4, 2)
        np.testing.assert_array_equal(np.asarray(total, wide.dtype), wide.sum(0))
        np.testing.assert_array_equal(np.asarray(gathered, wide.dtype), np.tile(wide.ravel(), 4))
        np.testing.assert_array_equal(np.asarray(sent, wide.dtype), [0, 0, *wide[0], 0, 0, 0, 0])


def test_empty_parts():
    f = pb.shard_map(lambda x: lax.psum(x, "x"), mesh=mesh_of(pb), in_specs=P("x"), out_specs=P())
    assert f(np.zeros((0, 3), np.float32)).shape == (0, 3)


# --- errors ---


def refused(f, *args):
    with pytest.raises((ValueError, TypeError, NameError)) as info:
        f(*args)
    return str(info.value)


def identity(x):
    return x


def test_refusals_of_specs():
    mesh = mesh_of(pb)

    def call(ins, outs, *args, **keywords):
        return refused(pb.shard_map(identity, mesh=mesh, in_specs=ins, out_specs=outs, **keywords), *args)

    assert "in_specs has 2 entries for 1 arguments" in call((P(), P()), P(), X)
    says = call(P("x"), P("x"), np.ones((6, 2), np.float32))
    assert "shard_map of identity: argument 'x' of type f32[6,2]: axis 0 of length 6 cannot be divided into 4" in says
    assert "P('x', 'y', None) has 3 entries, the array 2 axes" in call(P("x", "y", None), P(), X)
    assert "P('z',) names the axis 'z'" in call(P("z"), P(), X)
    assert "expected a PartitionSpec or None, got 'x'" in call("x", P(), X)
    says = call(P("x"), P(), X)
    assert "the result may differ among the devices along ('x',)" in says
    assert "lax.psum or lax.pmean over 'x'" in says
    assert "axis_names: the mesh has the axes ('x', 'y'), got ['z']" in call(P(), P(), X, axis_names={"z"})


def test_refusals_of_names():
    mesh = mesh_of(pb)

    def f(x):
        return lax.psum(x, "z")

    assert "psum" in (says := refused(pb.shard_map(f, mesh=mesh, in_specs=P(), out_specs=P()), X))
    assert "'z'" in says
    inner = pb.shard_map(identity, mesh=mesh, in_specs=P("x"), out_specs=P("x"))
    assert "'x' of the mesh has the name of an axis around" in refused(pb.vmap(inner, axis_name="x"), np.ones((3, 8)))


def test_a_collective_that_not_all_devices_would_run_is_refused():
    def chosen(x):
        return lax.cond(lax.axis_index("x") > 1, lambda x: lax.psum(x, "x"), lambda x: x, x)

    def loop(x):
        return lax.while_loop(lambda s: s[0] < lax.axis_index("x"), lambda s: (s[0] + 1, lax.psum(s[1], "x")), (0, x))[
            1
        ]

    for f in (chosen, loop):
        says = refused(pb.shard_map(f, mesh=mesh_of(pb), in_specs=P("x"), out_specs=P("x")), X)
        assert "psum along 'x' stands in a branch, or in a loop" in says
        assert "wait for ever" in says


def test_arrays_of_another_mesh_are_refused():
    other = pb.make_mesh((4,), ("x",), devices=pb.devices()[4:])
    x = pb.device_put(X, pb.NamedSharding(other, P("x")))
    says = refused(pb.shard_map(identity, mesh=mesh_of(pb), in_specs=P("x"), out_specs=P("x")), x)
    assert "devices [0, 1, 2, 3, 4, 5, 6, 7]" in says
    assert "devices [4, 5, 6, 7]" in says


# --- what is made of it ---


def test_smap():
    def f(x, w):
        return lax.psum(pnp.sin(x), "x") * w, x @ w

    mesh = mesh_of(pb)
    w = np.arange(4.0, dtype=np.float32)
    with pb.set_mesh(mesh):
        total, parts = pb.smap(f, in_axes=(0, None), out_axes=(None, 0), axis_name="x")(X, w)
        turned = pb.smap(lambda x: x * 2, in_axes=-1, out_axes=1, axis_name="y")(X)
        assert "in_axes has 1 entries for 2 arguments" in refused(
            pb.smap(f, in_axes=(0,), out_axes=0, axis_name="x"), X, w
        )
        assert "the axis 2 does not exist" in refused(pb.smap(identity, in_axes=2, out_axes=0, axis_name="x"), X)
    np.testing.assert_allclose(total, np.sin(X).reshape(4, 2, 4).sum(0) * w, rtol=1e-5)
    np.testing.assert_allclose(parts, X @ w, rtol=1e-5)
    np.testing.assert_array_equal(turned, X * 2)
    assert "expected a mesh" in refused(pb.smap(identity, in_axes=0, out_axes=0, axis_name="x"), X)


def test_pmap():
    def f(x, scale, *, shift):
        return lax.pmean(x * scale, "i") + shift, x.sum()

    mean, sums = pb.pmap(f, axis_name="i", in_axes=(0, None))(X, 2.0, shift=np.arange(8.0, dtype=np.float32))
    np.testing.assert_allclose(mean, X.mean(0) * 2 + np.arange(8.0)[:, None], rtol=1e-5)
    np.testing.assert_allclose(sums, X.sum(1), rtol=1e-5)
    assert len(mean.sharding.device_set) == 8
    columns = pb.pmap(lambda x: x * 2, in_axes=1, out_axes=1)(X)
    np.testing.assert_array_equal(columns, X * 2)
    assert len(columns.sharding.device_set) == 4
    squares = pb.pmap(lambda x: lax.psum(x, "i") ** 2, axis_name="i")
    gradient = pb.grad(lambda x: squares(x).sum())(X)
    plain = pb.grad(lambda x: 8 * (x.sum(0) ** 2).sum())(X)
    np.testing.assert_allclose(gradient, plain, rtol=1e-4)
    assert "the mapped axis has length 9" in refused(pb.pmap(identity), np.ones(9))
    assert "have the lengths [3, 8]" in refused(pb.pmap(lambda x, y: x), np.ones(8), np.ones(3))


def test_python_functions_are_called_for_each_part():
    shapes = []

    def host(x):
        shapes.append(x.shape)
        return np.sin(x)

    def f(x):
        return pb.pure_callback(host, pb.ShapeDtypeStruct(x.shape, x.dtype), x)

    mapped_ = pb.jit(pb.shard_map(f, mesh=mesh_of(pb), in_specs=P("x"), out_specs=P("x"), check_vma=False))
    np.testing.assert_allclose(mapped_(X), np.sin(X), rtol=1e-6)
    assert set(shapes) == {(2, 4)}


@pytest.mark.parametrize("check", [True, False])
def test_checks_of_parts(check):
    def f(x):
        checkify.check((x > 0).all(), "the sum is {total}", total=x.sum())
        return lax.psum(x, "x")

    mapped_ = pb.shard_map(f, mesh=mesh_of(pb), in_specs=P("x", "y"), out_specs=P(None, "y"), check_vma=check)
    positive = np.abs(X) + 1
    other = positive.copy()
    other[3, 3] = -5  # in the part of the second row of devices and the second column
    for fun in (mapped_, pb.jit(mapped_)):
        error, out = checkify.checkify(fun)(positive)
        assert error.get() is None
        np.testing.assert_allclose(out, positive.reshape(4, 2, 4).sum(0), rtol=1e-6)
        error, _ = checkify.checkify(fun)(other)
        found = re.search(r"the sum is (\S+) ", error.get())
        np.testing.assert_allclose(float(found[1]), other[2:4, 2:].sum(), rtol=1e-5)


def test_taps_of_parts_are_stacked():
    mapped_ = pb.shard_map(
        lambda x: pb.debug.tap(x.sum(), "total") * x, mesh=mesh_of(pb), in_specs=P("x", "y"), out_specs=P("x", "y")
    )
    totals = X.reshape(4, 2, 2, 2).sum((1, 3)).ravel()
    for fun in (mapped_, pb.jit(mapped_)):
        np.testing.assert_allclose(pb.debug.tapped(fun)(X)[1].values["total"], totals, rtol=1e-5)


def test_the_mesh_inside_is_that_of_the_parts():
    """A `shard_map` in another, and specs in it, need not name the mesh again; its bwd rule neither."""
    x = np.arange(32, dtype=np.float32).reshape(4, 8)
    mesh = pb.make_mesh((2, 4), ("x", "y"))

    @pb.custom_vjp
    def doubled(x):
        return 2 * x

    def doubled_bwd(_, ct):
        return (pb.shard_map(lambda ct: 3 * ct, in_specs=P(None, "y"), out_specs=P(None, "y"), axis_names={"y"})(ct),)

    doubled.defvjp(lambda x: (doubled(x), None), doubled_bwd)

    def summed(x):
        return lax.psum(x.sum(1), "y")

    def outer(x):
        assert pb.sharding.get_abstract_mesh().axis_names == ("x", "y")
        inner = pb.shard_map(summed, in_specs=P(None, "y"), out_specs=P(), axis_names={"y"})
        return inner(lax.with_sharding_constraint(doubled(x), P(None, "y"))) + lax.axis_index("x")

    f = pb.shard_map(outer, mesh=mesh, in_specs=P("x"), out_specs=P("x"), axis_names={"x"})
    assert pb.jit(f)(x).tolist() == (2 * x.sum(1) + [0, 0, 1, 1]).tolist()
    assert pb.jit(pb.grad(lambda x: f(x).sum()))(x).tolist() == np.full((4, 8), 3.0).tolist()
    with pytest.raises(ValueError, match="expected a mesh"):
        pb.shard_map(summed, in_specs=P(None, "y"), out_specs=P())(x)


def test_the_own_index_where_the_compiler_divides_other_axes():
    """`axis_index` along some axes of a mesh, by itself, in loops and branches, and in a `shard_map` in another."""
    x = np.arange(32, dtype=np.float32).reshape(8, 4)
    mesh = pb.make_mesh((2, 4), ("x", "y"))
    placed = pb.device_put(x, pb.NamedSharding(mesh, P("x", "y")))

    def steps(x):
        i = lax.axis_index("x")
        x = lax.scan(lambda c, _: (c + i, None), x, None, length=3)[0]
        x = lax.cond(i == 0, lambda x: 2 * x, lambda x: x, x)
        return pb.vmap(lambda row: row * lax.axis_index("x"), axis_name="rows")(x) + lax.axis_index("x")

    f = pb.shard_map(steps, mesh=mesh, in_specs=P("x"), out_specs=P("x"), axis_names={"x"}, check_vma=False)
    right = np.concatenate([np.zeros((4, 4)), x[4:] + 3 + 1])
    np.testing.assert_array_equal(pb.jit(f)(placed), right)
    np.testing.assert_array_equal(f(placed), right)

    def outer(x):
        inner = pb.shard_map(steps, in_specs=P("x"), out_specs=P("x"), axis_names={"x"}, check_vma=False)
        return inner(x + lax.axis_index("y"))

    g = pb.shard_map(outer, mesh=mesh, in_specs=P(None, "y"), out_specs=P(None, "y"), axis_names={"y"}, check_vma=False)
    np.testing.assert_array_equal(pb.jit(g)(placed), right + np.where(right, np.arange(4), 0))


def test_pmap_refuses_a_number_that_is_to_be_mapped():
    with pytest.raises(ValueError, match=r"in_axes: axis 0 of \[0\]\[1\], of shape \(\), does not exist"):
        pb.pmap(lambda x, n: x * n)(np.ones((2, 3)), 100)
