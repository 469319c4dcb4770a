"""Values of types of one's own over several devices: results are those of one device, a place is that of each part."""

import numpy as np
import pytest
from quantised import dequantise, quantise, scaled

import pullback as pb
import pullback.numpy as pnp
from pullback import lax

P = pb.P
X = np.random.RandomState(0).randn(8, 4).astype(np.float32)


def rows():
    return pb.NamedSharding(pb.make_mesh((8,), ("x",)), P("x"))


def placed():
    return pb.device_put(X, rows())


def loss(x):
    return (dequantise(quantise(x)) ** 2).sum()


def looped(x):
    return dequantise(lax.scan(lambda q, _: (scaled(q, 2.0), None), quantise(x), None, length=3)[0])


def close(a, b):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "fun", [lambda x: dequantise(quantise(x)), looped, pb.grad(loss)], ids=["call", "loop", "grad"]
)
def test_functions_of_placed_arrays(fun):
    expected = fun(pnp.asarray(X))
    compiled = pb.jit(fun)
    for _ in range(2):
        close(compiled(placed()), expected)
    close(fun(placed()), expected)


def test_values_that_programs_return_and_take():
    q = pb.jit(quantise)(placed())
    assert q.numbers.sharding.is_equivalent_to(rows(), 2)
    expected = dequantise(quantise(pnp.asarray(X)))
    close(pb.jit(dequantise)(q), expected)
    close(dequantise(q), expected)
    twice = pb.jit(lambda q, x: scaled(q, x), donate_argnums=0)
    close(dequantise(twice(q, 2.0)), 2 * expected)
    assert q.numbers.is_deleted()


def test_places_of_values():
    q = pb.device_put(quantise(pnp.asarray(X)), rows())
    assert (q.numbers.sharding, q.scales.sharding) == (rows(), rows())
    expected = dequantise(q)
    close(expected, dequantise(quantise(pnp.asarray(X))))
    f = pb.jit(lambda x, q: scaled(q, x), in_shardings=(None, rows()), out_shardings=rows())
    result = f(2.0, quantise(pnp.asarray(X)))
    assert result.scales.sharding.is_equivalent_to(rows(), 1)
    close(dequantise(result), 2 * expected)
    with pytest.raises(ValueError, match=r"axis 0 of the shape .* cannot be divided into 8 equal parts"):
        pb.device_put(quantise(pnp.asarray(X[:6])), rows())


def test_values_in_functions_of_parts():
    def f(x):
        return dequantise(quantise(x)) + lax.psum(x, "x")

    mapped = pb.shard_map(f, mesh=rows().mesh, in_specs=P("x"), out_specs=P("x"))
    expected = dequantise(quantise(pnp.asarray(X))) + X.sum(0)
    close(mapped(X), expected)
    close(pb.jit(mapped)(X), expected)


def test_ahead_of_time():
    with pytest.raises(NotImplementedError, match=r"lower of jit of <lambda>: .*Call the function"):
        pb.jit(lambda x: dequantise(quantise(x)), out_shardings=rows()).lower(X)
