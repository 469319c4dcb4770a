"""Policies of `checkpoint` as objects: how they are shown, compared, combined, pickled; answers; the report."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from checkpointed import POLICIES, W, count
from refusals import raises
from transformations import PB

import pullback as pb
import pullback.numpy as pnp
from pullback._higher_order.checkpoint import halves_of
from pullback.ad_checkpoint import (
    Offloadable,
    Recompute,
    Saveable,
    checkpoint_name,
    residual_report,
    saved_residuals,
)
from pullback.checkpoint_policies import Policy

P = pb.checkpoint_policies
X = np.ones((2, 3), "float32")
OFFLOAD = {
    "names_which_can_be_saved": ["a"],
    "names_which_can_be_offloaded": ["b"],
    "offload_src": "device",
    "offload_dst": "pinned_host",
}


def block(x, w):
    h = checkpoint_name(pnp.sin(x @ w), "hidden")
    return (pnp.sin(h) * h).sum()


def kept(policy):
    return {str(r).partition(" from ")[0] for r in saved_residuals(pb.checkpoint(block, policy=policy), X, W[0])}


def is_sine(primitive, *types, **params):
    return primitive.name == "sin"


@dataclass(frozen=True)
class AtMost(Policy):
    """Save results of operations whose operands have at most this number of entries."""

    entries: int

    def __call__(self, primitive, *types, **params):
        return all(t.size <= self.entries for t in types)


ARGUMENTS = {"f32[2,3]", "f32[3,3]"}
DOT, SINE, COSINE = "f32[2,3] output of dot_general", "f32[2,3] output of sin", "f32[2,3] output of cos"
HIDDEN = "f32[2,3] named 'hidden'"


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        *((getattr(P, name), name) for name in POLICIES),
        (P.checkpoint_dots, "dots_saveable"),
        (P.save_only_these_names("b", "a"), "save_only_these_names('a', 'b')"),
        (P.save_any_names_but_these("a"), "save_any_names_but_these('a')"),
        (P.save_anything_except_these_names("a"), "save_anything_except_these_names('a')"),
        (
            P.save_and_offload_only_these_names(**OFFLOAD),
            "save_and_offload_only_these_names(names_which_can_be_saved=('a',), names_which_can_be_offloaded=('b',), "
            "offload_src='device', offload_dst='pinned_host')",
        ),
        (
            P.save_from_both_policies(P.dots_saveable, P.save_only_these_names("a")),
            "dots_saveable | save_only_these_names('a')",
        ),
        (P.dots_saveable | P.nothing_saveable | P.dots_saveable, "dots_saveable | nothing_saveable"),
        (
            (P.dots_saveable | AtMost(3)) & ~P.nothing_saveable,
            "(dots_saveable | AtMost(entries=3)) & ~nothing_saveable",
        ),
        (~(P.dots_saveable & AtMost(3)), "~(dots_saveable & AtMost(entries=3))"),
        (~~P.dots_saveable, "dots_saveable"),
    ],
    ids=str,
)
def test_a_policy_is_shown_as_it_is_written_compared_by_value_and_pickled(policy, text):
    assert repr(policy) == text
    assert isinstance(policy, Policy)
    again = pickle.loads(pickle.dumps(policy))
    assert again == policy
    assert hash(again) == hash(policy)
    assert policy != P.everything_saveable or text == "everything_saveable"


def test_a_function_in_a_composition_is_shown_with_its_place():
    assert repr(P.dots_saveable | is_sine).startswith("dots_saveable | is_sine (defined at ")
    assert repr(is_sine | P.dots_saveable).startswith("is_sine (defined at ")


@pytest.mark.parametrize(
    "policy", [P.dots_saveable, P.dots_saveable | AtMost(3), P.save_only_these_names("a")], ids=str
)
def test_jaxprs_show_the_policy(policy):
    assert f"policy={policy!r}\n" in str(pb.make_jaxpr(pb.grad(pb.checkpoint(block, policy=policy)))(X, W[0]))


def test_compositions_save_what_they_say():
    sines = P.nothing_saveable | is_sine
    assert kept(P.dots_saveable | is_sine) == kept(P.save_from_both_policies(is_sine, P.dots_saveable))
    assert kept(P.dots_saveable) == {*ARGUMENTS, DOT}
    assert kept(sines) >= ARGUMENTS
    assert kept(P.dots_saveable & is_sine) == ARGUMENTS == kept(P.nothing_saveable)
    assert kept(~P.everything_saveable) == ARGUMENTS
    assert kept(P.everything_saveable & ~P.save_only_these_names("none")) == kept(P.everything_saveable)
    assert kept(AtMost(3)) == ARGUMENTS
    assert kept(P.save_only_these_names("hidden") | AtMost(3)) == {*ARGUMENTS, HIDDEN}


def test_what_is_derived_for_a_policy_is_shared_by_equal_ones():
    jaxpr = pb.make_jaxpr(block)(X, W[0]).jaxpr
    halves = [halves_of(jaxpr, (True, True), policy) for policy in (AtMost(3), AtMost(3), AtMost(4))]
    assert halves[0] is halves[1] is not halves[2]
    named = [halves_of(jaxpr, (True, True), P.save_only_these_names(*names)) for names in ("ab", "ba")]
    assert named[0] is named[1]


@pytest.mark.parametrize(
    ("answer", "saves"),
    [
        (True, True),
        (False, False),
        (np.bool_(True), True),
        (Saveable, True),
        (Recompute, False),
        (Offloadable("device", "pinned_host"), True),
    ],
    ids=str,
)
def test_what_a_policy_may_return(answer, saves):
    def policy(primitive, *types, **params):
        return answer

    assert kept(policy) == kept(P.everything_saveable if saves else P.nothing_saveable)
    assert kept(P.nothing_saveable | policy) == kept(policy)
    assert pickle.loads(pickle.dumps(answer)) == answer


@pytest.mark.parametrize("answer", [None, 1, "yes"])
def test_other_answers_are_refused_as_in_jax(answer):
    def policy(primitive, *types, **params):
        return answer

    with raises(TypeError, "checkpoint: the policy policy (defined at", "must return a bool", repr(answer)):
        pb.grad(pb.checkpoint(block, policy=policy))(X, W[0])
    with raises(TypeError, "must return a bool", repr(answer)):
        pb.grad(pb.checkpoint(block, policy=P.dots_saveable | policy))(X, W[0])
    with pytest.raises(TypeError, match="should be a bool"):
        jax.grad(jax.checkpoint(lambda x: jax.numpy.sin(x), policy=policy))(1.0)


def test_what_is_no_policy_is_refused():
    for combine in (lambda: P.dots_saveable | 3, lambda: 3 | P.dots_saveable):
        with raises(TypeError, "a policy | another: expected a policy or a function, got 3"):
            combine()
    with raises(TypeError, "a policy & another: expected a policy or a function, got 'dots'"):
        P.dots_saveable & "dots"
    with raises(NotImplementedError, "Incomplete: a policy must define __call__"):

        class Incomplete(Policy):
            pass

        pb.grad(pb.checkpoint(block, policy=Incomplete()))(X, W[0])


def test_classes_of_policies_by_name():
    assert P.SaveOnlyTheseNames("a", "b") == P.save_only_these_names("b", "a")
    assert P.SaveAnyNamesButThese("a") == P.save_any_names_but_these("a")
    assert P.SaveAndOffloadOnlyTheseNames(**OFFLOAD) == P.save_and_offload_only_these_names(**OFFLOAD)
    assert P.save_only_these_names("a") != P.save_any_names_but_these("a")
    with raises(TypeError, "save_only_these_names: a name must be a string"):
        P.SaveOnlyTheseNames(3)


# --- the report ---


def test_the_report_has_bytes_lines_and_what_is_recomputed():
    report = residual_report(P.save_only_these_names("hidden"), block, X, W[0])
    assert report.nbytes == 4 * (6 + 9 + 6)
    assert [r.nbytes for r in report.kept] == [24, 36, 24]
    assert report.recomputed
    text = str(report)
    line = block.__code__.co_firstlineno + 1
    assert text.startswith("policy save_only_these_names('hidden'): 84 bytes are kept, 60 of them arguments; ")
    assert f"24  kept        f32[2,3] named 'hidden' from {__file__}:{line} (block)" in text
    assert f"24  recomputed  f32[2,3] output of cos from {__file__}:{line} (block)" in text


def test_a_report_of_everything_recomputes_nothing():
    assert residual_report(P.everything_saveable, block, X, W[0]).recomputed == []
    without = residual_report(None, block, X, W[0])
    assert {str(r) for r in without.kept} == {"f32[2,3] from the argument 'x'", "f32[3,3] from the argument 'w'"}
    assert str(without).startswith("policy None: 60 bytes are kept, 60 of them arguments; ")


def test_the_report_computes_nothing():
    x = pb.ShapeDtypeStruct((1000, 1000), "float32")
    assert residual_report(P.dots_saveable, block, x, x).nbytes == 3 * 4 * 10**6
    with raises(TypeError, "checkpoint: policy must be a function"):
        residual_report("dots_saveable", block, X, W[0])


def test_the_number_of_products_is_that_of_the_parts():
    def products(policy):
        return count(PB, pb.grad(pb.checkpoint(block, policy=policy), (0, 1)), X, W[0])

    assert products(P.dots_saveable | P.save_only_these_names("hidden")) == products(P.dots_saveable)
    assert products(P.dots_saveable & P.nothing_saveable) == products(P.nothing_saveable) == products(None)
