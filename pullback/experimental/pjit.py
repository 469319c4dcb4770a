"""`pjit`, which is `jit`: the name under which JAX's programs for several devices once asked for it."""

from pullback._api.jit import jit as pjit

__all__ = ["pjit"]
