"""Optimizers on a small regression by a neural network, losses, schedules, and projections."""

import jax
import jax.numpy as jnp
import optax


def _data():
    key = jax.random.PRNGKey(0)
    x = jax.random.normal(key, (64, 3))
    return x, jnp.sin(x.sum(1, keepdims=True))


def _params():
    k1, k2 = jax.random.split(jax.random.key(1))
    return {
        "w1": jax.random.normal(k1, (3, 16)) * 0.5,
        "b1": jnp.zeros(16),
        "w2": jax.random.normal(k2, (16, 1)) * 0.5,
        "b2": jnp.zeros(1),
    }


def _loss(params, x, y):
    hidden = jnp.tanh(x @ params["w1"] + params["b1"])
    return jnp.mean((hidden @ params["w2"] + params["b2"] - y) ** 2)


def _train(optimizer, steps=40, **extra):
    x, y = _data()
    params = _params()
    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(_loss)(params, x, y)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    for _ in range(steps):
        params, state, value = step(params, state)
    return value, params["b2"], jnp.linalg.norm(params["w1"])


def sgd_with_momentum():
    return _train(optax.sgd(0.05, momentum=0.9, nesterov=True))


def adam():
    return _train(optax.adam(0.01))


def adamw_with_schedule_and_clipping():
    schedule = optax.warmup_cosine_decay_schedule(0.0, 0.02, 10, 40)
    return _train(optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-3)))


def adafactor():
    return _train(optax.adafactor(0.01, min_dim_size_to_factor=2))


def lion():
    return _train(optax.lion(0.003))


def lamb():
    return _train(optax.lamb(0.01))


def rmsprop():
    return _train(optax.rmsprop(0.003, centered=True))


def adabelief():
    return _train(optax.adabelief(0.01))


def adagrad():
    return _train(optax.adagrad(0.1))


def sm3():
    return _train(optax.sm3(0.1))


def yogi():
    return _train(optax.yogi(0.02))


def noisy_sgd():
    return _train(optax.noisy_sgd(0.02, key=jax.random.key(3)), steps=10)


def schedule_free():
    return _train(optax.contrib.schedule_free_adamw(0.02))


def prodigy():
    return _train(optax.contrib.prodigy(1.0))


def muon():
    return _train(optax.contrib.muon(0.02), steps=10)


def masked_and_multi_transform():
    labels = {"w1": "fast", "b1": "slow", "w2": "fast", "b2": "frozen"}
    return _train(
        optax.multi_transform(
            {"fast": optax.adam(0.02), "slow": optax.sgd(0.01), "frozen": optax.set_to_zero()}, labels
        )
    )


def gradient_accumulation():
    return _train(optax.MultiSteps(optax.adam(0.02), every_k_schedule=4))


def injected_hyperparameters():
    return _train(optax.inject_hyperparams(optax.adam)(learning_rate=optax.linear_schedule(0.02, 0.001, 40)))


def lookahead():
    x, y = _data()
    optimizer = optax.lookahead(optax.sgd(0.1), sync_period=5, slow_step_size=0.5)
    params = optax.LookaheadParams.init_synced(_params())
    state = optimizer.init(params)
    for _ in range(20):
        grads = jax.grad(_loss)(params.fast, x, y)
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
    return _loss(params.slow, x, y)


def lbfgs_with_line_search():
    def f(p):
        return jnp.sum(100.0 * (p[1:] - p[:-1] ** 2) ** 2 + (1 - p[:-1]) ** 2)

    optimizer = optax.lbfgs()
    params = jnp.array([-1.2, 1.0, 0.8])
    state = optimizer.init(params)
    value_and_grad = optax.value_and_grad_from_state(f)
    for _ in range(25):
        value, grad = value_and_grad(params, state=state)
        updates, state = optimizer.update(grad, state, params, value=value, grad=grad, value_fn=f)
        params = optax.apply_updates(params, updates)
    return params


def sharpness_aware():
    optimizer = optax.contrib.sam(optax.sgd(0.05), optax.chain(optax.contrib.normalize(), optax.sgd(0.05)))
    return _train(optimizer, steps=20)


def losses():
    key = jax.random.PRNGKey(5)
    logits = jax.random.normal(key, (6, 4))
    labels = jnp.array([0, 1, 2, 3, 1, 2])
    one_hot = jax.nn.one_hot(labels, 4)
    return (
        optax.softmax_cross_entropy(logits, one_hot),
        optax.softmax_cross_entropy_with_integer_labels(logits, labels),
        optax.sigmoid_binary_cross_entropy(logits, one_hot),
        optax.huber_loss(logits[:, 0], logits[:, 1], delta=0.5),
        optax.l2_loss(logits),
        optax.cosine_similarity(logits, logits[::-1]),
        optax.kl_divergence(jax.nn.log_softmax(logits), one_hot),
        optax.ctc_loss(logits[None], jnp.zeros((1, 6)), jnp.array([[1, 2]]), jnp.zeros((1, 2))),
        optax.losses.smooth_labels(one_hot, 0.1),
        jax.grad(lambda x: optax.hinge_loss(x[:, 0], jnp.sign(x[:, 1])).sum())(logits),
    )


def projections():
    x = jnp.array([0.5, -1.0, 2.0, 0.3])
    return (
        optax.projections.projection_simplex(x),
        optax.projections.projection_l1_ball(x, 1.0),
        optax.projections.projection_l2_ball(x, 1.0),
        jax.jacobian(optax.projections.projection_simplex)(x),
    )


def perturbed_argmax():
    def one_hot_argmax(x):
        return jax.nn.one_hot(jnp.argmax(x), x.size)

    soft = optax.perturbations.make_perturbed_fun(one_hot_argmax, num_samples=200, sigma=0.5)
    x = jnp.array([0.1, 0.4, 0.2])
    return soft(jax.random.key(0), x), jax.grad(lambda v: soft(jax.random.key(0), v)[0])(x)
