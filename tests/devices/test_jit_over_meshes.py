"""Compiled functions over a mesh: places of arguments and results, warm calls, donation, constants, stages."""

import functools
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest
from on_meshes import both, mesh, over, parts_by_device, put, refusal, same_values

import pullback as pb
import pullback.numpy as pnp

X = np.arange(64, dtype=np.float32).reshape(8, 8) / 10
V = np.arange(8, dtype=np.float32) / 4


def affine(w, x):
    return w @ x + 1


def test_places_of_arguments_and_results():
    def compute(lib):
        x, w = put(lib, X, "a", "b"), put(lib, X, "b")

        def several(x):
            return {"t": x.T, "s": x.sum(), "two": (x, x * 2)}

        results = [lib.jit(affine)(w, x), lib.jit(affine)(x, V), lib.jit(several)(x)]
        results.append(lib.jit(affine, out_shardings=over(lib, None, "a"))(w, x))
        results.append(lib.jit(several, out_shardings={"t": over(lib, "b"), "s": None, "two": over(lib)})(x))
        results.append(lib.jit(affine, in_shardings=(over(lib, "a"), None))(X, V))
        results.append(lib.jit(affine, in_shardings=over(lib, "a", "b"), out_shardings=over(lib, "b"))(X, X))
        results.append(lib.jit(lambda: lib.numpy.ones((8, 8)), out_shardings=over(lib, "b", "a"))())
        return results

    both(compute)
    assert pb.jit(affine, out_shardings=pb.devices()[2])(X, X).devices() == {pb.devices()[2]}


def test_constraints_inside():
    def compute(lib):
        constrain = lib.lax.with_sharding_constraint

        def f(x):
            y = constrain(x * 2, over(lib, "b"))
            z = constrain(y, over(lib, "a", lib.P.UNCONSTRAINED))
            return y, z, constrain({"u": x, "v": x.T}, {"u": over(lib, "a"), "v": over(lib)}), z + 1

        def rows(x):
            return constrain(x * 2, over(lib, "b"))

        return lib.jit(f)(put(lib, X, "a")), lib.jit(f)(X), lib.jit(lib.vmap(rows))(put(lib, X, "a", "b"))

    both(compute)


def test_one_trace_for_all_places_and_one_program_for_each():
    traced = []

    def f(x):
        traced.append(1)
        return pnp.sin(x) * 2

    compiled = pb.jit(f)
    with pb.debug.counters() as counted:
        for spec in [("a",), ("a", None), (None, "b"), ("a",), ("a", None)]:
            result = compiled(put(pb, X, *spec))
            assert result.sharding.is_equivalent_to(over(pb, *spec), 2)
            np.testing.assert_allclose(np.asarray(result), np.sin(X) * 2, rtol=1e-6)
        assert compiled(X).sharding.num_devices == 1
    assert len(traced) == 1
    assert counted["compiles"] == 3


def test_a_step_that_is_repeated_keeps_its_places_and_compiles_once():
    @pb.jit
    def step(params, x, rate):
        gradient = pb.grad(lambda p: ((p["w"] @ x - p["b"]) ** 2).sum())(params)
        return pb.tree.map(lambda p, g: p - rate * g, params, gradient)

    params = {"w": put(pb, X / 10, "a", None), "b": put(pb, V)}
    alone = {"w": pnp.asarray(X / 10), "b": pnp.asarray(V)}
    x = put(pb, V, None)
    for _ in range(2):  # of the bias the compiler makes parts, so that the second step is another program
        params, alone = step(params, x, 0.01), step(alone, V, 0.01)
    places = pb.tree.map(lambda p: p.sharding, params)
    with pb.debug.counters() as counted:
        for _ in range(4):
            params, alone = step(params, x, 0.01), step(alone, V, 0.01)
    assert counted["compiles"] == counted["traces"] == 0
    assert pb.tree.map(lambda p: p.sharding, params) == places
    assert params["w"].sharding.spec == pb.P("a", None)
    same_values(params, alone)


def test_warm_calls_do_what_first_calls_do():
    compiled = pb.jit(affine)
    x, w = put(pb, X, "a", "b"), put(pb, X, "b")
    expected = X @ X + 1
    for args in [(w, x), (w, x), (w, X), (w, X), (w, pnp.asarray(X)), (w, x), (X, X), (x, w), (w, x)]:
        np.testing.assert_allclose(np.asarray(compiled(*args)), expected, rtol=1e-5)
    scaled = pb.jit(lambda x, *, k: {"a": x * k})
    for k in (1, 2, 2.0, np.float32(3), put(pb, np.float32(4)), 2):
        np.testing.assert_allclose(np.asarray(scaled(x, k=k)["a"]), X * float(np.asarray(k)), rtol=1e-6)
    power = pb.jit(lambda x, n: x**n, static_argnums=1)
    for n in (2, 3, 3, 2):
        np.testing.assert_allclose(np.asarray(power(x, n)), X**n, rtol=1e-5)
    with pb.default_device(pb.devices()[5]):
        assert compiled(X, X).devices() == {pb.devices()[5]}
    assert compiled(X, X).devices() == {pb.devices()[0]}
    deleted = put(pb, X, "b")
    compiled(deleted, x)
    deleted.delete()
    kind, says = refusal(compiled, deleted, x)
    assert kind is RuntimeError
    assert "has been deleted" in says


