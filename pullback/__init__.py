"""pullback: composable transformations of Python functions, with custom derivative rules you can trust.

The names are those of JAX's documentation: `import pullback as pb; import pullback.numpy as pnp`. They are loaded at
their first use, so that `import pullback` stays quick.
"""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback._xla import evaluate as _evaluate  # noqa: F401  without transformations, operations are evaluated
from pullback.numpy._arrays import deferred as _deferred  # noqa: F401  arrays have operators and methods

if _typing.TYPE_CHECKING:
    from pullback import ad as ad
    from pullback import ad_checkpoint as ad_checkpoint
    from pullback import api_util as api_util
    from pullback import checkpoint_policies as checkpoint_policies
    from pullback import core as core
    from pullback import custom_batching as custom_batching
    from pullback import custom_derivatives as custom_derivatives
    from pullback import debug as debug
    from pullback import distributed as distributed
    from pullback import dlpack as dlpack
    from pullback import dtypes as dtypes
    from pullback import errors as errors
    from pullback import example_libraries as example_libraries
    from pullback import experimental as experimental
    from pullback import export as export
    from pullback import extend as extend
    from pullback import ffi as ffi
    from pullback import flatten_util as flatten_util
    from pullback import image as image
    from pullback import implicit as implicit
    from pullback import interpreters as interpreters
    from pullback import lax as lax
    from pullback import lib as lib
    from pullback import monitoring as monitoring
    from pullback import nn as nn
    from pullback import numpy as numpy
    from pullback import ops as ops
    from pullback import profiler as profiler
    from pullback import random as random
    from pullback import ref as ref
    from pullback import rules as rules
    from pullback import saving as saving
    from pullback import scipy as scipy
    from pullback import sharding as sharding
    from pullback import stages as stages
    from pullback import test_util as test_util
    from pullback import tree as tree
    from pullback import tree_util as tree_util
    from pullback import typing as typing
    from pullback._api.callbacks import pure_callback as pure_callback
    from pullback._api.compile_time import ensure_compile_time_eval as ensure_compile_time_eval
    from pullback._api.derivatives import grad as grad
    from pullback._api.derivatives import jvp as jvp
    from pullback._api.derivatives import value_and_grad as value_and_grad
    from pullback._api.devices import block_until_ready as block_until_ready
    from pullback._api.devices import clear_caches as clear_caches
    from pullback._api.devices import copy_to_host_async as copy_to_host_async
    from pullback._api.devices import default_backend as default_backend
    from pullback._api.devices import default_device as default_device
    from pullback._api.devices import device_count as device_count
    from pullback._api.devices import device_get as device_get
    from pullback._api.devices import devices as devices
    from pullback._api.devices import effects_barrier as effects_barrier
    from pullback._api.devices import host_count as host_count
    from pullback._api.devices import host_id as host_id
    from pullback._api.devices import host_ids as host_ids
    from pullback._api.devices import local_device_count as local_device_count
    from pullback._api.devices import local_devices as local_devices
    from pullback._api.devices import process_count as process_count
    from pullback._api.devices import process_index as process_index
    from pullback._api.devices import process_indices as process_indices
    from pullback._api.environment import ds as ds
    from pullback._api.environment import live_arrays as live_arrays
    from pullback._api.environment import print_environment_info as print_environment_info
    from pullback._api.inspect import eval_shape as eval_shape
    from pullback._api.inspect import make_jaxpr as make_jaxpr
    from pullback._api.jacobians import hessian as hessian
    from pullback._api.jacobians import jacfwd as jacfwd
    from pullback._api.jacobians import jacobian as jacobian
    from pullback._api.jacobians import jacrev as jacrev
    from pullback._api.jit import jit as jit
    from pullback._api.linear_callback import linear_callback as linear_callback
    from pullback._api.linear_maps import linear_transpose as linear_transpose
    from pullback._api.linear_maps import linearize as linearize
    from pullback._api.meshes import make_mesh as make_mesh
    from pullback._api.meshes import reshard as reshard
    from pullback._api.meshes import set_mesh as set_mesh
    from pullback._api.placing import device_put as device_put
    from pullback._api.placing import make_array_from_callback as make_array_from_callback
    from pullback._api.placing import make_array_from_process_local_data as make_array_from_process_local_data
    from pullback._api.placing import make_array_from_single_device_arrays as make_array_from_single_device_arrays
    from pullback._api.refs import empty_ref as empty_ref
    from pullback._api.refs import free_ref as free_ref
    from pullback._api.refs import freeze as freeze
    from pullback._api.refs import new_ref as new_ref
    from pullback._api.reverse_mode import fwd_and_bwd as fwd_and_bwd
    from pullback._api.reverse_mode import vjp as vjp
    from pullback._api.scopes import named_call as named_call
    from pullback._api.scopes import named_scope as named_scope
    from pullback._api.shard_map import pmap as pmap
    from pullback._api.shard_map import shard_map as shard_map
    from pullback._api.shard_map import smap as smap
    from pullback._api.typeof import typeof as typeof
    from pullback._api.vectorize import vmap as vmap
    from pullback._check_rules import check_rules as check_rules
    from pullback._core.config import config as config
    from pullback._core.dtypes import float0 as float0
    from pullback._core.kept_options import allow_f16_reductions as allow_f16_reductions
    from pullback._core.kept_options import array_garbage_collection_guard as array_garbage_collection_guard
    from pullback._core.kept_options import auto_pcast as auto_pcast
    from pullback._core.kept_options import enable_custom_prng as enable_custom_prng
    from pullback._core.kept_options import jax2tf_associative_scan_reductions as jax2tf_associative_scan_reductions
    from pullback._core.kept_options import legacy_prng_key as legacy_prng_key
    from pullback._core.kept_options import no_execution as no_execution
    from pullback._core.kept_options import no_tracing as no_tracing
    from pullback._core.kept_options import remove_size_one_mesh_axis_from_type as remove_size_one_mesh_axis_from_type
    from pullback._core.kept_options import softmax_custom_jvp as softmax_custom_jvp
    from pullback._core.kept_options import thread_guard as thread_guard
    from pullback._core.option_contexts import check_tracer_leaks as check_tracer_leaks
    from pullback._core.option_contexts import checking_leaks as checking_leaks
    from pullback._core.option_contexts import debug_infs as debug_infs
    from pullback._core.option_contexts import debug_key_reuse as debug_key_reuse
    from pullback._core.option_contexts import debug_nans as debug_nans
    from pullback._core.option_contexts import default_matmul_precision as default_matmul_precision
    from pullback._core.option_contexts import default_prng_impl as default_prng_impl
    from pullback._core.option_contexts import disable_jit as disable_jit
    from pullback._core.option_contexts import enable_checks as enable_checks
    from pullback._core.option_contexts import enable_x64 as enable_x64
    from pullback._core.option_contexts import explain_cache_misses as explain_cache_misses
    from pullback._core.option_contexts import log_compiles as log_compiles
    from pullback._core.option_contexts import numpy_dtype_promotion as numpy_dtype_promotion
    from pullback._core.option_contexts import numpy_rank_promotion as numpy_rank_promotion
    from pullback._core.option_contexts import threefry_partitionable as threefry_partitionable
    from pullback._core.option_contexts import transfer_guard as transfer_guard
    from pullback._core.option_contexts import transfer_guard_device_to_device as transfer_guard_device_to_device
    from pullback._core.option_contexts import transfer_guard_device_to_host as transfer_guard_device_to_host
    from pullback._core.option_contexts import transfer_guard_host_to_device as transfer_guard_host_to_device
    from pullback._core.placed_array import Shard as Shard
    from pullback._core.public_array import Array as Array
    from pullback._core.refs import Ref as Ref
    from pullback._core.sharding import NamedSharding as NamedSharding
    from pullback._core.sharding import PartitionSpec as P  # noqa: F401
    from pullback._core.types import ShapeDtypeStruct as ShapeDtypeStruct
    from pullback._core.version import __version__ as __version__
    from pullback._core.version import __version_info__ as __version_info__
    from pullback._external import external as external
    from pullback._xla.engine import Device as Device
    from pullback.ad_checkpoint import checkpoint as checkpoint
    from pullback.ad_checkpoint import remat as remat
    from pullback.custom_derivatives import closure_convert as closure_convert
    from pullback.custom_derivatives import custom_gradient as custom_gradient
    from pullback.custom_derivatives import custom_jvp as custom_jvp
    from pullback.custom_derivatives import custom_remat as custom_remat
    from pullback.custom_derivatives import custom_rules as custom_rules
    from pullback.custom_derivatives import custom_vjp as custom_vjp
