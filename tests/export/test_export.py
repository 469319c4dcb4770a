"""Exported functions: what they compute after they were written and read, under every transformation."""

import functools
import subprocess
import sys
from collections import OrderedDict, namedtuple

import numpy as np
import pytest
from agreement import all_close

import pullback as pb
import pullback.numpy as pnp
from pullback import export, lax, random

X = np.array([0.5, 1.5, -0.7], dtype="float32")
Y = np.array([1.0, -2.0, 0.3], dtype="float32")


def written_and_read(fun, *args, **kwargs):
    """The exported function, as it comes out of a file."""
    return export.deserialize(export.export(pb.jit(fun))(*args, **kwargs).serialize())


def total(fun):
    return lambda *args: sum(pnp.sum(out) for out in pb.tree.leaves(fun(*args)))


def check_transformations(fun, *args):
    """Value, derivatives of three orders in both modes, batches and their compositions are those of the function."""
    stored = written_and_read(fun, *args).call
    batches = [np.stack([x, 2 * x]) for x in args]
    for run in (lambda f: f, pb.jit):
        all_close(run(stored)(*args), run(fun)(*args))
        all_close(run(pb.vmap(stored))(*batches), run(pb.vmap(fun))(*batches))
    f, g = total(fun), total(stored)
    for _ in range(3):
        all_close(pb.jvp(g, args, args), pb.jvp(f, args, args), 10)
        f, g = total(pb.grad(f)), total(pb.grad(g))
        all_close(g(*args), f(*args), 10)
        all_close(pb.jit(g)(*args), f(*args), 10)
    of_examples = pb.vmap(pb.grad(total(fun)))(*batches)
    all_close(pb.vmap(pb.grad(total(stored)))(*batches), of_examples, 10)
    all_close(pb.grad(total(pb.vmap(stored)))(*batches), of_examples, 10)


@pb.custom_jvp
def log1pexp(x):
    return pnp.log1p(pnp.exp(x))


@log1pexp.defjvp
def log1pexp_rule(primals, tangents):
    (x,), (t,) = primals, tangents
    return log1pexp(x), t * pb.nn.sigmoid(x)


@functools.partial(pb.custom_vjp, jvp="transpose")
def cube_times(x, y):
    return x**3 * y


def cube_fwd(x, y):
    return cube_times(x, y), (x, y)


def cube_bwd(residuals, ct):
    x, y = residuals
    return 3 * x**2 * y * ct, x**3 * ct


cube_times.defvjp(cube_fwd, cube_bwd)


def plain(x, y):
    return {"a": pnp.sin(x) * y, "b": (x @ y, [pnp.exp(x)])}


def ruled(x, y):
    return log1pexp(x) * cube_times(x, y)


def ruled_in_loops(x, y):
    def step(carry, _):
        return log1pexp(carry), cube_times(carry, y)

    return lax.scan(step, x, None, length=3)


def ruled_in_branches(x, y):
    return lax.cond(x[0] > 0, lambda x: log1pexp(x), lambda x: cube_times(x, x), x) + lax.fori_loop(
        0, 2, lambda i, c: log1pexp(c), y
    )


def ruled_and_mapped(x, y):
    return pb.vmap(pb.vmap(log1pexp))(x[:, None] * y)


def checkpointed(x, y):
    return pb.checkpoint(ruled)(x, y)


def differentiated(x, y):
    return pb.grad(total(ruled))(x, y)


def closing_over(x, y):
    @pb.custom_jvp
    def scaled(x):
        return x * y

    @scaled.defjvp
    def rule(primals, tangents):
        return scaled(primals[0]), tangents[0] * y

    return scaled(pnp.sin(x))


def solved(x, y):
    def solve(matvec, b):
        return b / matvec(pnp.ones_like(b))

    return lax.custom_linear_solve(lambda z: z * (2 + pnp.cos(x)), y, solve, symmetric=True)


FUNCTIONS = [
    plain,
    ruled,
    ruled_in_loops,
    ruled_in_branches,
    ruled_and_mapped,
    checkpointed,
    differentiated,
    closing_over,
    solved,
]


