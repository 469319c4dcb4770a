"""Attention in blocks by `custom_vjp`: the matrix of scores is never stored (Dao et al. 2022).

The forward pass goes through blocks of keys with a running maximum and sum, and keeps the result and one number for
each query, the logarithm of the sum. The backward pass computes each block of probabilities again. Memory grows with
the length, not its square.
"""

from functools import partial

import numpy as np

import pullback as pb
import pullback.numpy as pnp


def blocks(x, size):
    """The rows in blocks."""
    return x.reshape(-1, size, x.shape[-1])


def forward(q, k, v, size):
    """The result, and the logarithm of the sum of exponentials of each query's scores."""
    scale = q.shape[-1] ** -0.5

    def block(carry, kv):
        top, total, out = carry
        key, value = kv
        scores = q @ key.T * scale
        new_top = pnp.maximum(top, scores.max(-1))
        weights = pnp.exp(scores - new_top[:, None])
        old = pnp.exp(top - new_top)
        return (new_top, total * old + weights.sum(-1), out * old[:, None] + weights @ value), None

    start = (pnp.full(len(q), -pnp.inf), pnp.zeros(len(q)), pnp.zeros((len(q), v.shape[-1])))
    (top, total, out), _ = pb.lax.scan(block, start, (blocks(k, size), blocks(v, size)))
    return out / total[:, None], top + pnp.log(total)


@partial(pb.custom_vjp, nondiff_argnames=("size",))
def attention(q, k, v, size=16):
    """softmax(q k^T / sqrt(d)) v, for the queries in the rows of `q`."""
    return forward(q, k, v, size)[0]


def attention_fwd(q, k, v, size=16):
    """Keep the operands, the result, and one number for each query."""
    out, log_sum = forward(q, k, v, size)
    return out, (q, k, v, out, log_sum)


def attention_bwd(size, kept, ct):
    """Go through the blocks again; add to the cotangent of the queries, stack those of keys and values."""
    q, k, v, out, log_sum = kept
    scale = q.shape[-1] ** -0.5
    along = (ct * out).sum(-1, keepdims=True)

    def block(ct_q, kv):
        key, value = kv
        weights = pnp.exp(q @ key.T * scale - log_sum[:, None])
        ct_scores = weights * (ct @ value.T - along) * scale
        return ct_q + ct_scores @ key, (ct_scores.T @ q, weights.T @ ct)

    ct_q, (ct_k, ct_v) = pb.lax.scan(block, pnp.zeros_like(q), (blocks(k, size), blocks(v, size)))
    return ct_q, ct_k.reshape(k.shape), ct_v.reshape(v.shape)


attention.defvjp(attention_fwd, attention_bwd)


def plain(q, k, v):
    """The same with the whole matrix."""
    return pb.nn.softmax(q @ k.T * q.shape[-1] ** -0.5) @ v


def squares(f, *args):
    """A number to differentiate."""
    return (f(*args) ** 2).sum()


def kept_numbers(f, *args):
    """How many numbers the forward pass keeps for the backward one."""
    _, pull = pb.vjp(f, *args)
    return sum(leaf.size for leaf in pb.tree.leaves(pull))


def run(lengths=(32, 64, 128, 256)):
    """Values, gradients, and what is kept, for growing lengths."""
    keys = pb.random.split(pb.random.key(0), 3)
    q, k, v = (pb.random.normal(key, (64, 8)) for key in keys)

    ours, theirs = (pb.grad(squares, (1, 2, 3))(f, q, k, v) for f in (attention, plain))
    sizes = [[kept_numbers(f, *[pnp.ones((n, 8))] * 3) for f in (attention, plain)] for n in lengths]
    return {
        "error of values": abs(attention(q, k, v) - plain(q, k, v)).max(),
        "error of gradients": max(float(abs(a - b).max()) for a, b in zip(ours, theirs, strict=True)),
        "lengths": lengths,
        "kept": np.array(sizes),
    }


def draw(axes, result):
    """Numbers that are kept."""
    axes.loglog(result["lengths"], result["kept"][:, 1], "o-", label="plain")
    axes.loglog(result["lengths"], result["kept"][:, 0], "o-", label="in blocks")
    axes.set_xlabel("length")
    axes.set_ylabel("numbers kept")
    axes.legend()
