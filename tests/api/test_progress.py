"""`debug.progress`: the results of the loops, and what is reported when."""

import io

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import _progress, debug, lax


class Recorder:
    """A bar that remembers."""

    runs: list["Recorder"]

    def __init__(self, total, name):
        self.n, self.total, self.name, self.seen, self.closed = 0, total, name, [], False

    def update(self, n):
        self.n += n
        self.seen.append(self.n)

    def close(self):
        self.closed = True


@pytest.fixture
def runs(monkeypatch):
    opened = []

    def open_bar(total, name):
        opened.append(Recorder(total, name))
        return opened[-1]

    monkeypatch.setattr(_progress, "open_bar", open_bar)
    return opened


def step(carry, x):
    carry = carry * 0.9 + pnp.sin(x)
    return carry, carry * 2


@pytest.mark.parametrize("n", [1, 7, 100, 250])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("transform", [pb.jit, lambda f: f])
def test_scan(runs, n, reverse, transform):
    xs = pnp.linspace(0, 1, n)
    expected = lax.scan(step, 1.0, xs, reverse=reverse)
    got = transform(lambda xs: debug.progress(lax.scan, "steps", every=20)(step, 1.0, xs, reverse=reverse))(xs)
    for x, y in zip(got, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)
    (run,) = runs
    assert (run.total, run.name, run.closed, run.seen[-1]) == (n, "steps", True, n)
    assert run.seen[0] == min(20, n)
    assert np.all(np.diff(run.seen) > 0)


def test_a_hundred_reports_by_default_and_each_run_has_its_bar(runs):
    loop = pb.jit(lambda x: debug.progress(lax.scan)(step, x, pnp.arange(1000.0))[0])
    for x in (1.0, 2.0):
        np.testing.assert_allclose(loop(x), lax.scan(step, x, pnp.arange(1000.0))[0], rtol=1e-6)
    assert [len(run.seen) for run in runs] == [100, 100]
    assert all(run.closed for run in runs)


def test_gradients_and_batches(runs):
    xs = pnp.linspace(0, 1, 30)

    def loss(scan, w):
        def layer(c, x):
            return pnp.tanh(c * w + x), None

        return scan(layer, 0.5, xs)[0]

    shown = debug.progress(lax.scan, every=10)
    for derive in (pb.grad, pb.jacfwd, pb.hessian):
        got, expected = (derive(lambda w, scan=scan: loss(scan, w))(0.7) for scan in (shown, lax.scan))
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    runs.clear()
    got = pb.jit(pb.vmap(pb.grad(lambda w: loss(shown, w))))(pnp.array([0.5, 0.7]))
    np.testing.assert_allclose(got[1], pb.grad(lambda w: loss(lax.scan, w))(0.7), rtol=1e-5)
    assert [run.seen for run in runs] == [[10, 20, 30]]


@pytest.mark.parametrize("transform", [pb.jit, lambda f: f])
def test_fori_loops(runs, transform):
    def body(i, x):
        return x + i

    shown = debug.progress(lax.fori_loop, every=4)
    assert transform(lambda x: shown(3, 13, body, x))(0) == sum(range(3, 13))
    assert transform(lambda n: shown(3, n, body, 0))(13) == sum(range(3, 13))
    assert [run.seen for run in runs] == [[4, 8, 10]] * 2
    assert [run.total for run in runs] == [10, 10]
    assert transform(lambda x: shown(3, 3, body, x))(5) == 5

    def power(w):
        return shown(0, 10, lambda i, x: x * w, 1.0)

    np.testing.assert_allclose(pb.grad(power)(1.1), 10 * 1.1**9, rtol=1e-5)


@pytest.mark.parametrize("transform", [pb.jit, lambda f: f])
def test_while_loops(runs, transform):
    shown = debug.progress(lax.while_loop, "halving", every=10)

    def above_one(x):
        return x > 1

    def halved(x):
        return shown(above_one, half, x)

    def half(x):
        return x / 2

    assert transform(halved)(2.0**25) == 1
    assert [(run.seen, run.total, run.closed) for run in runs] == [([10, 20, 25], None, True)]
    assert halved(1.0) == 1
    np.testing.assert_array_equal(pb.vmap(halved)(pnp.array([2.0**25, 2.0, 3.0])), [1, 1, 0.75])


def test_bounded_while_loops(runs):
    def eighth_power(x):
        return debug.progress(lax.while_loop)(lambda x: x < 100, lambda x: x * x, x, max_steps=10)

    np.testing.assert_allclose(pb.grad(eighth_power)(3.0), 8 * 3.0**7, rtol=1e-5)
    assert [(run.seen, run.total) for run in runs] == [([3], 10)]


def test_maps(runs):
    xs = {"x": pnp.arange(11.0), "y": pnp.ones((11, 2))}

    def f(entry):
        return entry["x"] * entry["y"]

    for batch_size in (None, 1, 3, 11, 20):
        got = pb.jit(lambda xs, size=batch_size: debug.progress(lax.map)(f, xs, batch_size=size))(xs)
        np.testing.assert_array_equal(got, lax.map(f, xs))
    assert [run.total for run in runs] == [11, 11, 3, 1]


def test_a_run_that_was_cut_short_does_not_count_for_the_next(runs):
    def failing(i, x):
        debug.callback(check, i, limit)
        return x + i

    def check(i, limit):
        if i > limit:
            raise RuntimeError("stop")

    shown, limit = debug.progress(lax.fori_loop, every=2), 5
    with pytest.raises(RuntimeError, match="stop"):
        shown(0, 10, failing, 0)
    limit = 100
    assert shown(0, 10, failing, 0) == 45
    assert [run.seen for run in runs] == [[2, 4, 6], [2, 4, 6, 8, 10]]


def test_errors_are_those_of_the_loop():
    with pytest.raises(ValueError, match=r"progress: loop must be one of lax\.scan, lax\.fori_loop"):
        debug.progress(map)
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        debug.progress(lax.scan, every=0)
    with pytest.raises(ValueError, match="scan"):
        debug.progress(lax.scan)(step, 1.0, {"a": pnp.ones(2), "b": pnp.ones(3)})
    with pytest.raises(TypeError, match="map"):
        debug.progress(lax.map)(3, pnp.ones(2))


def test_empty_loops(runs):
    carry, ys = debug.progress(lax.scan)(step, 1.0, pnp.zeros(0))
    assert (carry, ys.shape, runs) == (1.0, (0,), [])


def test_a_line_of_text():
    file = io.StringIO()
    line = _progress.Line(4, "steps", file)
    line.update(1)
    line.update(3)
    line.close()
    assert file.getvalue() == "\rsteps: step 1 of 4, 25%\rsteps: step 4 of 4, 100%\n"
