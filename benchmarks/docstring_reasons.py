"""What `benchmarks/docstrings.py` leaves out, and why examples in JAX's docstrings print other things on pullback."""

# files, and docstrings in files, by the beginnings of their places: kernels for other devices, and JAX's inside
LEFT_OUT = ("_src/pallas", "_src/distributed", "_src/test_util", "_src/util", "_src/random/prng", "experimental/jax2tf")

# reason -> the docstrings that have such examples
REASONS = {
    "ours is better: a traced value says in which function's tracing it is": (
        "_src/api.py:disable_jit",
        "_src/tree_util.py:Partial",
    ),
    "ours is better: a jaxpr has numbers without their types": ("_src/api.py:make_jaxpr",),
    "ours is better: results are arrays, where JAX returns the Python number or object that it was given": (
        "_src/api.py:vmap",
        "_src/custom_derivatives.py:linear_call",
    ),
    "ours is better: a Ref has a dtype, which is not weak": ("_src/random/stateful_rng.py:StatefulPRNG",),
    "ours is better: it computes, where JAX has no rule for processors": (
        "_src/lax/lax.py:DotAlgorithm",
        "_src/lax/lax.py:DotAlgorithmPreset",
        "_src/nn/functions.py:scaled_matmul",
    ),
    "ours is better: linspace is rounded correctly where JAX's is an ulp off": ("_src/numpy/ufuncs.py:arctan2",),
    "no difference in meaning: the order within the parts of a partition": (
        "_src/numpy/sorting.py:partition",
        "_src/numpy/sorting.py:argpartition",
    ),
    "no difference in meaning: the module that the address of an object names": (
        "_src/debugging.py:inspect_array_sharding",
    ),
    "no difference in meaning: the children of a node in a list": ("_src/tree_util.py:flatten_one_level",),
    "another exception, with a message for users": (
        "_src/numpy/ufunc_api.py:ufunc.reduceat",
        "_src/pmap.py:pmap",
    ),
    "an array put on the first device is not committed to it": ("_src/basearray.py:Array.committed",),
    "the engine has no elements of four bits": ("_src/nn/functions.py:scaled_dot_general",),
}