def test_functions_of_the_library_need_no_jit():
    read = export.deserialize(export.export(pnp.sin)(X).serialize())
    np.testing.assert_array_equal(read.call(X), pb.jit(pnp.sin)(X))


@pytest.mark.parametrize("fun", FUNCTIONS, ids=lambda f: f.__name__)
def test_transformations_of_what_was_read(fun):
    check_transformations(fun, X, Y)


def test_the_rule_is_what_differentiates():
    """The derivative of the formula overflows where that of the rule does not."""
    stored = written_and_read(log1pexp, 0.0).call
    assert float(pb.grad(stored)(100.0)) == 1.0
    assert not np.isfinite(pb.grad(lambda x: pnp.log1p(pnp.exp(x)))(100.0))
    assert float(pb.grad(pb.grad(pb.grad(stored)))(100.0)) == 0.0


def test_static_arguments_of_rules_are_kept_apart():
    @functools.partial(pb.custom_vjp, nondiff_argnums=(0,))
    def clipped(limit, x):
        return x

    def fwd(limit, x):
        return clipped(limit, x), None

    def bwd(limit, residuals, ct):
        return (pnp.clip(ct, -limit, limit),)

    clipped.defvjp(fwd, bwd)
    stored = written_and_read(lambda x: clipped(1.0, 10 * x) + clipped(2.0, 10 * x), 0.0).call
    assert float(pb.grad(lambda x: 5 * stored(x))(1.0)) == 10 * (1 + 2)


def test_forward_mode_that_the_author_ruled_out_stays_so():
    product = pb.custom_vjp(lambda x, y: x * y)
    product.defvjp(lambda x, y: (product(x, y), (x, y)), lambda saved, ct: (saved[1] * ct, saved[0] * ct))
    stored = written_and_read(product, 1.0, 2.0).call
    assert float(pb.grad(stored)(1.0, 2.0)) == 2.0
    with pytest.raises(TypeError, match="can't apply forward-mode"):
        pb.jvp(stored, (1.0, 2.0), (1.0, 0.0))


@pytest.mark.parametrize("source", ["transpose", "fwd", "primal"])
def test_sources_of_forward_mode(source):
    sine = pb.custom_vjp(pnp.sin, jvp=source)
    sine.defvjp(lambda x: (sine(x), x), lambda x, ct: (ct * pnp.cos(x),))
    stored = written_and_read(lambda x: sine(x), 0.0).call
    all_close(pb.jvp(stored, (0.5,), (2.0,)), (np.float32(np.sin(0.5)), np.float32(2 * np.cos(0.5))))
    all_close(pb.grad(pb.grad(stored))(0.5), np.float32(-np.sin(0.5)))


def test_another_process_runs_it(tmp_path):
    """A process that has not the source: value, gradient by the rule, second order, batch, compiled."""
    (tmp_path / "f.bin").write_bytes(export.export(pb.jit(ruled))(X, Y).serialize())
    program = (
        "import pullback as pb, numpy as np\n"
        "from pullback import export\n"
        "f = export.deserialize(open('f.bin', 'rb').read()).call\n"
        f"x, y = np.array({X.tolist()}, 'f4'), np.array({Y.tolist()}, 'f4')\n"
        "g = pb.grad(lambda x: f(x, y).sum())\n"
        "h = pb.grad(lambda x: g(x).sum())\n"
        "out = [f(x, y), g(x), h(x), pb.jit(h)(x), pb.vmap(f)(x[None], y[None])[0]]\n"
        "np.save('out.npy', np.stack([np.asarray(o) for o in out]))\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=300)
    value, first, second, compiled, mapped = np.load(tmp_path / "out.npy")
    grad = pb.grad(lambda x: ruled(x, Y).sum())
    all_close(value, ruled(X, Y))
    all_close(first, grad(X))
    all_close(second, pb.grad(lambda x: grad(x).sum())(X))
    all_close(compiled, second)
    all_close(mapped, value)


def test_dtypes_and_constants():
    table = np.arange(6, dtype="float32").reshape(2, 3)
    for dtype in ("bool", "int8", "uint16", "float16", "bfloat16", "complex64", "float8_e4m3fn"):
        x = pnp.asarray([0, 1, 1]).astype(dtype)

        def fun(x):
            return x, pnp.asarray(table) * x.astype("float32"), x == x

        stored = written_and_read(fun, x)
        assert stored.in_avals[0].dtype == x.dtype
        for run in (lambda f: f, pb.jit):
            for got, expected in zip(run(stored.call)(x), fun(x), strict=True):
                assert got.dtype == expected.dtype
                np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))


