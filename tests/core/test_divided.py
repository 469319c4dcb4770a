"""Elementwise kernels of large arrays in parts: the same bits as whole, whatever the threads do."""

import gc
import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._core import divided as module
from pullback._core.divided import LARGE_FOR_LOOP, PART, divided
from pullback._ops.sigmoids import tanh_slope_p

N = LARGE_FOR_LOOP + 12_345


@pytest.fixture
def crew(monkeypatch):
    """Two helpers, on any number of processors."""
    monkeypatch.setattr(module, "processors", lambda: 3)
    fresh = module._Crew()
    monkeypatch.setattr(module, "_crew", fresh)
    return fresh


def numbers(dtype="float32"):
    x = np.random.default_rng(0).standard_normal(N).astype(dtype)
    x[[0, 5, PART - 1, PART, N - 1]] = [np.nan, np.inf, -0.0, -np.inf, 1e-40]
    return x


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", pnp.bfloat16, "complex64"])
@pytest.mark.parametrize("name", ["exp", "tanh", "sqrt", "negative", "square", "log1p"])
def test_functions_of_one_operand_have_the_bits_of_the_whole(crew, name, dtype):
    x = pnp.array(numbers(dtype))
    got = np.asarray(getattr(pnp, name)(x))
    assert len(crew.helpers) == 2
    crew.taken.acquire()  # as if another thread computed: then the kernel gets the whole
    expected = np.asarray(getattr(pnp, name)(x))
    assert got.dtype == expected.dtype
    assert got.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "maximum", "less", "power", "logaddexp"])
def test_functions_of_two_operands_have_the_bits_of_the_whole(crew, name):
    x, y = pnp.array(numbers()), pnp.array(numbers()[::-1].copy())
    function = getattr(pnp, name)
    got = [np.asarray(function(x, b)) for b in (y, 3.0, np.float32(0.5))]
    crew.taken.acquire()
    for one, b in zip(got, (y, 3.0, np.float32(0.5)), strict=True):
        assert one.tobytes() == np.asarray(function(x, b)).tobytes()


def test_choices_and_conversions(crew):
    x = pnp.array(numbers("float32"))
    got = [np.asarray(a) for a in (pnp.where(x > 0, x, 0), pnp.isnan(x), x.astype("float16"), pnp.clip(x, -1, 1))]
    crew.taken.acquire()
    whole = [pnp.where(x > 0, x, 0), pnp.isnan(x), x.astype("float16"), pnp.clip(x, -1, 1)]
    for one, other in zip(got, whole, strict=True):
        np.testing.assert_array_equal(one, np.asarray(other))


def test_other_layouts_are_taken_as_a_whole(crew):
    x = numbers()[: 8 * PART].reshape(2, -1)
    for a, b in [(x, x[0]), (x.T, x.T), (x, x[:, ::-1])]:
        got = divided(np.add, (a, b), {}, np.broadcast_shapes(a.shape, b.shape), a.dtype)
        np.testing.assert_array_equal(got, a + b)
    assert crew.helpers is None


def test_each_part_is_computed_once(crew):
    seen = []

    def kernel(x):
        seen.append((int(x[0]), x.size))
        return x + 1

    x = np.arange(N, dtype="int32")
    np.testing.assert_array_equal(divided(kernel, (x,), {}, x.shape, x.dtype), x + 1)
    starts = range(0, N, PART)
    assert sorted(seen) == [(start, min(PART, N - start)) for start in starts]


def test_helpers_that_do_not_wake_up_are_not_waited_for(crew, monkeypatch):
    monkeypatch.setattr(module._Helper, "work", lambda self: None)  # its thread ends at once
    x = numbers()
    np.testing.assert_array_equal(divided(np.exp, (x,), {}, x.shape, x.dtype), np.exp(x))
    np.testing.assert_array_equal(divided(np.exp, (x,), {}, x.shape, x.dtype), np.exp(x))


