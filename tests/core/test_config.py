"""Options: defaults, environment, process-wide updates and per-thread overrides."""

import threading

import pytest

from pullback._core import config as module
from pullback._core.config import (
    Config,
    config,
    debug_nans,
    default_matmul_precision,
    disable_jit,
    enable_x64,
    numpy_rank_promotion,
)


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
        "disable_jit": False,
        "traceback_filtering": "auto",
        "numpy_rank_promotion": "allow",
        "default_matmul_precision": None,
        "program_cache_max_size": 268_435_456,
        "enable_compilation_cache": True,
        "compilation_cache_dir": None,
        "compilation_cache_max_size": 1_073_741_824,
        "persistent_cache_min_compile_time_secs": 0.0,
        "persistent_cache_min_entry_size_bytes": 0,
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
