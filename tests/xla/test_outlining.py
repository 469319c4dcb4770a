"""Parts of programs that repeat are functions, and the results stay what they were."""

import functools

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._core.jaxpr import eval_jaxpr
from pullback._xla import outlining
from pullback._xla.outlining import Part, parts


@pytest.fixture
def small(monkeypatch):
    """Thresholds at which small programs have parts."""
    for name, value in {
        "SMALLEST": 4,
        "_LEAST_GAIN": 4,
        "_LEAST_WORK": 0,
        "_LONG_ELEMENTWISE": 0,
        "_STRETCH": 3,
    }.items():
        monkeypatch.setattr(outlining, name, value)


def calls(fun, *args):
    """The sizes of the parts of a function's program, and their number, and how many functions they are."""
    found = [part for part in parts(pb.make_jaxpr(fun)(*args).jaxpr) if type(part) is Part]
    return [len(part.jaxpr.eqns) for part in found], len({id(part.jaxpr) for part in found})


def agrees(fun, *args, rtol=1e-5):
    """The compiled function gives what its equations give one by one."""
    closed = pb.make_jaxpr(fun)(*args)
    expected = eval_jaxpr(closed.jaxpr, closed.consts, *pb.tree_util.tree_leaves(args))
    got = pb.tree_util.tree_leaves(pb.jit(fun)(*args))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=1e-5)


def layers(n, width=4):
    rng = np.random.default_rng(0)
    return [
        {"w": rng.normal(size=(width, width)).astype("float32") / width, "b": rng.normal(size=width).astype("float32")}
        for _ in range(n)
    ]


def network(params, x):
    for p in params:
        x = x + pnp.tanh(x @ p["w"] + p["b"])
    return (x**2).sum()


X = np.linspace(-1, 1, 8).astype("float32").reshape(2, 4)


def test_layers_of_a_loop_become_one_function(small):
    sizes, functions = calls(network, layers(6), X)
    assert len(set(sizes)) == functions == 1
    assert len(sizes) >= 4
    agrees(network, layers(6), X)
    assert pb.jit(network).lower(layers(6), X).as_text().count("func.func private @part") == 1


def test_the_forward_and_the_backward_half_of_a_gradient(small):
    gradient = pb.value_and_grad(network)
    sizes, functions = calls(gradient, layers(8), X)
    assert functions >= 2
    assert len(sizes) >= 10
    agrees(gradient, layers(8), X)


@pytest.mark.parametrize(
    "transform", [pb.hessian, lambda f: pb.jacfwd(f, 1), lambda f: pb.vmap(f, (None, 0)), pb.checkpoint]
)
def test_other_transformations(small, transform):
    agrees(transform(network), layers(5, 2), np.ones((2, 2), "float32"))


def test_the_number_of_functions_does_not_grow_with_the_layers(small):
    texts = [pb.jit(pb.grad(network)).lower(layers(n), X).as_text() for n in (8, 24)]
    few, many = (text.count("func.func") for text in texts)
    assert few == many
    few, many = (sum("stablehlo" in line for line in text.splitlines()) for text in texts)
    assert many < 1.5 * few


def test_operands_from_further_away(small):
    def skipping(params, x):
        first, last = x, x
        for p in params:
            x, last = pnp.tanh(x @ p["w"] + p["b"]) + first + 0.5 * last, x
        return x, last

    agrees(skipping, layers(7), X)
    agrees(pb.grad(lambda params, x: (skipping(params, x)[0] ** 2).sum()), layers(7), X)


def test_results_that_are_used_at_different_places(small):
    def keeping(params, x):
        kept = []
        for i, p in enumerate(params):
            y = x @ p["w"]
            x = pnp.tanh(y + p["b"])
            kept += [x] if i % 3 == 0 else [y, x] if i % 3 == 1 else []
        return kept

    agrees(keeping, layers(9), X)


def test_parts_that_differ_in_a_number_or_an_operand(small):
    def unequal(params, x):
        for i, p in enumerate(params):
            x = pnp.tanh(x @ p["w"] * (2.0 if i == 3 else 1.5) + (p["b"] if i != 5 else params[0]["b"]))
        return x

    agrees(unequal, layers(9), X)


def test_operands_that_are_swapped(small):
    def swapped(x, y):
        for i in range(8):
            a, b = (x, y) if i % 2 else (y, x)
            x, y = pnp.sin(a - 2 * b), pnp.cos(b - a)
        return x, y

    agrees(swapped, 0.3, 0.4)


def test_inside_loops_and_branches(small):
    def looped(params, x):
        def body(x, _):
            for p in params:
                x = pnp.tanh(x @ p["w"] + p["b"])
            return x, x.sum()

        return lax.cond(x.sum() > 100, lambda x: (x, pnp.zeros(3)), lambda x: lax.scan(body, x, None, 3), x)

    agrees(looped, layers(6), X)
    agrees(pb.grad(lambda params, x: looped(params, x)[0].sum()), layers(6), X)


