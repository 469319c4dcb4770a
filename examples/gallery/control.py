"""Optimal control: a pendulum is swung up by a weak motor, with the gradient through its simulation.

The torques of 200 steps are the unknowns; the simulation is a `scan`, and reverse mode gives the derivative of the
last state by all of them at once. L-BFGS from SciPy does the rest.
"""

import numpy as np
import scipy.optimize

import pullback as pb
import pullback.numpy as pnp

STEP = 0.05
LIMIT = 0.6  # of the torque that would hold the pendulum level


def simulated(controls):
    """Angles (0 hangs down) and velocities, one row for each step."""

    def step(state, control):
        angle, velocity = state
        velocity = velocity + STEP * (LIMIT * pnp.tanh(control) - pnp.sin(angle))
        angle = angle + STEP * velocity
        return (angle, velocity), pnp.stack([angle, velocity])

    return pb.lax.scan(step, (0.0, 0.0), controls)[1]


def cost(controls):
    """How far from upright and at rest the end is, and a little for effort."""
    angle, velocity = simulated(controls)[-1]
    return (1.0 + pnp.cos(angle)) + 0.5 * velocity**2 + 1e-4 * (controls**2).mean()


def run(count=200):
    """Find the controls."""
    with pb.enable_x64():
        start = 0.5 * np.sin(STEP * np.arange(count))
        function = pb.jit(pb.value_and_grad(cost))
        fit = scipy.optimize.minimize(function, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
        states = np.asarray(simulated(fit.x))
    return {"cost": fit.fun, "controls": np.tanh(fit.x), "states": states, "last": states[-1]}


def draw(axes, result):
    """The angle, and the torque as a share of its limit."""
    time = STEP * np.arange(len(result["controls"]))
    axes.plot(time, result["states"][:, 0], label="angle")
    axes.plot(time, result["controls"], label="torque", lw=1)
    axes.axhline(np.pi, color="gray", lw=0.5)
    axes.axhline(-np.pi, color="gray", lw=0.5)
    axes.set_xlabel("time")
    axes.legend()
