"""Draws the pictures of docs/pictures.md and of the README (make pictures), next to this file."""

from pathlib import Path

import pullback as pb
import pullback.numpy as pnp
from pullback import debug, lax


def log1pexp(x):
    return pnp.log(1 + pnp.exp(x))


@pb.custom_jvp
def softplus(x):
    return pnp.logaddexp(x, 0.0)


@softplus.defjvp
def softplus_jvp(primals, tangents):
    (x,), (t,) = primals, tangents
    return softplus(x), pb.nn.sigmoid(x) * t


def ruled(w, x):
    return pnp.sum(softplus(x @ w))


def simulate(x, forces):
    def step(x, force):
        x = lax.cond(x > 1.0, lambda x: 0.5 * x, lambda x: x + force, x)
        return x, pnp.sin(x)

    x, seen = lax.scan(step, x, forces)
    return pnp.sum(seen)


def attend(x, w):
    scores = pb.nn.softmax(x @ w @ x.T)
    return scores @ x


def normalize(x):
    x = x - pnp.mean(x)
    return x / pnp.sqrt(pnp.var(x) + 1e-5)


def model(x, w):
    for _ in range(50):
        x = x + attend(x, w)
        x = normalize(x)
    return pnp.sum(x)


def pictures() -> dict[str, debug.Picture]:
    """The pictures by the names of their files."""
    square = pnp.ones((8, 8))
    return {
        "log1pexp": debug.draw(log1pexp, transform="grad")(pnp.float32(2.0)),
        "ruled": debug.draw(ruled, transform="grad")(pnp.ones((3, 4)), pnp.ones((8, 3))),
        "simulate": debug.draw(simulate)(0.5, pnp.ones(100)),
        "model": debug.draw(model, transform="grad")(square, square),
    }


if __name__ == "__main__":
    for name, picture in pictures().items():
        picture.save(Path(__file__).parent / f"{name}.svg")
