"""Operations and transformations of arrays over a mesh, one by one: values and places are those of JAX.

Each function is computed three ways: here and in JAX on eight devices, and here on one.
"""

import numpy as np
import pytest
from on_meshes import both, mesh, over, put, same_values

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

X = np.arange(64, dtype=np.float32).reshape(8, 8) / 10
V = np.arange(8, dtype=np.float32) / 4


OPERATIONS = {
    "arithmetic": lambda lib, x: [x + 1, 1 - x, x * x, x / 2, x // 2, x % 2, -x, abs(x), x**2],
    "comparisons": lambda lib, x: [x > 1, ~(x > 1), (x > 1) & (x < 3), x == x],
    "functions": lambda lib, x: [lib.numpy.sin(x), lib.numpy.exp(-x), lib.nn.gelu(x), lib.scipy.special.erf(x)],
    "sums": lambda lib, x: [x.sum(), x.sum(0), x.sum(1), x.mean(1), x.max(0), lib.numpy.argmax(x, 1), x.std()],
    "prefixes": lambda lib, x: [lib.numpy.cumsum(x, 1), lib.lax.cumlogsumexp(x, 0)],
    "products": lambda lib, x: [x @ x, x @ x[0], lib.numpy.einsum("ij,kj->ik", x, x), lib.numpy.outer(x[0], x[1])],
    "shapes": lambda lib, x: [x.T, x.reshape(64), x.reshape(2, 4, 8), x[..., None], lib.numpy.tile(x, 2)],
    "joins": lambda lib, x: [lib.numpy.concatenate([x, x]), lib.numpy.stack([x, x]), lib.numpy.where(x > 2, x, 0)],
    "sorts": lambda lib, x: [lib.numpy.sort(-x, 0), lib.numpy.argsort(-x, 1), lib.lax.top_k(x, 2)],
    "reads": lambda lib, x: [x[0], x[:, 3], x[-1, 2:4], x[np.array([1, 3])], lib.numpy.take(x, np.array([2, 0]), 1)],
    "updates": lambda lib, x: [x.at[0].set(1.0), x.at[2:4].add(1.0), x.at[np.array([1, 3])].mul(2.0)],
    "dtypes": lambda lib, x: [x.astype(t) for t in ("bfloat16", "int32", "bool", "complex64", "float16", "int8")],
    "inverse": lambda lib, x: lib.numpy.linalg.inv(x + 30 * lib.numpy.eye(8)),
    "cholesky": lambda lib, x: lib.numpy.linalg.cholesky(x @ x.T + 30 * lib.numpy.eye(8)),
    "solve": lambda lib, x: lib.numpy.linalg.solve(x + 30 * lib.numpy.eye(8), x),
    "eigenvalues": lambda lib, x: lib.numpy.linalg.eigh(x + x.T)[0],
    "fft": lambda lib, x: lib.numpy.fft.fft(x),
    "networks": lambda lib, x: [lib.nn.softmax(x), lib.nn.relu(x - 2), lib.scipy.special.logsumexp(x, 0)],
}
# places that differ from JAX's: there a read of whole rows or columns is another program, and a transform leaves its
# axis divided, which ends the process for most lengths
PLACES_DIFFER = ("reads", "fft")


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("spec", [("a", "b"), (None, ("b", "a"))], ids=str)
def test_operations(name, spec):
    def compute(lib):
        return OPERATIONS[name](lib, put(lib, X, *spec))

    ours = both(compute, places=name not in PLACES_DIFFER)
    same_values(ours, OPERATIONS[name](pb, pnp.asarray(X)), tolerance=2e-5)


def test_operands_that_were_not_placed():
    def compute(lib):
        x = put(lib, X, "a", "b")
        return [x + V, V + x, x @ lib.numpy.asarray(X), lib.numpy.asarray(V) * x, x + 1.5, np.float32(2) * x]

    both(compute)


def test_operands_over_different_axes():
    def compute(lib):
        return [put(lib, X, *s) + put(lib, X, *t) for s in [("a",), (None, "b"), ()] for t in [("b",), ("b", "a")]]

    both(compute)


# --- transformations ---


def smooth(lib, x):
    return (lib.numpy.sin(x) * x).sum()


def with_scan(lib, x):
    def step(c, y):
        return c + lib.numpy.sin(y), c * y

    c, ys = lib.lax.scan(step, lib.numpy.zeros(x.shape[1:]), x)
    return (c * ys).sum()


def with_fori(lib, x):
    def step(i, c):
        return lib.numpy.sin(c) * (i + 1)

    return lib.lax.fori_loop(0, 3, step, x).sum()


def with_cond(lib, x):
    def one(c):
        return c * c

    def other(c):
        return lib.numpy.sin(c)

    return (lib.lax.cond(x.sum() < 1000, one, other, x) * x).sum()


def with_checkpoint(lib, x):
    @lib.checkpoint
    def inner(x):
        return lib.numpy.sin(lib.numpy.sin(x)) * x

    return inner(x).sum()


def with_custom_vjp(lib, x):
    @lib.custom_vjp
    def f(x):
        return lib.numpy.sin(x)

    def forward(x):
        return f(x), x

    def backward(x, ct):
        return (2 * ct * lib.numpy.cos(x),)

    f.defvjp(forward, backward)
    return (f(x) * x).sum()


def with_custom_jvp(lib, x):
    @lib.custom_jvp
    def f(x):
        return lib.numpy.sin(x)

    @f.defjvp
    def rule(primals, tangents):
        return f(*primals), 3 * tangents[0] * lib.numpy.cos(primals[0])

    return (f(x) * x).sum()


def with_jit(lib, x):
    @lib.jit
    def inner(x):
        return lib.numpy.sin(x) * x

    return inner(x).sum()


def with_constraint(lib, x):
    y = lib.lax.with_sharding_constraint(x * x, over(lib, "b"))
    return (y * x).sum()


def with_device_put(lib, x):
    return (lib.device_put(x, over(lib, "b")) * 2 * x).sum()


FUNCTIONS = {f.__name__: f for f in (
    smooth, with_scan, with_fori, with_cond, with_checkpoint, with_custom_vjp, with_custom_jvp, with_jit,
    with_constraint, with_device_put,
)}  # fmt: skip


def derivatives(lib, f, x):
    """Derivatives of both modes, and of a batch where a row is an example."""

    def value(x):
        return f(lib, x)

    results = [lib.value_and_grad(value)(x), lib.vjp(value, x)[1](1.0)]
    if f is not with_custom_vjp:
        y, linear = lib.linearize(value, x)
        results += [lib.jvp(value, (x,), (x,)), y, linear(x)]
    return results


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_derivatives(name, compiled):
    f = FUNCTIONS[name]

    def compute(lib):
        def all_of_them(x):
            return derivatives(lib, f, x)

        return (lib.jit(all_of_them) if compiled else all_of_them)(put(lib, X / 10, "a", "b"))

    ours = both(compute, places=False)
    same_values(ours, derivatives(pb, f, pnp.asarray(X / 10)), tolerance=1e-4)


# they say where values are to be; of a loop over rows, the rows are whole on each device
MOVES = ("with_constraint", "with_device_put", "with_scan")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_stay_where_arguments_are(name):
    f = FUNCTIONS[name]

    def value(x):
        return f(pb, x)

    x = put(pb, X / 10, "a", "b")
    for gradient in (pb.grad(value)(x), pb.jit(pb.grad(value))(x)):
        assert gradient.sharding.num_devices == 8
        assert gradient.sharding.is_equivalent_to(x.sharding, 2) or name in MOVES


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_batches_and_second_derivatives(compiled):
    def compute(lib):
        def f(x):
            return (lib.numpy.sin(x) * x).sum()

        def loop(x):
            return with_fori(lib, x)

        def all_of_them(x):
            rows = lib.vmap(f)(x), lib.vmap(f, in_axes=1)(x), lib.vmap(lib.grad(f))(x), lib.vmap(lib.grad(loop))(x)
            row = x[0]
            return rows, lib.hessian(f)(row), lib.jacrev(lib.numpy.sin)(row), lib.jacfwd(lib.numpy.sin)(row)

        return (lib.jit(all_of_them) if compiled else all_of_them)(put(lib, X / 10, "a", "b"))

    both(compute, places=False)


def test_loops_and_branches():
    def compute(lib):
        np_, x = lib.numpy, put(lib, X, "a", "b")

        def small(c):
            return c.sum() < 1000

        def doubled(c):
            return c * 2 + 1

        def step(c, y):
            return c + np_.sin(y), c * y

        scanned = lib.lax.scan(step, np_.zeros(8), x), lib.lax.scan(step, np_.zeros(8), x, reverse=True)
        chosen = lib.lax.switch(1, [doubled, np_.sin], x), lib.lax.map(doubled, x)
        return lib.lax.while_loop(small, doubled, x), scanned, chosen, lib.lax.associative_scan(np_.add, x)

    both(compute)


def test_eager_loops_compile_once():
    def step(c, y):
        return c + pnp.sin(y), c * y

    x = put(pb, X, "a", "b")
    first = lax.scan(step, pnp.zeros(8), x)
    with pb.debug.counters() as counted:
        again = lax.scan(step, pnp.zeros(8), x)
    assert counted["compiles"] == 0
    same_values(first, again)


def test_linear_maps():
    def compute(lib):
        def linear(x):
            return x.T * 2

        return lib.linear_transpose(linear, put(lib, X, "a"))(put(lib, X, "a", "b"))

    both(compute)


def test_the_sharding_under_a_derivative():
    seen = []

    def f(x):
        seen.append(x.sharding)
        return (x * x).sum()

    x = put(pb, X, "a", "b")
    pb.grad(f)(x)
    pb.jvp(f, (x,), (x,))
    assert seen == [x.sharding] * 2


def test_rules_are_checked_over_a_mesh():
    @pb.custom_vjp
    def right(x):
        return pnp.sin(x)

    @pb.custom_vjp
    def wrong(x):
        return pnp.sin(x)

    def forward(x):
        return pnp.sin(x), x

    def backward(x, ct):
        return (ct * pnp.cos(x),)

    def doubled(x, ct):
        return (2 * ct * pnp.cos(x),)

    right.defvjp(forward, backward)
    wrong.defvjp(forward, doubled)
    pb.check_rules(right, put(pb, X / 10, "a", "b"))
    with pytest.raises(AssertionError):
        pb.check_rules(wrong, put(pb, X / 10, "a", "b"))


def test_references():
    def compute(lib):
        ref, count = lib.new_ref(put(lib, X, "a", "b")), lib.new_ref(put(lib, X[0], "b"))

        @lib.jit
        def update(ref, y):
            ref[...] = ref[...] * 2
            ref[0] = y
            count[...] += y
            return ref[...].sum(0)

        sums = [update(ref, V), update(ref, V)]
        kept = ref[...], count[...]
        ref[1] = V
        ref[...] += 1
        return kept, sums, ref[...]

    ours = both(compute)
    assert ours[0][0].sharding == over(pb, "a", "b")


def test_python_functions_in_programs(capfd):
    def compute(lib):
        x = put(lib, X, "a", "b")

        def twice(x):
            return np.asarray(x) * 2

        def called(x):
            return lib.pure_callback(twice, lib.ShapeDtypeStruct((8, 8), np.float32), x)

        def printed(x):
            lib.debug.print("the sum is {}", x.sum())
            return x * 3

        results = called(x), lib.jit(called)(x), lib.jit(printed)(x), lib.grad(lambda x: lib.jit(printed)(x).sum())(x)
        lib.effects_barrier()
        return results

    both(compute, places=False)
    assert capfd.readouterr().out.count("the sum is 201.59999") == 4


def test_random_numbers():
    def compute(lib):
        drawn = lib.random.normal(lib.random.key(3), (8, 8))
        return drawn + put(lib, X, "a", "b")

    both(compute)


def test_numpy_functions_of_placed_arrays():
    x = put(pb, X, "a", "b")
    assert np.array_equal(np.add(x, 1), X + 1)
    assert mesh(pb).size == 8


def test_an_operation_that_is_known_takes_a_short_way():
    x = pb.device_put(np.array([1.0, -2.0], "float32"), pb.devices()[3])

    def results():
        return [x + x, pnp.sum(x), x * 2, x * 2.5, x * -0.0, 1 / (x * 0.0), pnp.sum(x, keepdims=True), x[1:]]

    results()
    with pb.debug.counters() as seen:
        got = results()
    assert seen["compiles"] == 0
    assert all(y.sharding.flat_devices == (pb.devices()[3],) for y in got)
    expected = [[2, -4], -1, [2, -4], [2.5, -5], [-0.0, 0.0], [np.inf, -np.inf], [-1], [-2]]
    for y, e in zip(got, expected, strict=True):
        assert np.array_equal(y, np.array(e, "float32"))
    assert np.signbit(np.asarray(got[4])).tolist() == [True, False]
    # numbers of other types and at other places
    assert (x.astype("int32") * 2).tolist() == [2, -4]
    elsewhere = pb.device_put(x, pb.devices()[5]) * 2
    assert elsewhere.sharding.flat_devices == (pb.devices()[5],)
    x.delete()
    with pytest.raises(RuntimeError, match="deleted"):
        x + x


def test_the_short_way_looks_for_nans_if_asked():
    x = pb.device_put(np.float32([0.0]), pb.devices()[2])
    assert np.isnan(x / x).all()
    with pb.debug_nans(True), pytest.raises(FloatingPointError, match="div"):
        x / x
