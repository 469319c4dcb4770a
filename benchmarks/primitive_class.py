"""Figure: an eager gradient of a primitive that is a class, warm, and of the same function with a decorated rule.

The rule is that of log1pexp, a vjp rule. JAX's class is the one that its experimental.hijax has.
"""

import importlib

from peers import PACKAGES, load
from timing import per_call

CLASS, DECORATED = "eager `grad(log1pexp)(3.)`, log1pexp a class with a vjp rule", "the same with a `custom_vjp` rule"
CALL = "eager call of the class"
GOALS = {CLASS: 35e-6}
PEERS = ("pullback", "JAX")
ROUNDS = 15
FRESH = False


def instance(peer):
    library = load(peer)
    np = library.numpy
    hijax = importlib.import_module(f"{PACKAGES[peer]}.experimental.hijax")

    class Log1pExp(getattr(hijax, "VJPHiPrimitive", None) or hijax.HiPrim):
        def __init__(self, aval):
            self.in_avals = (aval,)
            self.out_aval = aval
            self.params = {}
            super().__init__()

        def expand(self, x):
            return np.log(1.0 + np.exp(x))

        def vjp_fwd(self, nzs_in, x):
            return self(x), x

        def vjp_bwd_retval(self, x, ct):
            return (ct * (1 - 1 / (1 + np.exp(x))),)

    return Log1pExp(library.core.typeof(np.zeros((), "float32")))


def decorated(peer):
    library = load(peer)
    np = library.numpy

    @library.core.custom_vjp
    def log1pexp(x):
        return np.log(1.0 + np.exp(x))

    log1pexp.defvjp(lambda x: (log1pexp(x), x), lambda x, ct: (ct * (1 - 1 / (1 + np.exp(x))),))
    return log1pexp


def prepare(peer):
    f, g = instance(peer), decorated(peer)
    grad = load(peer).core.grad
    functions = {CLASS: grad(f), DECORATED: grad(g), CALL: f}
    for name, function in functions.items():
        assert abs(float(function(3.0)) - (3.0485873 if name is CALL else 0.9525741)) < 1e-6

    def calls(function):
        def run(n):
            for _ in range(n):
                result = function(3.0)
            return float(result)  # waits, where the library computes behind our back

        return run

    times = {name: per_call(calls(function)) for name, function in functions.items()}
    return lambda: {name: time() for name, time in times.items()}
