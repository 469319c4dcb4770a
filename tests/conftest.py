"""Settings of all tests."""

import os

# Thousands of tiny programs, JAX's and ours, are compiled once and run once: XLA spends no time on optimizing them. Set
# before jaxlib is loaded, for both libraries alike, so that results can be compared to the bit.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")
