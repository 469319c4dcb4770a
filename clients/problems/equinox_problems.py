"""Modules as pytrees, filtered transformations, layers, loops with checkpoints, and error checks."""

import equinox as eqx
import equinox.internal as eqxi
import jax
import jax.numpy as jnp
import jax.random as jr


def _batch():
    x = jnp.linspace(-1.0, 1.0, 32)[:, None]
    return x, jnp.sin(3 * x)


def train_an_mlp():
    x, y = _batch()
    model = eqx.nn.MLP(1, 1, 8, 2, activation=jnp.tanh, key=jr.PRNGKey(0))

    @eqx.filter_jit
    def step(model):
        @eqx.filter_value_and_grad
        def loss(m):
            return jnp.mean((jax.vmap(m)(x) - y) ** 2)

        value, grads = loss(model)
        return eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, grads)), value

    for _ in range(30):
        model, value = step(model)
    return value, model.layers[0].bias


def convolutional_network():
    class Net(eqx.Module):
        layers: list

        def __init__(self, key):
            k1, k2, k3 = jr.split(key, 3)
            self.layers = [
                eqx.nn.Conv2d(1, 4, 3, key=k1),
                jax.nn.relu,
                eqx.nn.MaxPool2d(2),
                eqx.nn.Conv2d(4, 4, 2, stride=2, padding=1, key=k2),
                eqx.nn.AvgPool2d(2),
                jnp.ravel,
                eqx.nn.Linear(36, 3, key=k3),
            ]

        def __call__(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    net = Net(jr.PRNGKey(1))
    x = jr.normal(jr.PRNGKey(2), (5, 1, 10, 10))

    @eqx.filter_grad
    def grad(net):
        return jnp.sum(jax.nn.log_softmax(jax.vmap(net)(x)) ** 2)

    g = grad(net)
    return jax.vmap(net)(x), g.layers[0].weight, g.layers[-1].bias


def normalization_layers():
    x = jr.normal(jr.PRNGKey(0), (8, 4))
    layer = eqx.nn.LayerNorm(8)
    group = eqx.nn.GroupNorm(2, 8)
    rms = eqx.nn.RMSNorm(8)
    spectral, state = eqx.nn.make_with_state(eqx.nn.SpectralNorm)(
        eqx.nn.Linear(4, 3, key=jr.PRNGKey(3)), "weight", key=jr.PRNGKey(4)
    )
    out, _ = spectral(x[0], state)
    return layer(x[:, 0]), group(x), rms(x[:, 1]), out


def batch_norm_and_its_state():
    norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, axis_name="batch", mode="batch")
    x = jr.normal(jr.PRNGKey(0), (16, 4))
    out, state = jax.vmap(norm, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(x, state)
    inference = eqx.nn.inference_mode(norm)
    again, _ = jax.vmap(inference, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(x, state)
    return out, again


def recurrent_network():
    cell = eqx.nn.GRUCell(2, 3, key=jr.PRNGKey(0))
    lstm = eqx.nn.LSTMCell(2, 3, key=jr.PRNGKey(1))
    xs = jr.normal(jr.PRNGKey(2), (6, 2))

    def loss(cells):
        gru, lstm = cells
        h, _ = jax.lax.scan(lambda h, x: (gru(x, h), None), jnp.zeros(3), xs)
        (h2, c), _ = jax.lax.scan(lambda s, x: (lstm(x, s), None), (jnp.zeros(3), jnp.zeros(3)), xs)
        return jnp.sum(h**2) + jnp.sum(h2 * c)

    value, grads = eqx.filter_value_and_grad(loss)((cell, lstm))
    return value, grads[0].weight_hh, grads[1].bias


def attention_and_embedding():
    attention = eqx.nn.MultiheadAttention(2, 8, key=jr.PRNGKey(0))
    embedding = eqx.nn.Embedding(10, 8, key=jr.PRNGKey(1))
    rope = eqx.nn.RotaryPositionalEmbedding(8)
    x = jax.vmap(embedding)(jnp.array([1, 5, 3]))
    mask = jnp.tril(jnp.ones((3, 3), bool))
    return attention(x, x, x, mask=mask), rope(x)


def dropout_and_sequential():
    net = eqx.nn.Sequential([eqx.nn.Linear(4, 4, key=jr.PRNGKey(0)), eqx.nn.Lambda(jnp.tanh), eqx.nn.Dropout(0.5)])
    return net(jnp.arange(4.0), key=jr.PRNGKey(1)), eqx.nn.inference_mode(net)(jnp.arange(4.0))


def adaptive_pools():
    x = jr.normal(jr.PRNGKey(0), (2, 9, 7))
    return eqx.nn.AdaptiveAvgPool2d((3, 2))(x), eqx.nn.AdaptiveMaxPool2d((3, 2))(x)


def vmap_over_an_ensemble():
    @eqx.filter_vmap
    def make(key):
        return eqx.nn.MLP(2, 1, 4, 1, key=key)

    ensemble = make(jr.split(jr.PRNGKey(0), 3))

    @eqx.filter_vmap(in_axes=(eqx.if_array(0), None))
    def evaluate(model, x):
        return model(x)

    return evaluate(ensemble, jnp.ones(2))


def jvp_vjp_hessian():
    model = eqx.nn.MLP(2, "scalar", 4, 1, activation=jnp.tanh, key=jr.PRNGKey(0))
    x = jnp.array([0.3, -0.5])
    out, tangent = eqx.filter_jvp(lambda m, v: m(v), (model, x), (eqx.filter(model, eqx.is_array), jnp.ones(2)))
    value, pullback = eqx.filter_vjp(lambda v, name: model(v), x, "a string")
    return out, tangent, value, pullback(jnp.array(1.0))[0], eqx.filter_hessian(model)(x)


def custom_rules_on_pytrees():
    @eqx.filter_custom_vjp
    def f(xs, n):
        return xs["a"] ** n

    @f.def_fwd
    def _fwd(perturbed, xs, n):
        return xs["a"] ** n, xs["a"]

    @f.def_bwd
    def _bwd(residual, ct, perturbed, xs, n):
        return {"a": 10.0 * n * residual ** (n - 1) * ct, "b": None}

    @eqx.filter_custom_jvp
    def g(x, *, scale):
        return scale * x**2

    @g.def_jvp
    def _jvp(primals, tangents, *, scale):
        (x,), (t,) = primals, tangents
        return scale * x**2, 20.0 * scale * x * t

    return (
        eqx.filter_grad(lambda x: f(x, 3))({"a": jnp.array(2.0), "b": "text"})["a"],
        jax.grad(lambda x: g(x, scale=3.0))(2.0),
    )


def loops_with_checkpoints():
    def body(carry):
        i, x = carry
        return i + 1, jnp.sin(x) * 1.5

    def loop(x, kind, **options):
        return eqxi.while_loop(lambda c: c[0] < 7, body, (0, x), kind=kind, **options)[1]

    def scanned(x):
        return eqxi.scan(lambda c, t: (c * t, c + t), x, jnp.arange(1.0, 5.0), kind="checkpointed", checkpoints=2)

    return (
        loop(0.5, "lax"),
        jax.grad(lambda x: loop(x, "checkpointed", max_steps=16, checkpoints=3))(0.5),
        jax.grad(lambda x: loop(x, "bounded", max_steps=16))(0.5),
        jax.jit(jax.grad(lambda x: loop(x, "checkpointed", max_steps=16)))(0.5),
        jax.vmap(jax.grad(lambda x: loop(x, "checkpointed", max_steps=16)))(jnp.array([0.1, 0.5])),
        scanned(1.5),
        jax.grad(lambda x: scanned(x)[1].sum())(1.5),
    )


def closures_and_jaxprs():
    weight = jnp.arange(3.0)
    closed = eqx.filter_closure_convert(lambda x: jnp.dot(weight, x) ** 2, jnp.ones(3))
    struct = eqx.filter_eval_shape(lambda x: {"out": x * 2}, jnp.ones(3))
    jaxpr, _, _ = eqx.filter_make_jaxpr(lambda x: x + 1)(jnp.ones(2))
    return closed(jnp.ones(3)), eqx.filter_grad(closed)(jnp.ones(3)), struct["out"].shape, len(jaxpr.jaxpr.eqns)


def errors_at_run_time():
    @eqx.filter_jit
    def f(x):
        return eqx.error_if(x, x < 0, "x must not be negative") * 2

    good = f(jnp.array(1.0))
    try:
        jax.block_until_ready(f(jnp.array(-1.0)))
        caught = 0
    except Exception as error:
        caught = int("x must not be negative" in str(error))
    return good, caught


def tree_functions():
    model = eqx.nn.Linear(2, 2, key=jr.PRNGKey(0))
    changed = eqx.tree_at(lambda m: (m.weight, m.bias), model, (jnp.eye(2), jnp.ones(2)))
    arrays, rest = eqx.partition(changed, eqx.is_array)
    whole = eqx.combine(arrays, rest)
    return whole(jnp.ones(2)), int(bool(eqx.tree_equal(whole, changed))), int(bool(eqx.tree_equal(whole, model)))


def serialised_leaves():
    import io

    model = eqx.nn.Linear(2, 2, key=jr.PRNGKey(0))
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, model)
    file.seek(0)
    like = eqx.nn.Linear(2, 2, key=jr.PRNGKey(1))
    return eqx.tree_deserialise_leaves(file, like).weight


def typed_keys():
    keys = jr.split(jr.key(0), 3)
    linear = eqx.nn.Linear(2, 2, key=jr.key(1))
    dynamic, _ = eqx.partition({"key": keys, "name": "a"}, eqx.is_array)
    return (
        linear.weight,
        jax.vmap(lambda k: jr.normal(k))(keys),
        len(jax.tree.leaves(dynamic)),
        eqx.filter_jit(lambda k: jr.normal(k, (2,)))(keys[0]),
        jr.key_data(jnp.stack([keys[0], keys[1]])),
        jr.key_data(jnp.where(jnp.array([True, False, True]), keys, keys[::-1])),
    )
