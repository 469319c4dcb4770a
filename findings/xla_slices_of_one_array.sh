#!/usr/bin/env bash
# XLA for CPU in jaxlib 0.10.2: a program that cuts one array into n numbers compiles a kernel for each, since their places
# are constants in them, 8 ms of processor time each; for n arguments one kernel serves all, 0.3 ms each: 1,200 slices take
# 11 s, 1,200 arguments 0.3 s. The guess was that few large arguments are quicker to compile than many small ones, and that
# parameters packed into one vector are cheap. Take such arrays apart outside of the program, or by one reshape.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import time

import jax
import jax.numpy as jnp


def seconds(program, argument):
    lowered = jax.jit(program).lower(argument)
    start = time.process_time()
    lowered.compile()
    return time.process_time() - start


def cut(n):
    return seconds(lambda x: [x[i] + 1 for i in range(n)], jnp.arange(float(n)))


def separate(n):
    return seconds(lambda xs: [x + 1 for x in xs], [jnp.float32(i) for i in range(n)])


print("jax", jax.__version__)
cut(10), separate(10)
times = {n: (cut(n), separate(n)) for n in (400, 1200)}
for n, (one, many) in times.items():
    print(f"{n} numbers, processor time to compile: cut out of one array {one:.2f} s, {n} arguments {many:.2f} s")
assert all(one > 5 * many for one, many in times.values())
PY