def test_helpers_take_parts(crew):
    threads, both = set(), threading.Barrier(2, timeout=20)

    def kernel(x):
        if threading.get_ident() not in threads and len(threads) < 2:
            threads.add(threading.get_ident())
            both.wait()  # until another thread has a part too
        return x + 1

    x = np.zeros(N)
    np.testing.assert_array_equal(divided(kernel, (x,), {}, x.shape, x.dtype), 1)
    assert len(threads) == 2


def test_an_error_of_a_helper_is_raised(crew):
    main, started = threading.get_ident(), threading.Event()

    def kernel(x):
        if threading.get_ident() == main:
            assert started.wait(20)
            return x
        started.set()
        raise MemoryError("no memory for a part")

    x = np.zeros(N)
    with pytest.raises(MemoryError, match="a part"):
        divided(kernel, (x,), {}, x.shape, x.dtype)
    np.testing.assert_array_equal(divided(np.exp, (x,), {}, x.shape, x.dtype), 1)


def test_an_error_of_the_caller_leaves_the_helpers_at_peace(crew):
    def kernel(x):
        raise ValueError("a part")

    x = np.zeros(N)
    for _ in range(3):
        with pytest.raises(ValueError, match="a part"):
            divided(kernel, (x,), {}, x.shape, x.dtype)
    np.testing.assert_array_equal(divided(np.exp, (x,), {}, x.shape, x.dtype), 1)


def test_no_warnings_in_any_thread(crew, recwarn):
    x = pnp.array(np.full(N, -1.0, "float32"))
    assert np.isnan(np.asarray(pnp.log(x))).all()
    assert np.isinf(np.asarray(x / 0.0)).all()
    assert not recwarn.list


def test_nothing_keeps_the_operands(crew):
    x = np.zeros(N)
    gone = weakref.ref(x)
    divided(np.exp, (x,), {}, x.shape, x.dtype)
    del x
    gc.collect()
    assert gone() is None


def test_single_loops_of_moderate_size_are_not_worth_it(crew):
    x = np.ones(8 * PART, "float32")
    divided(np.exp, (x,), {}, x.shape, x.dtype)
    assert crew.helpers is None
    divided(lambda x: np.exp(x) + 1, (x,), {}, x.shape, x.dtype)
    assert len(crew.helpers) == 2


def test_several_callers_at_once(crew):
    x = numbers()
    expected = np.tanh(x)
    wrong = []

    def compute():
        for _ in range(5):
            got = divided(np.tanh, (x,), {}, x.shape, x.dtype)
            wrong.append(got.tobytes() != expected.tobytes())

    threads = [threading.Thread(target=compute) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not any(wrong)
    assert len(wrong) == 15


def test_kernels_of_several_steps_have_equal_gradients(crew):
    x = pnp.array(numbers("float32")[6 : PART - 1])
    x = pnp.concatenate([x] * 17)
    slope = pb.grad(lambda x: pnp.sum(pnp.tanh(x) ** 2))
    got = np.asarray(slope(x))
    crew.taken.acquire()
    assert got.tobytes() == np.asarray(slope(x)).tobytes()
    assert np.asarray(tanh_slope_p.bind(x)).shape == x.shape


SCRIPT = """
import os, threading
import numpy as np
import pullback.numpy as pnp
from pullback._core import divided
divided.processors = lambda: 2
assert threading.active_count() == 1
x = pnp.zeros(1_000_000)
assert threading.active_count() == 1
print(float((pnp.exp(x) + 1.0).sum()))
assert threading.active_count() == 2
{then}
"""


@pytest.mark.parametrize(
    "then",
    [
        "",
        """
if os.fork() == 0:
    assert divided._crew.helpers is None
    good = float((pnp.exp(x) + 1.0).sum()) == 2_000_000.0
    os._exit(0 if good else 3)
assert os.wait()[1] == 0
""",
    ],
    ids=["exit", "fork"],
)
def test_threads_start_late_end_with_the_process_and_do_not_outlive_a_fork(then):
    if then and not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(then=then)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2000000.0\n"
