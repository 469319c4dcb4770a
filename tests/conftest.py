"""Settings of all tests."""

import os
from importlib import metadata

# Thousands of tiny programs, JAX's and ours, are compiled once and run once: XLA spends no time on optimizing them. Set
# before jaxlib is loaded, for both libraries alike, so that results can be compared to the bit. `XLA_FLAGS= make test`
# runs them as users do, in twice the time.
FLAGS = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 12):
    # half of what is left of the time; later engines know no other emitters
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
