#!/usr/bin/env bash
# XLA for CPU, jaxlib 0.10.2: a name of an operation ends at the first "@". A scope "layer@2" is "layer" in the compiled
# program, and so in profiles, and what is inside of it, the operation's own name too, is gone; the program that goes in
# has the whole name. The guess was that a scope may have any name. pullback: `_name_lines` in _xla/lowering.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6 <<'PY'
import re

import jax
import jax.numpy as jnp


def f(x):
    with jax.named_scope("layer_1"):
        x = jnp.tanh(x)
    with jax.named_scope("layer@2"):
        return jnp.cos(x)


lowered = jax.jit(f).lower(1.0)
names = re.findall(r'op_name="(jit[^"]*)"', lowered.compile().as_text())
print("jax", jax.__version__, names)
assert "layer@2/cos" in lowered.as_text(debug_info=True)
assert "jit(f)/layer_1/tanh" in names, "this has changed"
assert "jit(f)/layer" in names, "this has changed"
assert not any("cos" in name for name in names), "this has changed"
PY
