"""Several threads at once, from the first call of a process on."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import threading
import pullback as pb
import pullback.numpy as pnp

x, results, errors = pnp.arange(4.), {}, []
together = threading.Barrier(6)

def work(k):
    together.wait()
    try:
        f = pb.jit(lambda y: pb.grad(lambda z: (z * k).sum())(y) * y)
        results[k] = (pb.vmap(f) if k % 2 else f)(x).tolist()
    except Exception as error:
        errors.append(repr(error))

threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
for t in threads: t.start()
for t in threads: t.join()
assert not errors, errors
assert results == {k: [0., 1. * k, 2. * k, 3. * k] for k in range(6)}, results
assert pb.jit(lambda y: y + 1)(pnp.ones(2)).tolist() == [2., 2.]
"""


def test_the_first_compiled_calls_of_a_process():
    root = Path(__file__).resolve().parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, env=environment, timeout=120)
