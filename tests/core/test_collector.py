"""The garbage collector while a long tape is recorded: how often it runs, and whose thresholds it has afterwards."""

import gc

import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback._core import collector

N = 12 * collector.STEP


def chain(x):
    for _ in range(N):
        x = pnp.sin(x)
    return x


@pytest.fixture
def thresholds():
    before = gc.get_threshold()
    gc.collect()
    yield before
    gc.set_threshold(*before)


def collections(f):
    """How often the collector ran during a call."""
    seen = []

    def note(phase, info):
        seen.append(info["generation"])

    gc.callbacks.append(note)
    f()
    gc.callbacks.remove(note)
    return len(seen)


def unpaced(recording, length):
    pass


def test_collections_do_not_grow_with_the_tape(thresholds, monkeypatch):
    paced = collections(lambda: pb.grad(chain)(0.5))
    assert gc.get_threshold() == thresholds
    monkeypatch.setattr(collector, "longer", unpaced)
    assert 0 < paced < 0.3 * collections(lambda: pb.grad(chain)(0.5))


def test_thresholds_are_raised_while_a_long_tape_lives(thresholds):
    _, pullback = pb.vjp(chain, 0.5)
    assert gc.get_threshold()[0] > collector.STEP
    assert gc.get_threshold()[1:] == thresholds[1:]
    del pullback
    assert gc.get_threshold() == thresholds


def test_long_jaxprs(thresholds):
    raised = []

    def traced(x):
        out = chain(x)
        raised.append(gc.get_threshold()[0] > collector.STEP)
        return out

    pb.make_jaxpr(traced)(0.5)
    assert raised == [True]
    assert gc.get_threshold() == thresholds


@pytest.mark.parametrize("chosen", [(500, 7, 9), (0, 10, 10)])
def test_the_users_thresholds_are_kept(thresholds, chosen):
    def f(x):
        y = chain(x)
        gc.set_threshold(*chosen)
        return chain(y)

    pb.grad(f)(0.5)
    assert gc.get_threshold() == chosen
    pb.grad(chain)(0.5)
    assert gc.get_threshold() == chosen
