"""The random programs of tests/fuzz: some fixed ones pass, and a fault that is planted is found and made small."""

import importlib.util

import numpy as np
import pytest
from fuzz.bounds import spread
from fuzz.campaign import Campaign
from fuzz.case import Case, Data, function
from fuzz.libraries import PULLBACK
from fuzz.oracles import Checker, Finding, assert_passes, check
from fuzz.program import FLAT, Block, Program, Step, Type, every_step, source_of
from fuzz.programs import draw_program
from fuzz.quantities import QUANTITIES
from fuzz.report import test_text as text_of_test
from fuzz.shrinking import shrink

from pullback._ops.cumulative import cumsum_p


@pytest.mark.parametrize("first", [0, *(pytest.param(n, marks=pytest.mark.long) for n in range(40, 400, 40))])
def test_fixed_seeds(first):
    campaign = Campaign(shrinks=False)
    for seed in range(first, first + 40):
        campaign.run(seed)
    assert not campaign.findings


def test_a_seed_is_a_program():
    (first, _), (second, _), (other, _) = map(draw_program, (7, 7, 8))
    assert first.source == second.source
    assert all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(first.args, second.args, strict=True))
    assert first.source != other.source


def statement(out, text, *operands, shape=(3,), **kw):
    return Step("statement", (out,), (Type(shape, "float64"),), text, operands, **kw)


def sums_in_a_function() -> Program:
    """A program with a running sum deep inside, and much beside it that does not matter."""
    inner = Block(
        "f0",
        ("a0", "a1"),
        (
            statement("v3", "np.sin($0)", "a0"),
            statement("v4", "np.cumsum($0)", "v3"),
            statement("v5", "$0 * $1", "v4", "a1"),
        ),
        ("v5",),
    )
    steps = (
        statement("v1", "np.tanh($0)", "x0"),
        statement("v2", "$0 + $1", "v1", "x1"),
        statement("v6", "t.checkpoint($f0)($0, $1)", "v2", "x1", blocks=(inner,)),
        statement("v7", "np.exp(-$0)", "v6"),
    )
    block = Block("program", ("x0", "x1"), steps, ("v7", "v1"))
    return Program(
        source_of(block), FLAT, (np.array([0.5, -1.0, 2.0]), np.array([0.25, 0.5, -0.75])), True, block=block
    )


def wrong_transpose(ct, x, axis, reverse):
    return [cumsum_p.bind(ct, axis=axis, reverse=reverse)]


def test_a_planted_fault_is_found_and_made_small(monkeypatch, tmp_path):
    program = sums_in_a_function()
    assert check(program, "adjoint_pairing") is None
    monkeypatch.setattr(cumsum_p, "transpose", wrong_transpose)
    finding = check(program, "adjoint_pairing")
    assert finding is not None
    small, finding = shrink(program, finding)
    assert [step.text for step in every_step(small.block)] == ["np.cumsum($0)"]
    assert len(small.args) == 1
    # the report is a test that fails, and passes when the fault is mended
    path = tmp_path / "reported.py"
    path.write_text(text_of_test(small, finding))
    spec = importlib.util.spec_from_file_location("reported", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (reported,) = (getattr(module, name) for name in vars(module) if name.startswith("test_"))
    with pytest.raises(AssertionError, match="adjoint_pairing"):
        reported()
    monkeypatch.undo()
    reported()


def test_a_wrong_rule_is_found_by_differences():
    def make(L):
        t, np = L.t, L.np
        f = t.custom_jvp(np.sin)
        f.defjvps(lambda tangent, out, x: (1 + 1e-8) * tangent * np.cos(x))

        def program(x):
            return f(x)

        return program

    with pytest.raises(AssertionError, match="differences"):
        assert_passes(make, [np.array([1.0, 2.0])], "differences", x64=True)


def rounding(*lines):
    """The spread that rounding causes in a function of x = 1, given by its lines."""
    x = np.array([1.0])
    body = ["    def program(x):", *("        " + line for line in lines), "        return y", "    return program"]
    source = "\n".join(["def make(L):", *body])
    program = Program(source, FLAT, (x,), True)
    with PULLBACK.t.enable_x64(True):
        case = Case(PULLBACK, program, function(program, PULLBACK), Data([x], [], [], [], ()))
        return spread(case, QUANTITIES["value"].run, 2.0**-52)[0][0]


def test_bounds_follow_the_conditioning():
    plain = rounding("y = L.np.sin(x)")
    cancels = rounding("z = x + 1e6", "y = z - 1e6")
    assert 2.0**-54 < plain < 2.0**-50
    assert 1e5 * plain < cancels < 1e7 * plain


def test_no_bound_where_a_value_jumps():
    assert np.isinf(rounding("y = L.np.floor(x)"))


def test_findings_of_a_kind():
    assert Finding("vjp", "ValueError: no").kind == "ValueError"
    assert Finding("vjp", "result 0 is 1.0, not 2.0").kind == Finding("vjp", "result 1[0] is 3.0, not 2.0").kind


def test_every_check_has_a_name_that_runs_alone():
    program = sums_in_a_function()
    for name in [*QUANTITIES, "repeated", "differences", "compiled value", "JAX's vjp"]:
        assert Checker(program, name).finding() is None
