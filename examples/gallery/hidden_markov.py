"""A hidden Markov model learned by the gradient of its likelihood.

The forward algorithm sums over all paths of hidden states, in logarithms, as a `scan`. Its gradient does what the
Baum-Welch algorithm writes by hand; and the derivative by a shift of each emission is the posterior of the hidden
states.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

STAY, FAIR, LOADED = 0.95, np.full(6, 1 / 6), np.array([0.1] * 5 + [0.5])


def throws(count=600):
    """A die that is sometimes exchanged for a loaded one."""
    random = np.random.default_rng(0)
    state, states, seen = 0, [], []
    for _ in range(count):
        state = state if random.uniform() < STAY else 1 - state
        states.append(state)
        seen.append(random.choice(6, p=(FAIR, LOADED)[state]))
    return np.array(states), np.array(seen)


def log_likelihood(params, seen, shifts=0.0):
    """Of what was seen; `shifts` is added to the logarithm of each emission."""
    move = pb.nn.log_softmax(params["move"])
    emit = pb.nn.log_softmax(params["emit"])[:, seen].T + shifts

    def step(forward, emission):
        return pb.nn.logsumexp(forward[:, None] + move, axis=0) + emission, None

    forward, _ = pb.lax.scan(step, emit[0] - pnp.log(2.0), emit[1:])
    return pb.nn.logsumexp(forward)


def posterior(params, seen):
    """The probability of each hidden state at each time."""
    return pb.grad(log_likelihood, 2)(params, seen, pnp.zeros((len(seen), 2)))


def run(steps=300):
    """Climb from two dice that differ a little."""
    states, seen = throws()
    params = {"move": 2.0 * pnp.eye(2), "emit": pnp.zeros((2, 6)).at[1, 5].set(0.5)}

    def step(params, _):
        value, slope = pb.value_and_grad(log_likelihood)(params, seen)
        return pb.tree.map(lambda p, g: p + 0.01 * g, params, slope), value

    params, values = pb.jit(lambda params: pb.lax.scan(step, params, None, length=steps))(params)
    loaded = posterior(params, seen)[:, 1]
    return {
        "states": states,
        "loaded": loaded,
        "emissions": pb.nn.softmax(params["emit"]),
        "gain": values[-1] - values[0],
        "right": ((np.asarray(loaded) > 0.5) == states).mean(),
    }


def draw(axes, result):
    """When the loaded die was in use, and the probability that it was."""
    axes.fill_between(np.arange(200), result["states"][:200], alpha=0.25, step="mid", label="loaded")
    axes.plot(result["loaded"][:200], label="probability")
    axes.set_xlabel("throw")
    axes.legend()
