"""Tracers are arrays: whatever an array has, a tracer has too."""

import weakref

import numpy as np
import pytest

import pullback as pb
import pullback.numpy  # installs operators and methods
from pullback import lax
from pullback._core.array import Array, ConcreteArray
from pullback._core.staging import StagedTracer
from pullback._core.trace import LinearTracer, Tracer
from pullback._transforms.jvp import DualTracer
from pullback._transforms.linearize import LinearizedTracer, Node
from pullback._transforms.vmap import BatchTracer


@pytest.mark.parametrize("kind", [Tracer, LinearTracer, StagedTracer, DualTracer, LinearizedTracer, Node, BatchTracer])
def test_no_slot_hides_a_method_of_arrays(kind):
    slots = {slot for cls in kind.__mro__ for slot in getattr(cls, "__slots__", ())} - {"aval"}
    public = {name for name in dir(Array) if not name.startswith("__")}
    assert not slots & public


def test_concrete_arrays_hide_no_method_either():
    assert not set(ConcreteArray.__slots__) & ({name for name in dir(Array) if not name.startswith("__")} - {"aval"})


def test_tracers_are_referred_to_weakly():
    """As in JAX: TensorFlow Probability caches what its bijectors computed by their argument."""
    seen = []
    pb.jit(lambda x: seen.append(weakref.ref(x)() is x) or x)(1.0)
    pb.grad(lambda x: seen.append(weakref.ref(x)() is x) or x)(1.0)
    pb.vmap(lambda x: seen.append(weakref.ref(x)() is x) or x)(np.ones(2))
    assert seen == [True] * 3
    assert not lax.scan_p.call_primitive
    assert pb.numpy.shape(None) == ()