else:
    __getattr__, __dir__ = _attributes(
        __name__,
        {"P": "pullback._core.sharding:PartitionSpec"},
        public={
            "pullback._api.callbacks": "pure_callback",
            "pullback._api.compile_time": "ensure_compile_time_eval",
            "pullback._api.derivatives": "grad jvp value_and_grad",
            "pullback._api.devices": (
                "block_until_ready clear_caches copy_to_host_async default_backend default_device device_count "
                "device_get devices effects_barrier host_count host_id host_ids local_device_count local_devices "
                "process_count process_index process_indices"
            ),
            "pullback._api.environment": "ds live_arrays print_environment_info",
            "pullback._api.inspect": "eval_shape make_jaxpr",
            "pullback._api.jacobians": "hessian jacfwd jacobian jacrev",
            "pullback._api.jit": "jit",
            "pullback._api.linear_callback": "linear_callback",
            "pullback._api.linear_maps": "linear_transpose linearize",
            "pullback._api.meshes": "make_mesh reshard set_mesh",
            "pullback._api.placing": (
                "device_put make_array_from_callback make_array_from_process_local_data "
                "make_array_from_single_device_arrays"
            ),
            "pullback._api.refs": "empty_ref free_ref freeze new_ref",
            "pullback._api.reverse_mode": "fwd_and_bwd vjp",
            "pullback._api.scopes": "named_call named_scope",
            "pullback._api.shard_map": "pmap shard_map smap",
            "pullback._api.typeof": "typeof",
            "pullback._api.vectorize": "vmap",
            "pullback._check_rules": "check_rules",
            "pullback._core.config": "config",
            "pullback._core.dtypes": "float0",
            "pullback._core.kept_options": (
                "allow_f16_reductions array_garbage_collection_guard auto_pcast enable_custom_prng "
                "jax2tf_associative_scan_reductions legacy_prng_key no_execution no_tracing "
                "remove_size_one_mesh_axis_from_type softmax_custom_jvp thread_guard"
            ),
            "pullback._core.option_contexts": (
                "check_tracer_leaks checking_leaks debug_infs debug_key_reuse debug_nans default_matmul_precision "
                "default_prng_impl disable_jit enable_checks enable_x64 explain_cache_misses log_compiles "
                "numpy_dtype_promotion numpy_rank_promotion threefry_partitionable transfer_guard "
                "transfer_guard_device_to_device transfer_guard_device_to_host transfer_guard_host_to_device"
            ),
            "pullback._core.placed_array": "Shard",
            "pullback._core.public_array": "Array",
            "pullback._core.refs": "Ref",
            "pullback._core.sharding": "NamedSharding",
            "pullback._core.types": "ShapeDtypeStruct",
            "pullback._core.version": "__version__ __version_info__",
            "pullback._external": "external",
            "pullback._xla.engine": "Device",
            "pullback.ad_checkpoint": "checkpoint remat",
            "pullback.custom_derivatives": (
                "closure_convert custom_gradient custom_jvp custom_remat custom_rules custom_vjp"
            ),
        },
        modules=(
            "ad ad_checkpoint api_util checkpoint_policies core custom_batching custom_derivatives debug distributed "
            "dlpack dtypes errors example_libraries experimental export extend ffi flatten_util image implicit "
            "interpreters lax lib monitoring nn numpy ops profiler random ref rules saving scipy sharding stages "
            "test_util tree tree_util typing"
        ),
    )
