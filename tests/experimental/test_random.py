"""Random numbers from a generator with a state: the numbers are JAX's, in and out of transformed code."""

import jax
import jax.experimental.random as theirs
import numpy as np
import pytest

import pullback as pb
import pullback.experimental.random as ours


def _draws(rng):
    """One draw of each kind, in turn."""
    return [
        rng.uniform(),
        rng.uniform(-1, np.array([2.0, 3.0])),
        rng.normal(1, 2, 4),
        rng.integers(7),
        rng.integers(np.array([3, 4]), 100, dtype="int16"),
        rng.random((2, 3)),
        rng.spawn(2)[1].random(3),
        rng.uniform(),
    ]


def _same(mine, reference):
    for x, y in zip(mine, reference, strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(np.asarray(x, "float64"), np.asarray(y, "float64"), rtol=1e-5, atol=1e-6)


def test_draws_are_those_of_jax():
    _same(_draws(ours.stateful_rng(42)), _draws(theirs.stateful_rng(42)))


def test_compiled_draws_go_on_where_eager_ones_were():
    rng, reference = ours.stateful_rng(3), ours.stateful_rng(3)
    mine = [rng.uniform(), *pb.jit(_draws)(rng), rng.uniform()]
    _same(mine, [reference.uniform(), *_draws(reference), reference.uniform()])


def test_a_closed_over_generator_draws_anew_at_each_call():
    rng = ours.stateful_rng(0)
    draw = pb.jit(rng.normal)
    assert len({float(draw()) for _ in range(5)}) == 5


def test_examples_of_a_vmap_have_generators_of_their_own():
    def two(rng):
        return rng.normal(), rng.integers(100)

    mine = pb.vmap(pb.vmap(two))(ours.stateful_rng(7).split((2, 3)))
    _same(mine, jax.vmap(jax.vmap(two))(theirs.stateful_rng(7).split((2, 3))))


def test_the_generator_by_name():
    key = ours.stateful_rng(1, impl="rbg").key()
    assert str(key.dtype) == "key<rbg>"


def test_derivatives_pass_by_the_state():
    rng = ours.stateful_rng(5)

    def f(scale):
        return rng.normal(0.0, scale)

    drawn = ours.stateful_rng(5).normal()
    np.testing.assert_allclose(pb.grad(f)(2.0), drawn, rtol=1e-6)


def test_without_a_seed_generators_differ():
    assert float(ours.stateful_rng().random()) != float(ours.stateful_rng().random())


def _unseeded():
    return ours.stateful_rng().random()


def test_refusals():
    with pytest.raises(TypeError, match="expected a seed inside transformed code"):
        pb.jit(_unseeded)()
    with pytest.raises(ValueError, match=r"was split into shape \(3,\): pass it to a function under vmap"):
        ours.stateful_rng(0).split(3).uniform()
