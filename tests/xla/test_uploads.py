"""Arguments from the host of warm calls: buffers that are written to again once the program that had them has run."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._xla import uploads


def late(x):
    """Two results, of which the first needs no time and the second reads the argument at the end of a long loop."""
    steps = lax.fori_loop(0, 20_000, lambda i, c: pnp.sin(c) + i, pnp.float32(0))
    return x + 1, x * 2 + 0 * steps


def behind(x):
    """The same by matrix products, which other threads compute while the caller goes on."""
    rows = pnp.broadcast_to(x[:1, :1] / 400, (400, 400))
    for _ in range(4):
        rows = pnp.tanh(rows @ rows)
    return x + 1, x * 2 + 0 * rows[0, 0]


@pytest.fixture
def made(monkeypatch):
    """The types that buffers were made for: staging buffers, and copies."""
    types = []
    sharing, copier = uploads.sharing, uploads.copier

    def counted(aval):
        types.append(aval)
        return sharing(aval)

    def counting():
        def copied(x, aval):
            types.append(aval)
            return copier()(x, aval)

        return copied

    monkeypatch.setattr(uploads, "sharing", counted)
    monkeypatch.setattr(uploads, "copier", counting)
    monkeypatch.setattr(uploads, "_free", {})
    return types


@pytest.mark.parametrize(
    "given",
    [
        lambda i: np.full(3, i, np.float32),
        lambda i: np.full((2, 3), i, np.float64),
        lambda i: np.full((2, 3), i, np.int64).T,
        lambda i: np.full(6, i, np.complex64)[::-2],
        lambda i: np.full((), i, np.float32),
        lambda i: np.full(2, i, bool),
        np.float32,
        np.int32,
        float,
        int,
        complex,
        lambda i: np.full(uploads._SMALL // 4, i, np.float32),
    ],
)
def test_buffers_are_used_again(given, made):
    f = pb.jit(lambda x, y: x + y)
    for i in range(10):
        x, y = given(i), given(2 * i)
        result = f(x, y)
        np.testing.assert_array_equal(result, np.full(np.shape(x), x) + y)
        assert len(made) <= 2


def test_what_is_large_empty_or_unknown_to_the_engine_is_copied_each_time(made):
    f = pb.jit(lambda x: (x + 1, x.sum()))
    for shape, dtype in [(8192, np.float32), (0, np.float32), (3, pnp.bfloat16)]:
        for i in range(4):
            x = np.full(shape, i).astype(dtype)
            np.testing.assert_array_equal(f(x)[0], x + np.ones((), dtype))
    assert [aval.size for aval in made if aval.size] == [8192] * 3


@pytest.mark.parametrize("fun", [late, behind, lambda x: (x, x), lambda x: (x.T, x.reshape(-1)), lambda x: x[None]])
def test_results_that_are_kept_stay_as_they_are(fun):
    """Whether the program runs in the calling thread or has not ended when the next call comes."""
    f = pb.jit(fun)
    x = np.empty((2, 2), np.float32)
    results = []
    for i in range(30):
        x[:] = i
        results.append(f(x))
        if i % 3 == 0:
            pb.block_until_ready(results[-1])
        x[:] = -7
    for i, result in enumerate(results):
        for got, want in zip(pb.tree.leaves(result), pb.tree.leaves(fun(np.full((2, 2), i, np.float32))), strict=True):
            np.testing.assert_array_equal(got, want)


def test_a_program_that_runs_keeps_its_buffer(made):
    f = pb.jit(late)
    first, second = np.float32([1, 2]), np.float32([3, 4])
    f(first), f(first)[1].block_until_ready()
    (aval,) = made
    (stage,) = uploads._free[aval]

    class Running:
        @staticmethod
        def is_ready():
            return False

    uploads._free[aval][:] = [(*stage[:2], Running)]
    np.testing.assert_array_equal(f(second)[0], [4, 5])
    np.testing.assert_array_equal(stage[0], first)
    assert uploads._free[aval] == [(*stage[:2], Running)]


def test_donated_arguments_and_results():
    f = pb.jit(lambda x, y: x + y, donate_argnums=0)
    x, one = np.zeros(3, np.float32), np.ones(3, np.float32)
    for i in range(5):
        result = f(x, one)
        np.testing.assert_array_equal(result, i % 2 + 1 + np.zeros(3))
        x = result if i % 2 == 0 else np.zeros(3, np.float32)
    result = f(x, one)
    following = f(result, one)  # the result that tells that the last program has run is deleted
    assert result.is_deleted()
    assert (following.tolist(), f(np.ones(3, np.float32), one).tolist()) == ([3, 3, 3], [2, 2, 2])


def test_threads_have_buffers_of_their_own():
    f = pb.jit(late)
    f(np.zeros(2, np.float32))

    def run(i):
        return [np.asarray(f(np.float32([i, k]))[1]) for k in range(60)]

    with ThreadPoolExecutor(4) as threads:
        for i, results in enumerate(threads.map(run, range(4))):
            np.testing.assert_array_equal(results, [[2 * i, 2 * k] for k in range(60)])


def test_a_call_within_a_call():
    inner = pb.jit(lambda x: x + 1)

    def on_host(x):
        return np.asarray(inner(np.asarray(x) * 10))

    outer = pb.jit(lambda x: x + pb.pure_callback(on_host, pb.ShapeDtypeStruct((2,), np.float32), x))
    for i in range(5):
        np.testing.assert_array_equal(outer(np.float32([i, 1])), [11 * i + 1, 12])


def test_numbers_that_do_not_fit_are_named():
    f = pb.jit(lambda x: x + 1)
    for _ in range(3):
        assert f(1) == 2
        with pytest.raises(OverflowError, match="2147483648"):
            f(2**31)
    with np.errstate(all="ignore"):
        assert f(1.5) == 2.5
        assert np.isinf(f(np.full(2, 1e300))).all()
        np.testing.assert_array_equal(f(np.array([2**32 + 5])), [6])


def test_memory_of_the_device_is_asked_for_once(monkeypatch):
    """On a GPU a buffer has memory of its own: to find that out takes a transfer there and back."""
    asked = []
    monkeypatch.setattr(uploads, "sharing", asked.append)
    monkeypatch.setattr(uploads, "_free", {})
    double = pb.jit(lambda x: 2 * x)
    for i in range(5):
        np.testing.assert_array_equal(double(np.full(3, i, np.float32)), np.full(3, 2 * i, np.float32))
    assert len(asked) == 1
