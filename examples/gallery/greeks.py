"""Option prices and their Greeks: every sensitivity is a derivative of one formula.

The price of a European call by Black and Scholes (1973) is a function of five numbers. `grad` gives delta, vega, rho
and theta at once, `grad` of `grad` gamma, and `vmap` all of them for a range of prices of the stock.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy.stats import norm


def call(spot, volatility, rate, time, strike=100.0):
    """The price of the right to buy at `strike` after `time` years."""
    spread = volatility * pnp.sqrt(time)
    d1 = (pnp.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / spread
    return spot * norm.cdf(d1) - strike * pnp.exp(-rate * time) * norm.cdf(d1 - spread)


def implied_volatility(price, spot, rate, time):
    """The volatility at which the formula gives a price: a root, so it has derivatives as well."""
    return pb.implicit.root(lambda v: call(spot, v, rate, time) - price, pnp.asarray(0.3))


def run():
    """At a volatility of 20 %, a rate of 5 % and one year to go."""
    with pb.enable_x64():
        spots = np.linspace(50.0, 150.0, 101)
        first = pb.vmap(pb.grad(call, (0, 1, 2, 3)), (0, None, None, None))(spots, 0.2, 0.05, 1.0)
        gamma = pb.vmap(pb.grad(pb.grad(call)), (0, None, None, None))(spots, 0.2, 0.05, 1.0)
        delta, vega, rho, theta = (np.asarray(value) for value in first)
        price = call(110.0, 0.2, 0.05, 1.0)
        implied, slope = pb.value_and_grad(implied_volatility)(price, 110.0, 0.05, 1.0)
        return {
            "spots": spots,
            "delta": delta,
            "vega": vega,
            "rho": rho,
            "theta": -theta,
            "gamma": np.asarray(gamma),
            "implied volatility": implied,
            "its slope by the price": slope,
        }


def draw(axes, result):
    """Each as a share of its largest value."""
    for name in ("delta", "gamma", "vega"):
        axes.plot(result["spots"], result[name] / abs(result[name]).max(), label=name)
    axes.set_xlabel("price of the stock")
    axes.legend()
