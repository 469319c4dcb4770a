"""Options: defaults, environment, process-wide updates and per-thread overrides."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._core import config as module
from pullback._core.config import Config, config
from pullback._core.option_contexts import (
    debug_infs,
    debug_nans,
    default_matmul_precision,
    disable_jit,
    enable_x64,
    numpy_dtype_promotion,
    numpy_rank_promotion,
)
from pullback.errors import TypePromotionError


@pytest.fixture(autouse=True)
def restore():
    before = {name: getattr(Config, name) for name in module._CHOICES}
    yield
    for name, value in before.items():
        config.update(name, value)


def in_thread(read):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(read()))
    thread.start()
    thread.join()
    return seen[0]


@pytest.mark.parametrize("name", ["enable_x64", "jax_enable_x64"])
def test_update_is_process_wide_under_both_names(name):
    config.update(name, True)
    assert config.enable_x64 is True
    assert config.jax_enable_x64 is True
    assert config.read("enable_x64") is config.read("jax_enable_x64") is True
    assert in_thread(lambda: config.enable_x64) is True


def test_defaults():
    assert {name: module._from_environment(name, {}) for name in module._CHOICES} == {
        "enable_x64": False,
        "debug_nans": False,
        "debug_infs": False,
        "debug_key_reuse": False,
        "check_tracer_leaks": False,
        "disable_jit": False,
        "log_compiles": False,
        "traceback_filtering": "auto",
        "numpy_rank_promotion": "allow",
        "numpy_dtype_promotion": "standard",
        "default_matmul_precision": None,
        "program_cache_max_size": 268_435_456,
        "explain_cache_misses": False,
        "jit_tiered": False,
        "enable_compilation_cache": True,
        "compilation_cache_dir": None,
        "compilation_cache_max_size": 1_073_741_824,
        "persistent_cache_min_compile_time_secs": 0.0,
        "persistent_cache_min_entry_size_bytes": 0,
        "collective_timeout_secs": 1800.0,
        "array_tracebacks": False,
        "distributed_debug": False,
        "default_prng_impl": "threefry2x32",
        "platforms": None,
        "platform_name": None,
        "cuda_visible_devices": "all",
        "num_cpu_devices": 1,
    }


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("enable_x64", "1", True),
        ("enable_x64", "True", True),
        ("enable_x64", "off", False),
        ("compilation_cache_dir", "", None),
        ("compilation_cache_dir", "/some/Folder", "/some/Folder"),
        ("persistent_cache_min_compile_time_secs", " 0.5", 0.5),
        ("numpy_rank_promotion", "raise", "raise"),
        ("default_matmul_precision", "none", None),
        ("default_matmul_precision", "highest", "highest"),
        ("program_cache_max_size", " 1000 ", 1000),
    ],
)
def test_environment(name, text, value):
    assert module._from_environment(name, {f"PULLBACK_{name.upper()}": text}) == value


@pytest.mark.parametrize("name", ["enable_x64", "traceback_filtering"])
def test_environment_rejects_other_text(name):
    with pytest.raises(ValueError, match=f"PULLBACK_{name.upper()}: expected one of .*; got 'maybe'"):
        module._from_environment(name, {f"PULLBACK_{name.upper()}": "maybe"})


@pytest.mark.parametrize("text", ["", "-1", "1e6", "256 MB", str(2**63)])
def test_environment_rejects_what_is_no_size(text):
    with pytest.raises(ValueError, match="PULLBACK_PROGRAM_CACHE_MAX_SIZE: expected a number of bytes; got"):
        module._from_environment("program_cache_max_size", {"PULLBACK_PROGRAM_CACHE_MAX_SIZE": text})


@pytest.mark.parametrize("value", [-1, 1.5, True, None, "10", 2**63])
def test_sizes_are_ints(value):
    with pytest.raises(ValueError, match=r"'program_cache_max_size': expected a number of bytes, an int of 0 or more"):
        config.update("program_cache_max_size", value)


@pytest.mark.parametrize("act", [lambda name: config.update(name, True), config.read])
def test_unknown_option_lists_the_options(act):
    with pytest.raises(AttributeError, match=r"no option 'enable_x46'. Options: enable_x64, debug_nans"):
        act("enable_x46")


def test_wrong_value_is_refused():
    with pytest.raises(ValueError, match=r"'numpy_rank_promotion': expected one of 'allow'.*got 'sometimes'"):
        config.update("numpy_rank_promotion", "sometimes")


def test_assignment_points_to_update():
    with pytest.raises(AttributeError, match=r"use config\.update"):
        config.enable_x64 = True


@pytest.mark.parametrize("manager", [enable_x64, debug_nans, disable_jit])
def test_context_managers_override_one_thread(manager):
    name = manager.__name__
    with manager():
        assert config.read(name) is True
        assert in_thread(lambda: config.read(name)) is False
        with manager(False):
            assert config.read(name) is False
        assert config.read(name) is True
    assert config.read(name) is False
    assert name not in config.__dict__


def test_context_manager_restores_after_an_error():
    with pytest.raises(KeyError), enable_x64():
        raise KeyError
    assert config.enable_x64 is False


def test_valued_context_managers():
    with numpy_rank_promotion("raise"), default_matmul_precision("highest"):
        assert config.values["numpy_rank_promotion"] == "raise"
        assert config.values["default_matmul_precision"] == "highest"
    assert config.values["numpy_rank_promotion"] == "allow"


def test_strict_promotion_of_dtypes():
    x, n, b = pnp.ones(2), pnp.arange(2), pnp.array([True, False])
    theirs = {"x": jnp.ones(2), "n": jnp.arange(2), "b": jnp.array([True, False])}
    ours = {"x": x, "n": n, "b": b}
    for text in (
        "x + n",
        "n + b",
        "x * b",
        "x + 1",
        "x + 1.5",
        "n + 1",
        "n + 1.5",
        "n + 1j",
        "b + 1",
        "x + x",
        "n > 1.5",
    ):
        with numpy_dtype_promotion("strict"), jax.numpy_dtype_promotion("strict"):
            try:
                expected = eval(text, dict(theirs)).dtype
            except jax.dtypes.TypePromotionError:
                with pytest.raises(TypePromotionError, match="numpy_dtype_promotion='strict'"):
                    eval(text, dict(ours))
            else:
                assert eval(text, dict(ours)).dtype == expected, text
    assert (x + n).dtype == np.float32
    compiled = pb.jit(lambda a, c: a + c)
    assert compiled(x, n).shape == (2,)
    with numpy_dtype_promotion("strict"), pytest.raises(TypePromotionError):
        compiled(x, n)


def test_infinities_are_found():
    with debug_infs(), pytest.raises(FloatingPointError, match=r"'div' made an inf \(debug_infs is on\)"):
        pnp.ones(2) / pnp.zeros(2)
    with debug_infs():
        assert pnp.isnan(pnp.zeros(2) / pnp.zeros(2)).all()
        with pytest.raises(FloatingPointError, match="made an inf"):
            pb.jit(lambda x: 1 / x)(0.0)
    with debug_nans():
        assert pnp.isinf(pnp.ones(2) / pnp.zeros(2)).all()


def test_compilations_are_logged(caplog):
    with pb.log_compiles():
        pb.jit(lambda x: x * 3.25 + 17)(pnp.ones(7))
    assert {record.name for record in caplog.records} == {"pullback"}
    assert "compile of" in caplog.text


def test_options_without_effect_keep_any_value():
    config.update("jax_check_tracer_leaks", True)
    assert config.jax_check_tracer_leaks is config.read("check_tracer_leaks") is True
    config.update("jax_check_tracer_leaks", False)
    with pb.transfer_guard("disallow"), pb.checking_leaks(), pb.softmax_custom_jvp(False):
        assert (config.transfer_guard, config.jax_softmax_custom_jvp) == ("disallow", False)
    assert config.values["softmax_custom_jvp"] is True
    assert config.x64_enabled is config.jax_x64_enabled is False
    config.parse_flags_with_absl()


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("jax_threefry_partitionable", False, "random numbers are those that JAX has with True"),
        ("random_seed_offset", 3, "nothing is added to seeds"),
        ("high_dynamic_range_gumbel", True, "JAX's with False"),
    ],
)
def test_options_without_effect_that_change_numbers_in_jax_warn(name, value, what):
    before = config.read(name)
    with pytest.warns(UserWarning, match=f"'{name.removeprefix('jax_')}': {value!r} has no effect: .*{what}") as found:
        config.update(name, value)
    assert found[0].filename == __file__
    config.update(name, before)


def test_options_with_one_value():
    for name, value in (("platforms", 3), ("platform_name", ["cpu"]), ("default_prng_impl", "mt19937")):
        with pytest.raises(ValueError, match=f"config option '{name}': expected"):
            config.update(f"jax_{name}", value)


def test_names_of_platforms():
    config.update("jax_platforms", " CPU , ")
    assert config.platforms == "cpu"
    config.update("jax_platforms", "")
    assert config.platforms is None
    config.update("jax_platform_name", "cpu")
    try:
        assert (config.jax_platform_name, pb.default_backend()) == ("cpu", "cpu")
    finally:
        config.update("jax_platform_name", None)


def test_the_number_of_devices_is_fixed_once_the_engine_has_started():
    assert len(pb.devices()) == 8
    with pytest.raises(RuntimeError, match="config option 'num_cpu_devices': the engine has started"):
        config.update("jax_num_cpu_devices", 3)
    with pytest.raises(ValueError, match="config option 'num_cpu_devices': expected a number of devices"):
        config.update("jax_num_cpu_devices", "many")


def test_the_default_device():
    with pb.default_device(pb.devices()[0]):
        assert config.jax_default_device is pb.devices()[0]
    with pb.default_device("cpu"):
        assert pnp.ones(2).shape == (2,)
    assert config.jax_default_device is None
    with pytest.raises(RuntimeError, match="default_device: Unknown backend 'gpu': the only backend is 'cpu'"):
        pb.default_device("gpu")
    with pytest.raises(ValueError, match="default_device: new_val: expected a device of this process"):
        pb.default_device(3)


def test_the_environment_of_jax():
    module.read_environment_of_jax({"JAX_ENABLE_X64": "1", "JAX_DEBUG_NANS": "True"})
    assert (config.enable_x64, config.debug_nans) == (True, True)
    module.read_environment_of_jax({"JAX_ENABLE_X64": "0", "PULLBACK_ENABLE_X64": "1"})
    assert config.enable_x64
    with pytest.raises(ValueError, match="environment variable JAX_ENABLE_X64: expected one of False, True"):
        module.read_environment_of_jax({"JAX_ENABLE_X64": "maybe"})


def test_sizes_without_a_bound():
    config.update("jax_compilation_cache_max_size", -1)
    assert config.compilation_cache_max_size == 2**63 - 1
    config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    assert config.persistent_cache_min_entry_size_bytes == 0
