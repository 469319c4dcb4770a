"""Options of JAX's that programs set and that have nothing to change here: any value is kept, and can be read."""

from __future__ import annotations

from typing import Any

_DEVICES: dict[str, Any] = {  # there is one device, the processor
    "cpu_collectives_implementation": None,
    "cpu_enable_async_dispatch": True,
    "enable_recoverability": False,
    "rocm_visible_devices": "all",
    "remove_size_one_mesh_axis_from_type": False,
    "transfer_guard": None,
    "transfer_guard_device_to_device": None,
    "transfer_guard_device_to_host": None,
    "transfer_guard_host_to_device": None,
    "use_magma": "auto",
    "use_shardy_partitioner": True,
    "disallow_mesh_context_manager": False,
    "auto_pcast": True,
}
_COMPILATION: dict[str, Any] = {  # the compiler's options are those of `jit`
    "captured_constants_warn_bytes": 2 * 10**9,
    "captured_constants_report_frames": 0,
    "compilation_cache_expect_pgle": False,
    "compilation_cache_include_metadata_in_key": False,
    "compiler_enable_remat_pass": True,
    "dump_ir_to": None,
    "exec_time_optimization_effort": 0.0,
    "memory_fitting_effort": 0.0,
    "optimization_level": "UNKNOWN",
    "persistent_cache_enable_xla_caches": "xla_gpu_per_fusion_autotune_cache_dir",
    "raise_persistent_cache_errors": False,
    "disable_most_optimizations": False,
}
# done always, or never, or by other means: `core.check_jaxpr`, `check_rules`, `debug.counters`
_CHECKS: dict[str, Any] = {
    "array_garbage_collection_guard": "allow",
    "debug_log_modules": "",
    "disable_bwd_checks": False,
    "enable_checks": False,
    "include_full_tracebacks_in_locations": True,
    "log_checkpoint_residuals": False,
    "logging_level": "NOTSET",
    "mutable_array_checks": True,
    "no_execution": False,
    "no_tracing": False,
    "pprint_use_color": True,
    "thread_guard": False,
    "traceback_in_locations_limit": 10,
    "tracer_error_num_traceback_frames": 5,
}
_METHODS: dict[str, Any] = {  # the one way that things are done
    "allow_f16_reductions": False,
    "custom_jvp3": True,
    "custom_vjp3": True,
    "enable_custom_prng": False,
    "high_dynamic_range_gumbel": False,
    "jax2tf_associative_scan_reductions": False,
    "legacy_prng_key": "allow",
    "random_seed_offset": 0,
    "remat3": True,
    "scan3": True,
    "softmax_custom_jvp": True,
    "threefry_gpu_kernel_lowering": False,
    "threefry_partitionable": True,
    "use_direct_linearize": True,
    "use_simplified_jaxpr_constants": False,
}
INERT = {**_DEVICES, **_COMPILATION, **_CHECKS, **_METHODS}

# those of them with which JAX computes other numbers -> what is computed here whatever they say
RESULTS: dict[str, str] = {
    "threefry_partitionable": "random numbers are those that JAX has with True",
    "random_seed_offset": "nothing is added to seeds",
    "high_dynamic_range_gumbel": "Gumbel samples, and those of categories, are JAX's with False",
}
