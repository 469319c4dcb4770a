"""A while loop with a bounded number of steps as nested scans, for reverse mode.

At most `n` steps are split into about √n segments of √n steps: the outer scan keeps the carry at the start of every
segment, and the backward pass recomputes the steps of one segment at a time. Memory is of the order of √n carries and
one segment's intermediate values; beyond 10,000 steps there are three levels, and it is of the order of ∛n.

Steps after the loop's end are skipped, at the outer level by whole segments: the overhead is √n tests of a flag.

See: Griewank and Walther, Evaluating Derivatives (2008), chapter 12.
"""

from __future__ import annotations

import math

import numpy as np

from pullback._core.array import lift
from pullback._core.jaxpr import Jaxpr, eval_jaxpr
from pullback._core.staging import stage_open
from pullback._core.types import make_aval
from pullback._higher_order.checkpoint import bind_checkpoint
from pullback._higher_order.control.scan import bind_scan
from pullback._higher_order.control.when import bind_when
from pullback._ops.compare import bitwise_and, lt
from pullback._ops.elementwise import add
from pullback._ops.own_types import chosen_value

_COUNT = make_aval((), np.dtype(np.int32))


def lengths_of(max_steps: int) -> list[int]:
    """The lengths of the nested scans, from the outermost level to the innermost."""
    levels = 2 if max_steps <= 10_000 else 3
    lengths = []
    rest = max(max_steps, 1)
    for level in range(levels, 1, -1):
        inner = math.ceil(round(rest ** (1 - 1 / level), 9))
        lengths.append(math.ceil(rest / inner))
        rest = inner
    return [*lengths, rest]


def nested_scans(
    cond_jaxpr: Jaxpr, body_jaxpr: Jaxpr, cond_consts: int, body_consts: int, max_steps: int, nested: bool = True
) -> Jaxpr:
    """The loop as a jaxpr with the same operands and results; a single scan of all steps unless `nested`."""
    lengths = lengths_of(max_steps) if nested else [max_steps]
    key = ("nested scans", cond_jaxpr, cond_consts, body_consts, max_steps, nested)
    return body_jaxpr.derive(key, lambda: _build(cond_jaxpr, body_jaxpr, cond_consts, body_consts, max_steps, lengths))


def _build(cond_jaxpr, body_jaxpr, cond_consts, body_consts, max_steps, lengths) -> Jaxpr:
    n, m = cond_consts, cond_consts + body_consts
    consts = [*cond_jaxpr.in_avals[:n], *body_jaxpr.in_avals[:body_consts]]
    avals = [*consts, *body_jaxpr.in_avals[body_consts:], _COUNT]

    def goes_on(args):
        (flag,) = eval_jaxpr(cond_jaxpr, [], *args[:n], *args[m:-1])
        return bitwise_and(flag, lt(args[-1], lift(np.int32(max_steps))))

    def step(*args):
        return [*eval_jaxpr(body_jaxpr, [], *args[n:-1]), add(args[-1], lift(np.int32(1)))]

    def segment(inner: Jaxpr, length: int) -> Jaxpr:
        def advance(*args):
            flag = goes_on(args)
            after = bind_when(flag, inner, args)
            return [chosen_value(flag, new, old) for new, old in zip(after, args[m:], strict=True)]

        body = stage_open(advance, avals)[0]

        def run(*args):
            return bind_scan(args[:m], args[m:], [], body, length, False, 1)[0]

        return stage_open(run, avals)[0]

    *outer, last = lengths
    whole = segment(stage_open(step, avals)[0], last)
    for length in reversed(outer):
        whole = segment(_checkpointed(whole), length)

    def loop(*args):
        return eval_jaxpr(whole, [], *args, lift(np.int32(0)))[:-1]

    return stage_open(loop, avals[:-1])[0]


def _checkpointed(jaxpr: Jaxpr) -> Jaxpr:
    # inside a scan the first run and the recomputation are in different loops: nothing can be merged
    return stage_open(lambda *args: bind_checkpoint(jaxpr, args, prevent_cse=False), jaxpr.in_avals)[0]


__all__ = ["lengths_of", "nested_scans"]
