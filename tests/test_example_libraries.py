"""Optimizers and layers of `example_libraries`, against JAX's: parameters after steps, and values from equal keys."""

import jax
import jax.example_libraries.optimizers as jax_optimizers
import jax.example_libraries.stax as jax_stax
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.example_libraries import optimizers, stax

OPTIMIZERS = {
    "sgd": (0.1,),
    "momentum": (0.1, 0.9),
    "nesterov": (0.1, 0.9),
    "adagrad": (0.1,),
    "rmsprop": (0.1,),
    "rmsprop_momentum": (0.1,),
    "adam": (0.1,),
    "adamax": (0.1,),
    "sm3": (0.1,),
}
PARAMS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": [np.ones(2, np.float32)]}


def after_steps(library, np_, opts, name, args):
    opt = getattr(opts, name)(*args)

    def loss(p):
        return (p["w"] ** 2).sum() + np_.sin(p["b"][0]).sum()

    def step(i, state):
        return opt.update_fn(i, library.grad(loss)(opt.params_fn(state)), state)

    state = opt.init_fn(PARAMS)
    for i in range(4):
        state = step(i, state)
    # JAX's sm3 keeps the shape in its state, which it cannot compile
    return opt.params_fn((step if name == "sm3" else library.jit(step))(4, state))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    ours = after_steps(pb, pnp, optimizers, name, OPTIMIZERS[name])
    theirs = after_steps(jax, jax.numpy, jax_optimizers, name, OPTIMIZERS[name])
    for a, b in zip(pb.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_step_sizes():
    cases = {
        "constant": (0.1,),
        "exponential_decay": (1.0, 3, 0.5),
        "inverse_time_decay": (1.0, 3, 0.5, True),
        "polynomial_decay": (1.0, 5, 0.1, 2.0),
        "piecewise_constant": ([2, 5], [3.0, 2.0, 1.0]),
    }
    for name, args in cases.items():
        ours, theirs = getattr(optimizers, name)(*args), getattr(jax_optimizers, name)(*args)
        for i in (0, 2, 3, 7):
            np.testing.assert_allclose(ours(i), theirs(i), rtol=1e-6)
    with pytest.raises(ValueError, match="make_schedule"):
        optimizers.make_schedule(np.ones(3))
    with pytest.raises(ValueError, match="one fewer"):
        optimizers.piecewise_constant([1], [1.0])


def test_gradients_and_states():
    grads = [np.array([3.0, 4.0], np.float32), np.float32(12)]
    for a, b in zip(optimizers.clip_grads(grads, 2.0), jax_optimizers.clip_grads(grads, 2.0), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert optimizers.l2_norm(grads) == 13
    opt = optimizers.adam(0.1)
    state = opt.update_fn(0, PARAMS, opt.init_fn(PARAMS))
    again = optimizers.pack_optimizer_state(optimizers.unpack_optimizer_state(state))
    assert pb.tree.structure(again) == pb.tree.structure(state)
    # a tuple with names, as JAX's is
    packed, tree, subtrees = state
    assert (packed, tree, subtrees) == (state.packed_state, state.tree_def, state.subtree_defs)
    assert state._fields == jax_optimizers.OptimizerState._fields
    assert len(pb.tree.leaves(state)) == len(packed) * len(packed[0])
    with pytest.raises(TypeError, match="structure"):
        opt.update_fn(0, {"w": 1.0}, state)
    with pytest.raises(TypeError, match="JoinPoint"):
        optimizers.pack_optimizer_state({"w": 1.0})


def network(s):
    return s.serial(
        s.Conv(4, (3, 3), padding="SAME"),
        s.BatchNorm(),
        s.Relu,
        s.MaxPool((2, 2), strides=(2, 2)),
        s.FanOut(2),
        s.parallel(s.serial(s.AvgPool((2, 2)), s.Tanh), s.serial(s.SumPool((2, 2)), s.Elu)),
        s.FanInConcat(),
        s.Flatten,
        s.Dense(5),
        s.LogSoftmax,
    )


def test_layers():
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
    init, apply = network(stax)
    their_init, their_apply = network(jax_stax)
    shape, params = init(pb.random.key(1), x.shape)
    their_shape, their_params = their_init(jax.random.key(1), x.shape)
    assert tuple(shape) == tuple(their_shape)
    for a, b in zip(pb.tree.leaves(params), jax.tree.leaves(their_params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(pb.jit(apply)(params, x), their_apply(their_params, x), rtol=1e-4, atol=1e-5)


def test_dropout():
    _, apply = stax.Dropout(0.25)
    out = apply((), np.ones(1000, np.float32), rng=pb.random.key(0))
    np.testing.assert_array_equal(out, jax_stax.Dropout(0.25)[1]((), np.ones(1000, np.float32), rng=jax.random.key(0)))
    with pytest.raises(ValueError, match="Dropout: in training it needs a key"):
        apply((), np.ones(2))
    _, fixed = stax.Dropout(0.25, mode="test")
    assert fixed((), 3.0) == 3.0