def test_side_effects_keep_their_order_and_number(small):
    seen = []

    def noisy(x):
        for i in range(6):
            x = pnp.sin(x) * 2 + pnp.cos(x) - 0.5 * x
            pb.debug.callback(functools.partial(lambda i, x: seen.append(i), i), x)
        return x

    pb.block_until_ready(pb.jit(noisy)(0.3))
    pb.effects_barrier()
    assert seen == list(range(6))


def test_donation(small):
    x = pnp.array(X)
    donating = pb.jit(lambda params, x: network(params, x) + x, donate_argnums=1)
    expected = np.asarray(network(layers(6), X) + X)
    np.testing.assert_allclose(donating(layers(6), x), expected, rtol=1e-5)
    assert x.is_deleted()


def test_functions_that_are_called_again(monkeypatch):
    monkeypatch.setattr(outlining, "SMALLEST", 3)
    monkeypatch.setattr(outlining, "_LEAST_WORK", 0)

    @pb.jit
    def layer(p, x):
        return pnp.tanh(x @ p["w"] + p["b"])

    def net(params, x):
        for p in params:
            x = layer(p, x)
        return (x**2).sum()

    text = pb.jit(net).lower(layers(3), X).as_text()
    assert text.count('inlineable = "false"') == 3
    agrees(pb.value_and_grad(net), layers(3), X)
    assert "inlineable" not in pb.jit(lambda p, x: layer(p, x)).lower(layers(1)[0], X).as_text()


def test_small_programs_are_left_alone():
    assert calls(pb.grad(network), layers(12), X) == ([], 0)


def test_arithmetic_on_elements_is_left_to_fusion():
    def chain(x):
        for _ in range(100):
            x = pnp.sin(x) * 2 + pnp.cos(x) - 0.5 * x
        return x

    assert calls(chain, np.ones(10**6, "float32")) == ([], 0)


def test_large_layers_are_outlined_at_the_ordinary_thresholds():
    params, x = layers(12, 256), np.ones((64, 256), "float32")

    def deep(params, x):
        for p in params:
            for _ in range(8):
                x = x + pnp.tanh(x @ p["w"] + p["b"])
        return (x**2).sum()

    sizes, functions = calls(deep, params, x)
    assert min(sizes) >= outlining.SMALLEST
    assert functions <= 2


@pytest.mark.parametrize("activation", [pnp.tanh, pb.nn.gelu, pb.nn.relu])
def test_dense_layers_are_no_parts(activation):
    """Fusions end at the products anyway, so that parts only cost: their ends write and keep more arrays."""
    params, x = layers(40, 256), np.ones((512, 256), "float32")

    def dense(params, x):
        for p in params:
            x = activation(x @ p["w"] + p["b"])
        return x.sum()

    assert calls(pb.grad(dense), params, x) == ([], 0)


def test_what_passes_by_the_products_makes_parts():
    """XLA fuses the sums of many layers with each other; a recurrent cell of 60 steps would take ten times as long."""
    params, x = layers(2, 256), np.ones((64, 256), "float32")

    def gated(params, x):
        for _ in range(40):
            gate = pb.nn.sigmoid(x @ params[0]["w"])
            x = gate * x + (1 - gate) * pnp.tanh(x @ params[1]["w"])
        return x.sum()

    assert calls(pb.grad(gated), params, x)[0]


OPERATIONS = [
    lambda x, y: x + y,
    lambda x, y: pnp.sin(x) * y,
    lambda x, y: pnp.tanh(x @ y),
    lambda x, y: pnp.where(x > y, x, 0.5 * y),
    lambda x, y: x - y.T,
    lambda x, y: pnp.sort(x, axis=0),
    lambda x, y: x.at[0].set(y[1]),
]


@pytest.mark.parametrize("seed", range(6))
def test_programs_drawn_at_random(small, seed):
    """A body that repeats, with operands from the body before, from further back, and from outside."""
    rng = np.random.default_rng(seed)
    body = [(OPERATIONS[rng.integers(len(OPERATIONS))], rng.integers(1, 9), rng.integers(1, 9)) for _ in range(5)]
    odd = rng.integers(3, 8)

    def program(x):
        values = [x, x + 1, 2 * x, x.T]
        for repetition in range(9):
            for k, (operation, i, j) in enumerate(body):
                j = 1 if repetition == odd and k == 2 else j
                values.append(operation(values[-min(i, len(values))], values[-min(j, len(values))]))
        return values[-1], values[-7], values[len(values) // 2]

    x = rng.uniform(-0.5, 0.5, (3, 3)).astype("float32")
    agrees(program, x, rtol=1e-4)
    agrees(pb.grad(lambda x: pnp.tanh(program(x)[0]).sum()), x, rtol=1e-3)
