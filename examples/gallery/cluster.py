"""Atoms that attract one another: the shape of least energy, forces and vibrations by derivatives.

Thirteen atoms with the potential of Lennard-Jones settle into an icosahedron of energy -44.326801. The force is the
negative gradient; the Hessian at the minimum has six zeros, the shifts and turns of the whole, and 33 vibrations.
"""

import numpy as np
import scipy.optimize

import pullback as pb
import pullback.numpy as pnp

ATOMS = 13
PAIRS = np.triu_indices(ATOMS, 1)


def energy(places):
    """The sum over pairs of 4 (r**-12 - r**-6)."""
    places = places.reshape(ATOMS, 3)
    inverse = 1.0 / ((places[PAIRS[0]] - places[PAIRS[1]]) ** 2).sum(-1)
    return (4.0 * (inverse**6 - inverse**3)).sum()


def icosahedron():
    """Its twelve corners and the centre, of about the right size."""
    golden = (1.0 + 5.0**0.5) / 2.0
    corners = [[0.0, a, b * golden] for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    corners = np.array([np.roll(corner, turn) for corner in corners for turn in range(3)])
    return np.concatenate([np.zeros((1, 3)), corners / np.hypot(1.0, golden)])


def run():
    """From a disturbed icosahedron to the minimum; the frequencies there."""
    start = 1.2 * icosahedron() + 0.1 * np.random.default_rng(0).normal(size=(ATOMS, 3))
    with pb.enable_x64():
        function = pb.jit(pb.value_and_grad(energy))
        fit = scipy.optimize.minimize(function, start.ravel(), jac=True, method="BFGS", options={"gtol": 1e-9})
        curvatures = np.linalg.eigvalsh(np.asarray(pb.jit(pb.hessian(energy))(pnp.asarray(fit.x))))
    return {"energy": fit.fun, "places": fit.x.reshape(ATOMS, 3), "curvatures": curvatures}


def draw(axes, result):
    """The frequencies of the vibrations."""
    axes.plot(np.sqrt(np.maximum(result["curvatures"], 0.0)), "o", ms=4)
    axes.set_xlabel("vibration")
    axes.set_ylabel("frequency")
