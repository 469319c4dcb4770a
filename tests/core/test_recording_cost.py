"""What recording a long program costs: Python's calls for each operation, a count that holds on any machine."""

import sys

import pytest

import pullback as pb
import pullback.numpy as pnp

OPERATIONS = 2000


def chain(x):
    for _ in range(OPERATIONS // 2):
        x = pnp.sin(x) * 1.01
    return x


def trace():
    pb.make_jaxpr(chain)(0.5)


def differentiate():
    pb.make_jaxpr(pb.grad(chain))(0.5)


def lower():
    pb.jit(pb.grad(chain)).lower(0.5).as_text()


def calls_of(run):
    """The number of calls of functions written in Python."""
    calls = [0]

    def note(frame, event, arg):
        calls[0] += event == "call"

    previous = sys.getprofile()
    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(previous)
    return calls[0]


@pytest.mark.parametrize(("run", "most"), [(trace, 14), (differentiate, 56), (lower, 80)])
def test_calls_for_each_operation(run, most):
    run()  # types are inferred once
    assert calls_of(run) / OPERATIONS <= most
