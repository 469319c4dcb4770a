"""Settings of all tests."""

import ctypes
import gc
import os
import sys
from importlib import metadata

import pytest

# Thousands of tiny programs, JAX's and ours, are compiled once and run once: XLA spends no time on optimizing them. Set
# before jaxlib is loaded, for both libraries alike, so that results can be compared to the bit. `XLA_FLAGS= make test`
# runs them as users do, in twice the time.
FLAGS = ["--xla_backend_optimization_level=0", "--xla_llvm_disable_expensive_passes=true"]
if tuple(map(int, metadata.version("jaxlib").split(".")[:2])) < (0, 12):
    # half of what is left of the time; later engines know no other emitters
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
    # one part for the code of each program: a fifth of the time of those with several loops
    FLAGS.append("--xla_cpu_parallel_codegen_split_count=1")
# eight devices for both, so that meshes can be tested anywhere; what names no device runs on the first
FLAGS.append("--xla_force_host_platform_device_count=8")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
# tests count compilations, which must not depend on what was compiled before
os.environ["PULLBACK_ENABLE_COMPILATION_CACHE"] = "0"


def _halves_compile() -> bool:
    """Whether XLA compiles float16 and float8 here: it needs instructions that processors with AVX have."""
    if "xla_cpu_max_isa=SSE" in os.environ["XLA_FLAGS"]:
        return False
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            text = file.read()
    except OSError:
        return True
    return "flags" not in text or " f16c" in text


HALVES_COMPILE = _halves_compile()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """What XLA cannot compile on this processor is skipped (findings/xla_float16_without_f16c.sh).

    The debugger stops tracing when it continues, which would end the measuring of coverage: that is taken up again.
    """
    tracing = sys.gettrace()
    try:
        return (yield)
    except Exception as error:
        if not HALVES_COMPILE and "Failed to materialize symbols" in str(error):
            pytest.skip("XLA does not compile float16 on this processor")
        raise
    finally:
        if sys.gettrace() is not tracing:
            sys.settrace(tracing)


def pytest_collection_finish(session):
    """What the collection made stays: the collector need not look at it again and again (2 % of the time)."""
    gc.collect()
    gc.freeze()


# the memory at which programs are given up next
_limit = [1_000.0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """Between files, a process that has grown gives up its programs and JAX's: a worker grew to 5 GB."""
    result = yield
    between = nextitem is None or nextitem.location[0] != item.location[0]
    if between and _resident_megabytes() > _limit[0]:
        for name in ("jax", "pullback"):
            if name in sys.modules:
                sys.modules[name].clear_caches()
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free is given back to the system
        # it takes a second or two, and not all memory comes back: not after each file from now on
        _limit[0] = max(1_000.0, _resident_megabytes() + 500)
    return result


def _resident_megabytes() -> float:
    """The memory of this process; 0 where the system is not Linux, and does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0
