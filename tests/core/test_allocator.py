"""The memory of compiled programs, which stays with the process when it is free."""

import os
import subprocess
import sys

import pytest

from pullback._core import allocator

_PAGES_ANEW = """
import resource
import pullback as pb, pullback.numpy as pnp

x, double = pnp.ones(4_000_000, "float32"), pb.jit(lambda x: x * 2)
for _ in range(60):
    pb.block_until_ready(double(x))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    pb.block_until_ready(double(x))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _clean_environment():
    """This one, without glibc's variables and the tests' flags of XLA."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    return {**ours, "GLIBC_TUNABLES": "", "XLA_FLAGS": ""}


_EAGER_PAGES_ANEW = """
import resource
import numpy as np
import pullback as pb, pullback.numpy as pnp

x, slope = pnp.asarray(np.ones(100_000, "float32")), pb.grad(lambda x: pnp.mean(pnp.tanh(x) ** 2 + pnp.exp(-(x**2))))
for _ in range(20):
    slope(x)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    slope(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _pages_anew(program=_PAGES_ANEW):
    """The pages that the system cleared for ten results of 16 MB, each of which has 3,907."""
    words = [sys.executable, "-c", program]
    run = subprocess.run(words, env=_clean_environment(), capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(not allocator._is_glibc(), reason="of glibc's allocator")
def test_results_reuse_the_pages_of_freed_ones():
    assert _pages_anew() < 20_000


@pytest.mark.skipif(not allocator._is_glibc(), reason="of glibc's allocator")
def test_eager_results_reuse_the_pages_of_freed_ones():
    assert _pages_anew(_EAGER_PAGES_ANEW) < 500  # without, 554 for each gradient


@pytest.fixture
def options(monkeypatch):
    """The options that are set, of an environment without glibc's variables."""
    found = []

    class Library:
        def mallopt(self, option, value):
            found.append((option, value))

    for name in [name for name in os.environ if name.startswith("MALLOC_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: Library())
    monkeypatch.setattr(allocator.os, "confstr", lambda name: "glibc 2.36", raising=False)
    return found


def test_options_of_glibc(options):
    allocator.keep_freed_memory()
    assert options == [(-8, 1), (-3, 2**30), (-1, 2**30)]


@pytest.mark.parametrize(
    ("name", "value"),
    [("MALLOC_ARENA_MAX", "2"), ("MALLOC_TRIM_THRESHOLD_", "0"), ("GLIBC_TUNABLES", "glibc.malloc.perturb=1")],
)
def test_the_users_settings_stay(options, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    allocator.keep_freed_memory()
    assert not options


def test_other_tunables_of_glibc_do_not_matter(options, monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.rtld.optional_static_tls=1024")
    allocator.keep_freed_memory()
    assert len(options) == 3


@pytest.mark.parametrize("problem", [AttributeError, ValueError, OSError, None])
def test_other_c_libraries_are_left_alone(options, monkeypatch, problem):
    def confstr(name):
        if problem is not None:
            raise problem(name)

    monkeypatch.setattr(allocator.os, "confstr", confstr, raising=False)
    allocator.keep_freed_memory()
    assert not options
