"""What `debug.find_inaccuracy` costs beside the eager gradient: processor time, and operations that run twice.

python -m benchmarks.inaccuracy.cost
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import pullback as pb
import pullback.numpy as pnp
from pullback import nn
from pullback.debug import find_inaccuracy

_rng = np.random.default_rng(0)


def _array(*shape: int) -> Any:
    return pnp.asarray(_rng.normal(size=shape).astype(np.float32))


def _formula(x: Any) -> Any:
    return (pnp.sin(pnp.exp(x) * x + 1.0) / (x * x + 2.0) - pnp.log(x + 3.0) * x).sum()


def _network(first: Any, bias: Any, second: Any, batch: Any) -> Any:
    return -nn.log_softmax(pnp.tanh(batch @ first + bias) @ second)[:, 0].mean()


PROGRAMS = [
    ("a formula, 1 number", _formula, (pnp.float32(1.5),)),
    ("a formula, 100,000 numbers", _formula, (abs(_array(100_000)),)),
    ("a network, 10 examples", _network, (_array(8, 16), _array(16), _array(16, 3), _array(10, 8))),
    ("a network, 256 examples", _network, (_array(256, 512), _array(512), _array(512, 100), _array(256, 256))),
]


def _seconds(call: Callable[[], Any]) -> float:
    best = np.inf
    for _ in range(10):
        start = time.process_time()
        call()
        best = min(best, time.process_time() - start)
    return best


def main() -> None:
    for name, fun, args in PROGRAMS:
        gradient = pb.value_and_grad(fun, argnums=tuple(range(len(args))))
        eager = _seconds(lambda gradient=gradient, args=args: gradient(*args))
        found = _seconds(lambda fun=fun, args=args: find_inaccuracy(fun)(*args))
        report = find_inaccuracy(fun)(*args)
        twice = f"{report.evaluations} of {report.operations} operations twice"
        print(f"{name}: {found / eager:.1f} times the eager gradient, {twice}")


if __name__ == "__main__":
    main()