def test_keys_are_arguments():
    stored = written_and_read(lambda key, x: x + random.normal(random.split(key)[0], (3,)), random.key(0), X)
    key = random.key(7)
    all_close(stored.call(key, X), X + random.normal(random.split(key)[0], (3,)))
    assert stored.in_avals[0].str_short() == "key<fry>[]"


def test_keys_are_arguments_and_results_by_their_types():
    key = random.key(7)
    one, pair = pb.ShapeDtypeStruct((), key.dtype), pb.ShapeDtypeStruct((2,), key.dtype)

    def fun(tree, *, more):
        return random.split(tree["a"], 2), {"b": more[::-1]}

    stored = written_and_read(fun, {"a": one}, more=pair)
    assert [aval.str_short() for aval in (*stored.in_avals, *stored.out_avals)] == ["key<fry>[]", *["key<fry>[2]"] * 3]
    keys = random.split(key)
    for got, expected in zip(pb.tree.leaves(stored.call({"a": key}, more=keys)), [keys, keys[::-1]], strict=True):
        assert (got == expected).all()
    compiled = pb.jit(fun).lower({"a": one}, more=pair).compile()
    assert (compiled({"a": key}, more=keys)[1]["b"] == keys[::-1]).all()


Point = namedtuple("Point", "x y")
export.register_namedtuple_serialization(Point, serialized_name="tests.Point")


def test_pytrees():
    def fun(tree, *, scale):
        p, rest, ordered = tree["p"], tree["rest"], tree["ordered"]
        return Point(p.x * scale, p.y), [rest[0], None], OrderedDict(b=ordered["a"], a=ordered["b"])

    tree = {"rest": [X, (None, ())], "p": Point(X, Y), "ordered": OrderedDict(b=X, a=Y)}
    stored = export.deserialize(export.export(pb.jit(fun))(tree, scale=2.0).serialize())
    out = stored.call(tree, scale=3.0)
    assert pb.tree.structure(out) == pb.tree.structure(fun(tree, scale=3.0))
    all_close(pb.tree.leaves(out), pb.tree.leaves(fun(tree, scale=3.0)))
    assert stored.in_tree == pb.tree.structure(((tree,), {"scale": 0}))


def test_static_and_donated_arguments():
    def power(x, n):
        return x**n

    stored = export.deserialize(export.export(pb.jit(power, static_argnums=1, donate_argnums=0))(X, 3).serialize())
    all_close(stored.call(X), X**3)
    all_close(stored.call(X), X**3)  # the argument is there still


def test_vjp_is_an_exported_function():
    exported = written_and_read(lambda x, n: x * n, X, 3)
    pulled = exported.vjp()
    ct_x, ct_n = pulled.call(X, 3, Y)
    all_close(ct_x, 3 * Y)
    assert ct_n.dtype == pb.float0
    assert exported.has_vjp()
    assert pulled.has_vjp()


def test_several_platforms():
    exported = export.export(pb.jit(plain), platforms=("cuda", "cpu"))(X, Y)
    assert exported.platforms == ("cuda", "cpu")
    assert "i32" in exported.mlir_module()
    stored = export.deserialize(exported.serialize())
    all_close(stored.call(X, Y), plain(X, Y))
    all_close(pb.jit(stored.call)(X, Y), plain(X, Y))


