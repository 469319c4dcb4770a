"""Figure: an eager gradient with a custom rule, warm. One Python float in, one derivative out."""

from log1pexp import gradient
from timing import per_call

ROW = "eager `grad(log1pexp)(3.)` with its custom rule, warm"
GOALS = {ROW: 30e-6}
PEERS = ("pullback", "JAX", "PyTorch", "autograd")
ROUNDS = 15
FRESH = False


def prepare(peer):
    grad = gradient(peer)
    assert abs(float(grad(3.0)) - 0.9525741) < 1e-6

    def run(n):
        for _ in range(n):
            result = grad(3.0)
        return float(result)  # waits, where the library computes behind our back

    time = per_call(run)
    return lambda: {ROW: time()}
