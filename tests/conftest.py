"""Settings of all tests. JAX, the oracle, compiles without optimizations: three times as fast, as good a witness."""

import jax

jax.config.update("jax_disable_most_optimizations", True)
