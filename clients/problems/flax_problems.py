"""Networks of flax.linen and flax.nnx: training, state, lifted transformations, recurrence, attention."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import nnx, serialization, traverse_util
from flax.training import train_state

_X = jnp.linspace(-1.0, 1.0, 768).reshape(4, 8, 8, 3)
_LABELS = jnp.array([0, 2, 1, 2])
_SEQUENCE = jnp.sin(jnp.arange(60.0)).reshape(2, 5, 6)


def _doubled(tree):
    """The parameters in double precision: rounding errors of training grow in single precision."""
    return jax.tree.map(lambda x: x.astype(float) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


class _Convolutional(nn.Module):
    classes: int = 3

    @nn.compact
    def __call__(self, x, train=True):
        x = nn.Conv(4, (3, 3), use_bias=False)(x)  # a bias here has a vanishing gradient, of which Adam takes the sign
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
        x = nn.relu(x)
        x = nn.avg_pool(x, (2, 2), (2, 2))
        x = nn.Conv(8, (3, 3), strides=2, padding="VALID")(x)
        x = nn.gelu(x).reshape((x.shape[0], -1))
        return nn.Dense(self.classes)(nn.LayerNorm()(x))


def linen_convolutional_network():
    model = _Convolutional()
    variables = _doubled(model.init(jax.random.key(0), _X))
    tx = optax.adam(1e-2)
    state = train_state.TrainState.create(apply_fn=model.apply, params=variables["params"], tx=tx)

    @jax.jit
    def step(state, statistics):
        def loss(params):
            logits, updated = state.apply_fn({"params": params, "batch_stats": statistics}, _X, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(logits, _LABELS).mean(), updated["batch_stats"]

        (value, statistics), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
        return state.apply_gradients(grads=grads), statistics, value

    losses, statistics = [], variables["batch_stats"]
    for _ in range(5):
        state, statistics, value = step(state, statistics)
        losses.append(value)
    evaluated = model.apply({"params": state.params, "batch_stats": statistics}, _X, train=False)
    return losses, evaluated, state.params


def linen_dropout_and_attention():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic):
            y = nn.MultiHeadDotProductAttention(num_heads=2, qkv_features=6)(nn.LayerNorm()(x))
            x = x + nn.Dropout(0.4)(y, deterministic=deterministic)
            return x + nn.Dense(6)(nn.gelu(nn.Dense(12)(nn.RMSNorm()(x))))

    block = Block()
    params = _doubled(block.init(jax.random.key(1), _SEQUENCE, True))
    still = block.apply(params, _SEQUENCE, True)
    dropped = block.apply(params, _SEQUENCE, False, rngs={"dropout": jax.random.key(2)})
    grads = jax.grad(lambda p: jnp.sum(block.apply(p, _SEQUENCE, True) ** 2))(params)
    return still, dropped, grads


def linen_recurrent_cells():
    results = []
    for kind in (nn.LSTMCell, nn.GRUCell, nn.OptimizedLSTMCell):
        model = nn.RNN(kind(4, param_dtype=float))
        variables = model.init(jax.random.key(3), _SEQUENCE)
        results += [
            model.apply(variables, _SEQUENCE),
            jax.grad(lambda v, m=model: m.apply(v, _SEQUENCE).sum())(variables),
        ]
    return results


def linen_lifted_transformations():
    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x, _):
            return nn.tanh(nn.Dense(6)(x)), None

    class Stack(nn.Module):
        @nn.compact
        def __call__(self, x):
            scanned = nn.scan(
                nn.remat(Layer),
                variable_axes={"params": 0},
                split_rngs={"params": True},
                length=3,
                in_axes=nn.broadcast,
            )
            x, _ = scanned()(x, None)
            heads = nn.vmap(
                nn.Dense, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=2
            )
            return heads(2)(x)

    model = Stack()
    variables = _doubled(model.init(jax.random.key(4), _SEQUENCE))
    return model.apply(variables, _SEQUENCE), jax.grad(lambda v: jnp.sum(model.apply(v, _SEQUENCE) ** 2))(variables)


def linen_intermediates_and_bytes():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(3, kernel_init=nn.initializers.orthogonal())(x)
            self.sow("intermediates", "hidden", x)
            count = self.variable("counter", "count", lambda: jnp.zeros((), jnp.int32))
            count.value += 1
            return nn.Embed(5, 3)(jnp.array([0, 3])) @ x[0].T

    model = Model()
    variables = _doubled(model.init(jax.random.key(5), _SEQUENCE))
    out, state = model.apply(variables, _SEQUENCE, mutable=["intermediates", "counter"])
    restored = serialization.from_bytes(variables, serialization.to_bytes(variables))
    return out, state, restored, traverse_util.flatten_dict(restored, sep="/")


def nnx_training():
    class Network(nnx.Module):
        def __init__(self, rngs):
            self.conv = nnx.Conv(3, 4, (3, 3), use_bias=False, param_dtype=float, rngs=rngs)
            self.norm = nnx.BatchNorm(4, param_dtype=float, rngs=rngs)
            self.dropout = nnx.Dropout(0.2, rngs=rngs)
            self.out = nnx.Linear(4 * 16, 3, param_dtype=float, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.conv(x)))
            x = nnx.avg_pool(x, (2, 2), (2, 2))
            return self.out(self.dropout(x.reshape(x.shape[0], -1)))

    model = Network(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adamw(1e-2), wrt=nnx.Param)
    metrics = nnx.MultiMetric(accuracy=nnx.metrics.Accuracy(), loss=nnx.metrics.Average("loss"))

    @nnx.jit
    def step(model, optimizer, metrics):
        def loss(model):
            logits = model(_X)
            return optax.softmax_cross_entropy_with_integer_labels(logits, _LABELS).mean(), logits

        (value, logits), grads = nnx.value_and_grad(loss, has_aux=True)(model)
        optimizer.update(model, grads)
        metrics.update(loss=value, logits=logits, labels=_LABELS)
        return value

    losses = [step(model, optimizer, metrics) for _ in range(5)]
    model.eval()
    return losses, model(_X), metrics.compute(), nnx.state(model, nnx.Param)


def nnx_split_merge_and_transformations():
    model = nnx.Sequential(
        nnx.Linear(6, 8, param_dtype=float, rngs=nnx.Rngs(1)),
        nnx.tanh,
        nnx.Linear(8, 2, param_dtype=float, rngs=nnx.Rngs(2)),
    )
    graphdef, state = nnx.split(model)

    @jax.jit
    def pure(state, x):
        return nnx.merge(graphdef, state)(x)

    @nnx.split_rngs(splits=3)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def ensemble(rngs):
        return nnx.Linear(6, 2, param_dtype=float, rngs=rngs)

    members = ensemble(nnx.Rngs(3))
    applied = nnx.vmap(lambda m, x: m(x), in_axes=(0, None))(members, _SEQUENCE[0])
    stepped = nnx.scan(lambda carry, x: (carry + x.sum(), carry), in_axes=(nnx.Carry, 0), out_axes=(nnx.Carry, 0))
    return (
        pure(state, _SEQUENCE),
        applied,
        stepped(jnp.zeros(()), _SEQUENCE[0]),
        nnx.grad(lambda m: m(_SEQUENCE).sum())(model),
    )


def nnx_recurrence_and_attention():
    rngs = nnx.Rngs(4)
    rnn = nnx.RNN(nnx.LSTMCell(6, 4, param_dtype=float, rngs=rngs))
    attention = nnx.MultiHeadAttention(
        num_heads=2, in_features=6, qkv_features=8, param_dtype=float, decode=False, rngs=rngs
    )
    return rnn(_SEQUENCE), attention(_SEQUENCE), nnx.grad(lambda m: (m(_SEQUENCE) ** 2).sum())(attention)
