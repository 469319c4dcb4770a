"""Python's floating-point mode inside of calls from programs: subnormal numbers count."""

import platform
import sys

import numpy as np
import pytest
from emitted import aval_of, run_emitted

from pullback._xla import float_mode
from pullback._xla.host_calls import emit_host_call

GNU = sys.platform.startswith("linux") and platform.libc_ver()[0] == "glibc"
TINY = float(np.finfo(np.float64).tiny)


def halves():
    """A subnormal number made by Python's floats and one made by NumPy: not 0 in IEEE's mode."""
    return TINY / 2, float((np.full(9, TINY) / 2)[0])


def test_subnormal_numbers_count_in_a_call():
    seen = []

    def note(x):
        seen.append((halves(), float(x) / 2))
        return [x]

    aval = aval_of((), np.float64)
    (out,) = run_emitted(lambda ctx, x: emit_host_call(ctx, note, [x], [aval], False), [aval], np.float64(TINY))
    assert out == TINY
    if GNU:
        assert seen == [((TINY / 2, TINY / 2), TINY / 2)]
        assert TINY / 2 > 0


def test_entering_and_leaving_can_be_nested():
    outer = float_mode.enter()
    inner = float_mode.enter()
    assert min(halves()) > 0
    float_mode.leave(inner)
    assert min(halves()) > 0
    float_mode.leave(outer)
    assert min(halves()) > 0


@pytest.mark.skipif(not GNU, reason="other C libraries keep the mode elsewhere")
def test_what_was_before_comes_back():
    """Rounding upwards (FE_UPWARD of x86 and of ARM), which Python's own mode does not, is there again afterwards."""
    import ctypes

    library = ctypes.PyDLL("libm.so.6")
    upward = {"x86_64": 0x800, "aarch64": 0x400000}.get(platform.machine())
    if upward is None:
        pytest.skip("the number of FE_UPWARD is not known here")
    nearest = library.fegetround()
    assert library.fesetround(upward) == 0
    try:
        before = float_mode.enter()
        inside = library.fegetround()
        float_mode.leave(before)
        assert (inside, library.fegetround()) == (nearest, upward)
    finally:
        library.fesetround(nearest)


def test_elsewhere_nothing_is_changed(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    enter, leave = float_mode._find()
    assert leave(enter()) is None


def test_without_the_library_nothing_is_changed(monkeypatch):
    def refuse(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(float_mode.ctypes, "PyDLL", refuse)
    enter, leave = float_mode._find()
    assert leave(enter()) is None