def test_functions_of_many_arrays():
    # more than generated code is made for
    @pb.jit
    def f(xs, y):
        return [x * y for x in xs]

    xs, y = pb.device_put([V + i for i in range(150)], over(pb, "a")), put(pb, V)
    for _ in range(3):
        results = f(xs, y)
        assert all(r.sharding == over(pb, "a") for r in results)
        np.testing.assert_allclose(np.asarray(results[149]), (V + 149) * V, rtol=1e-6)
    assert f(xs, V)[3].tolist() == ((V + 3) * V).tolist()


@pytest.mark.parametrize("count", [2, 150])
def test_donation(count):
    step = pb.jit(lambda xs: [x + 1 for x in xs], donate_argnums=0)
    xs = pb.device_put([V] * count, over(pb, "a"))
    for k in range(1, 5):
        before, xs = xs, step(xs)
        assert all(x.is_deleted() for x in before)
        assert xs[1].tolist() == (V + k).tolist()
    x = put(pb, V, "a")
    kind, says = refusal(step, [x] * count)
    assert kind is ValueError
    assert "is donated and passed in another place too" in says
    transposed = pb.jit(lambda x: x.T, donate_argnums=0)
    for _ in range(3):
        x = put(pb, X, "a")
        assert transposed(x).tolist() == X.T.tolist()
        assert x.is_deleted()


def test_results_are_freed():
    compiled = pb.jit(affine)
    x = put(pb, X, "a")
    compiled(x, x)
    result = compiled(x, x)
    buffer = weakref.ref(result._buffer)
    del result
    gc.collect()
    # the last result of the last program on several devices is kept until the next
    pb.jit(pnp.sin)(x)
    pb.jit(pnp.cos)(x)
    assert buffer() is None


def test_constants():
    x = put(pb, X, "a", "b")
    f = pb.jit(lambda y: y + x)
    for y in (V, x, pnp.asarray(V), V):
        result = f(y)
        assert result.sharding.is_equivalent_to(x.sharding, 2)
        np.testing.assert_allclose(np.asarray(result), X + np.asarray(y), rtol=1e-6)
    assert pb.grad(lambda y: f(y).sum())(V).tolist() == [8.0] * 8

    @pb.jit
    def inner(y):
        return pb.lax.scan(lambda c, row: (c + row * y, None), pnp.zeros(8), x)[0]

    np.testing.assert_allclose(np.asarray(inner(V)), (X * V).sum(0), rtol=1e-5)
    kind, says = refusal(f, pb.device_put(V, pb.devices()[4]))
    assert kind is ValueError
    assert "but a value closed over is on devices [0, 1, 2, 3, 4, 5, 6, 7], and 'y' on devices [4]" in says


def test_calls_inside_of_transformations():
    def compute(lib):
        @functools.partial(lib.jit, in_shardings=over(lib, "a"), out_shardings=over(lib, None, "b"))
        def placed(x):
            return lib.numpy.sin(x) * 2

        def loss(x):
            return (placed(x) * x).sum()

        x = put(lib, X, "a")
        return (lib.jit(lib.grad(loss))(x), lib.vmap(placed)(X[None]), lib.jit(placed)(x)), loss

    (ours, loss), (theirs, _) = compute(pb), compute(jax)
    same_values(ours, theirs)
    # JAX asks for cotangents that were placed by hand
    same_values(pb.grad(loss)(put(pb, X, "a")), ours[0])


# --- stages ---


def stages(lib):
    def f(x, y):
        return {"p": x @ y, "s": x.sum()}

    shapes = [lib.ShapeDtypeStruct((8, 8), np.float32, sharding=over(lib, *spec)) for spec in [("a", "b"), ("b",)]]
    return lib.jit(f, donate_argnums=1).lower(*shapes)


def test_lowered_and_compiled():
    def compute(lib):
        compiled = stages(lib).compile()
        x, y = put(lib, X, "a", "b"), put(lib, X, "b")
        results = compiled(x, y)
        assert y.is_deleted() or lib is not pb
        return results, compiled(X, X)

    both(compute)
    compiled = stages(pb).compile()
    assert compiled.input_shardings == ((over(pb, "a", "b"), over(pb, "b")), {})
    assert parts_by_device(compiled.output_shardings["p"], (8, 8)) == parts_by_device(over(pb, "a"), (8, 8))
    assert compiled.output_shardings["s"].is_fully_replicated
    assert "all-reduce" in compiled.as_text()
    assert "sdy.mesh" in stages(pb).as_text()
    assert compiled.memory_analysis().argument_size_in_bytes < 2 * X.nbytes


