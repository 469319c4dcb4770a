"""The origin of an operation: the user's line, and what contexts state. What is nearest to it counts first."""

import pytest

from pullback import debug_nans
from pullback._core.origins import InBackwardPass, InRule, InStep, origin_here, origins_are_tracked


def origin_of_here():
    return origin_here()


def test_the_line_is_that_of_the_user():
    origin = origin_of_here()
    assert (origin.location.filename, origin.location.function) == (__file__, "origin_of_here")
    assert not origin.backward
    assert origin.lines()[0].startswith("It was made at ")


def test_contexts_state_rules_and_steps_innermost_first():
    def rule():
        with InRule(lambda: "the inner rule"), InStep(1, "a scan of 2"):
            return origin_of_here()

    with InStep(3, "a while_loop"), InRule(lambda: "the outer rule"):
        origin = rule()
    assert origin.rule == "the inner rule"
    assert origin.steps == ["step 1 of a scan of 2", "step 3 of a while_loop"]
    assert origin_of_here().steps == []


def test_a_backward_pass_states_the_record_it_is_at():
    places = {"first": origin_of_here(), "second": None}
    with InBackwardPass(places.get) as backward_pass:
        found = {record: origin_of_here() for record in backward_pass.over(["second", "first"])}
    assert all(origin.backward for origin in found.values())
    assert found["first"].forward == places["first"].location
    assert found["second"].forward is None


def test_a_context_ends_where_an_error_passes():
    with pytest.raises(ValueError, match="out"), InStep(0, "a scan of 1"):
        raise ValueError("out")
    assert origin_of_here().steps == []


def test_contexts_are_entered_only_where_nans_are_looked_for():
    assert not origins_are_tracked()
    with debug_nans():
        assert origins_are_tracked()