def test_what_cannot_leave_the_process_is_named():
    ref = pb.new_ref(X)

    def reads(x):
        return x + ref[...]

    def calls_back(x):
        return pb.pure_callback(np.sin, x, x)

    def prints(x):
        pb.debug.print("{}", x)
        return x

    for fun, word in ((reads, "a Ref"), (calls_back, "pure_callback"), (prints, "debug_callback")):
        with pytest.raises(NotImplementedError, match=f"export of {fun.__name__}.*{word}"):
            export.export(pb.jit(fun))(X)
    with pytest.raises(NotImplementedError, match=r"the routine 'potrf'.*'tpu'"):
        export.export(pb.jit(pnp.linalg.cholesky), platforms=["tpu"])(np.eye(2, dtype="f4"))
    with pytest.raises(TypeError, match="that jit has made"):
        export.export(plain)
    for platforms in ("cpu", [], ["gpu"], ["cpu", "cpu"]):
        with pytest.raises(ValueError, match="platforms must be a list"):
            export.export(pb.jit(plain), platforms=platforms)


def test_arguments_are_checked():
    stored = written_and_read(plain, X, Y)
    with pytest.raises(ValueError, match=r"\(args, kwargs\)\[0\]\[1\] must have the type f32\[3\], got f32\[2\]"):
        stored.call(X, Y[:2])
    with pytest.raises(ValueError, match=r"expected arguments of another structure: \(args, kwargs\)"):
        stored.call(X)
    cuda = export.deserialize(export.export(pb.jit(plain), platforms=["cuda"])(X, Y).serialize())
    with pytest.raises(ValueError, match="is for the platforms cuda, but is called on cpu"):
        cuda.call(X, Y)
    anywhere = export.export(
        pb.jit(plain), platforms=["cuda"], disabled_checks=[export.DisabledSafetyCheck.platform()]
    )(X, Y)
    all_close(export.deserialize(anywhere.serialize()).call(X, Y), plain(X, Y))


def test_a_rule_that_calls_itself_with_ever_other_types_is_refused():
    @pb.custom_jvp
    def longer(x):
        return x.sum()

    @longer.defjvp
    def rule(primals, tangents):
        (x,), (t,) = primals, tangents
        return longer(pnp.concatenate([x, x[:1]])), t.sum()

    exported = export.export(pb.jit(longer))(X)
    with pytest.raises(NotImplementedError, match="call it with other types or arguments without end"):
        exported.serialize()


def test_large_constants_and_nested_calls():
    weights = np.linspace(-1, 1, 40_000, dtype="float32").reshape(200, 200)
    inner = written_and_read(lambda x: pnp.tanh(weights @ x), np.ones(200, "float32"))
    outer = written_and_read(lambda x: inner.call(inner.call(x)), np.ones(200, "float32"))
    x = np.linspace(0, 1, 200, dtype="float32")
    expected = np.tanh(weights.astype("f8") @ np.tanh(weights.astype("f8") @ x))
    all_close(outer.call(x), expected.astype("f4"), 100)
    all_close(
        pb.grad(total(outer.call))(x), pb.grad(total(lambda x: pnp.tanh(weights @ pnp.tanh(weights @ x))))(x), 100
    )


@pytest.mark.parametrize("order", [0, 1])
def test_a_backward_pass_in_a_file(order):
    """What vjp kept goes into the file; the rule of the function has the say, and the pass can be differentiated."""

    @pb.custom_vjp
    def f(w, x):
        return pnp.tanh(w @ x)

    f.defvjp(lambda w, x: (f(w, x), (w, x)), lambda kept, ct: (3 * pnp.outer(ct, kept[1]), None))
    w, x, ct = pnp.ones((3, 2)), pnp.array([0.1, 0.2]), pnp.arange(3.0)
    _, backward = pb.vjp(f, w, x)
    data = export.export(pb.jit(backward))(ct).serialize(vjp_order=order)
    call = export.deserialize(data).call
    for got, expected in zip(call(ct), (3 * pnp.outer(ct, x), pnp.zeros(2)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    derivative = pb.jacfwd(call)(ct)[0]
    np.testing.assert_allclose(derivative, 3 * np.einsum("ik,j->ijk", np.eye(3), x), rtol=1e-6)
