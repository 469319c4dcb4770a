"""Tracers are arrays: whatever an array has, a tracer has too."""

import pytest

import pullback.numpy  # noqa: F401  installs operators and methods
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
