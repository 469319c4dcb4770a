"""Learning to rank: Spearman's correlation as a loss, by differentiable ranks.

Ranks are steps, without a derivative. `rules.soft_rank` shares places between numbers that are near, and so has one.
Here a linear score is to put items in the order of a truth that was distorted beyond recognition: only the order can
be learned.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

WEIGHTS = np.array([1.0, -2.0, 0.5, 0.0])


def items(count=60):
    """Features, and values whose order alone says something."""
    random = np.random.default_rng(0)
    features = random.normal(size=(count, 4)).astype(np.float32)
    return features, np.exp(3.0 * (features @ WEIGHTS + 0.3 * random.normal(size=count)))


def correlation(a, b):
    """Of two lists of numbers."""
    a, b = a - a.mean(), b - b.mean()
    return (a * b).sum() / pnp.sqrt((a**2).sum() * (b**2).sum())


def ranks(x):
    """1 for the smallest."""
    return np.argsort(np.argsort(x)) + 1.0


def loss(weights, features, wanted):
    """One less the correlation of soft ranks with the ranks that are wanted."""
    scores = features @ weights
    return 1.0 - correlation(pb.rules.soft_rank(scores / pnp.sqrt((weights**2).sum()), 0.5), wanted)


def run(steps=100):
    """Descend."""
    features, values = items()
    wanted = ranks(values).astype(np.float32)
    gradient = pb.jit(pb.value_and_grad(loss))
    weights, losses = pnp.array([0.1, 0.1, 0.1, 0.1]), []
    for _ in range(steps):
        value, slope = gradient(weights, features, wanted)
        weights = weights - 0.3 * slope
        losses.append(float(value))
    scores = np.asarray(features @ np.asarray(weights))
    return {
        "scores": scores,
        "values": values,
        "losses": losses,
        "direction": np.asarray(weights) / np.linalg.norm(weights),
        "Spearman's correlation": float(correlation(ranks(scores), ranks(values))),
        "Pearson's correlation": float(correlation(scores, values)),
    }


def draw(axes, result):
    """The learned order beside the true one."""
    axes.plot(ranks(result["values"]), ranks(result["scores"]), ".")
    axes.set_xlabel("true rank")
    axes.set_ylabel("rank of the score")
