"""`ensure_compile_time_eval`: what is concrete is computed while a function is traced."""

import pytest

import pullback as pb
import pullback.numpy as pnp


def doubled(x):
    with pb.ensure_compile_time_eval():
        n = int(pnp.sum(pnp.arange(3)))
        y = x * pnp.float32(2)
    return y + n


def test_concrete_values_are_computed_and_traced_ones_are_traced():
    text = str(pb.make_jaxpr(doubled)(1.0))
    assert "mul" in text
    assert "iota" not in text
    for f in (doubled, pb.jit(doubled), lambda x: pb.vmap(doubled)(pnp.stack([x]))[0]):
        assert float(f(4.0)) == 11
        assert float(pb.grad(f)(4.0)) == float(pb.jvp(f, (4.0,), (1.0,))[1]) == 2


def test_without_it_they_are_traced():
    with pytest.raises(pb.errors.ConcretizationTypeError):
        pb.make_jaxpr(lambda x: x + int(pnp.sum(pnp.arange(3))))(1.0)


def test_traced_values_are_no_constants():
    def f(x):
        with pb.ensure_compile_time_eval():
            return int(x)

    with pytest.raises(pb.errors.ConcretizationTypeError, match=r"int\(\)"):
        pb.jit(f)(1)


def test_the_block_ends_with_an_exception():
    def f(x):
        try:
            with pb.ensure_compile_time_eval():
                raise KeyError
        except KeyError:
            return x * pnp.sum(pnp.arange(3.0))

    assert "iota" in str(pb.make_jaxpr(f)(1.0))
    assert float(pb.grad(f)(1.0)) == 3