def test_compiled_programs_refuse_arrays_placed_elsewhere():
    compiled = stages(pb).compile()
    kind, says = refusal(compiled, put(pb, X, "b"), put(pb, X, "b"))
    assert kind is ValueError
    assert says.startswith("compiled f: (args, kwargs)[0][0], of type f32[8,8], is placed as NamedSharding(mesh=")
    assert "but the program was compiled for NamedSharding(" in says
    alone = pb.jit(pnp.sin).lower(X).compile()
    assert refusal(alone, put(pb, X, "a"))[0] is ValueError
    assert alone(X).tolist() == np.asarray(alone(pnp.asarray(X))).tolist()


def test_shapes():
    x = put(pb, X, "a")
    assert pb.eval_shape(affine, x, x) == pb.ShapeDtypeStruct((8, 8), "float32")
    assert pb.jit(affine).eval_shape(x, x).shape == (8, 8)
    assert mesh(pb).size == 8


def test_types_of_ones_own_are_refused_by_name_or_run():
    keys = pb.device_put(pb.random.split(pb.random.key(0), 8), over(pb, "a"))
    drawn = pb.jit(pb.vmap(pb.random.uniform))(keys)
    again = pb.jit(pb.vmap(pb.random.uniform))(keys)
    assert drawn.sharding.num_devices == 8
    same_values(drawn, again)
    same_values(drawn, pb.vmap(pb.random.uniform)(pb.random.split(pb.random.key(0), 8)))


def test_a_function_that_a_program_calls_does_not_run_another_one():
    x = put(pb, np.arange(8.0, dtype=np.float32), "a")
    total = pb.jit(lambda y: y.sum())
    total(x)

    def here(v):
        return np.full_like(v, total(x))

    def in_a_thread(v):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(here, v).result()

    def calls(function):
        return pb.jit(lambda v: pb.pure_callback(function, pb.ShapeDtypeStruct((8,), np.float32), v) + 1)

    with pytest.raises(
        RuntimeError, match=r"jit of <lambda> of f32\[8\]: a program of several devices cannot run within"
    ):
        calls(here)(x)
    limit = pb.config.collective_timeout_secs
    pb.config.update("collective_timeout_secs", 1.0)
    try:
        with pytest.raises(TimeoutError, match=r"has not ended within 1 s .*must not wait for this one"):
            calls(in_a_thread)(x)
    finally:
        pb.config.update("collective_timeout_secs", limit)
    assert float(total(x)) == 28  # nothing is left waiting

    def on_one_device(v):
        return np.asarray(pb.jit(pnp.cumsum)(np.asarray(v)))

    assert calls(on_one_device)(x).tolist() == [1, 2, 4, 7, 11, 16, 22, 29]


@pytest.mark.parametrize("way", ["whole", "parts"])
def test_an_exception_in_a_function_that_a_program_calls(way):
    # the devices that wait for each other are not left waiting, which would end the process after a minute
    x = put(pb, np.arange(8.0, dtype=np.float32), "a")
    limit = [3.0]

    def refuse(v):
        if v.max() > limit[0]:
            raise ValueError(f"{v.max()} is too large")
        return v

    def call(v):
        return pb.pure_callback(refuse, pb.ShapeDtypeStruct(v.shape, v.dtype), v)

    def summed(v):
        return pb.lax.psum(call(v), "a")

    parts = pb.shard_map(summed, mesh=mesh(pb), in_specs=pb.P("a"), out_specs=pb.P(), check_vma=False)
    f = pb.jit(parts if way == "parts" else lambda v: call(v).sum())
    with pytest.raises(ValueError, match=r"7.0 is too large"):
        f(x)
    limit[0] = 7.0
    assert np.sum(f(x)) == 28  # the next run is a new one


@pytest.mark.parametrize("name", [None, "a", ("a",)])
def test_where_a_mapped_axis_is(name):
    def compute(lib):
        def constrained(x):
            return lib.lax.with_sharding_constraint(2 * x, over(lib, "b"))

        def looped(x):
            def step(c, x):
                return constrained(c + x), c.sum()

            return lib.lax.scan(step, x, lib.numpy.stack([x, x]))[0]

        def by_columns(x):
            return lib.vmap(constrained, in_axes=1, out_axes=1, spmd_axis_name=name)(x).sum(1)

        mapped = [lib.vmap(f, spmd_axis_name=name) for f in (constrained, looped)]
        results = [lib.jit(f)(X) for f in mapped]
        return [*results, lib.jit(by_columns)(X), mapped[0](put(lib, X))]

    both(compute)


def test_a_mapped_axis_along_an_axis_that_is_taken():
    def constrained(x):
        return pb.lax.with_sharding_constraint(x, over(pb, "b"))

    with pytest.raises(ValueError, match=r"vmap: spmd_axis_name=\('b',\): a constraint inside .* P\('b',\)"):
        pb.vmap(constrained, spmd_axis_name="b")(X)
    with pytest.raises(ValueError, match="names the axis 'c', but the mesh has"):
        pb.vmap(constrained, spmd_axis_name="c")(X)
