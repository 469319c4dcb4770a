"""An inverse problem: how well each part of a rod conducts, from temperatures at its surface.

The heat equation is stepped implicitly, each step the solution of a tridiagonal system. Reverse mode solves the
transposed systems backwards; Gauss-Newton takes the Jacobian from forward mode and finds 20 conductivities.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

CELLS, STEPS, STEP = 20, 40, 0.02
TRUTH = 1.0 + 0.8 * np.exp(-(((np.arange(CELLS) - 13) / 2.5) ** 2))  # a place that conducts better


def temperatures(log_conductivity):
    """At all cells and times: the left end is held at 1, the right end at 0, all else begins at 0."""
    k = pnp.exp(log_conductivity) * STEP * CELLS**2 / 10.0
    between = 2.0 / (1.0 / k[:-1] + 1.0 / k[1:])  # from cell to cell
    left, right = pnp.append(2.0 * k[:1], between), pnp.append(between, 2.0 * k[-1:])
    below, above = left.at[0].set(0.0), right.at[-1].set(0.0)
    source = pnp.zeros(CELLS).at[0].set(2.0 * k[0])

    def step(u, _):
        right_side = (u + source)[:, None]
        u = pb.lax.linalg.tridiagonal_solve(-below, 1.0 + left + right, -above, right_side)[:, 0]
        return u, u

    return pb.lax.scan(step, pnp.zeros(CELLS), None, length=STEPS)[1]


def run(rounds=8):
    """Gauss-Newton with a weak preference for smooth conductivities."""
    with pb.enable_x64():
        noise = 1e-4 * np.random.default_rng(0).normal(size=(STEPS, CELLS))
        seen = np.asarray(temperatures(np.log(TRUTH))) + noise
        smooth = 1e-3 * np.diff(np.eye(CELLS), axis=0)
        jacobian = pb.jit(pb.jacfwd(temperatures))
        log_k = np.zeros(CELLS)
        for _ in range(rounds):
            rows = np.concatenate([np.asarray(jacobian(log_k)).reshape(-1, CELLS), smooth])
            misfit = np.concatenate([(seen - np.asarray(temperatures(log_k))).ravel(), -smooth @ log_k])
            log_k = log_k + np.linalg.lstsq(rows, misfit, rcond=None)[0]
    found = np.exp(log_k)
    return {"found": found, "largest relative error": abs(found / TRUTH - 1.0).max()}


def draw(axes, result):
    """The truth and what was found."""
    axes.plot(TRUTH, lw=4, alpha=0.4, label="true")
    axes.plot(result["found"], "o-", ms=3, label="found")
    axes.set_xlabel("cell")
    axes.set_ylabel("conductivity")
    axes.legend()
