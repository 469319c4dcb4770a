"""Reading XLA's text."""

from pullback._pictures.hlo import number_of, read

TEXT = """
HloModule pullback, is_scheduled=true

%region (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  ROOT %sum = f32[] add(%a, %b)
}

%fused (p: f32[5]) -> f32[5] {
  %p = f32[5]{0} parameter(0)
  %first = f32[5]{0} sine(%p), metadata={op_name="e1/sin"}
  ROOT %second = f32[5]{0} negate(%first), metadata={op_name="e0/e2/neg"}
}

ENTRY %main (x: f32[5]) -> (f32[5], s32[2,5]) {
  %x = f32[5]{0} parameter(0)
  %both = f32[5]{0} fusion(%x), kind=kLoop, calls=%fused
  %loop = (f32[5]{0}, s32[2,5]{1,0}) while(%both), condition=%cond, body=%region, metadata={op_name="e3/while"}
  %one = s32[2,5]{1,0} get-tuple-element(%loop), index=1
  %choice = f32[5]{0} conditional(%x, %both, %both), branch_computations={%fused, %region}
  ROOT %all = (f32[5]{0}, s32[2,5]{1,0}) tuple(%choice, %one)
}
"""


def test_computations():
    program = read(TEXT)
    assert (program.entry, list(program.bodies)) == ("main", ["region", "fused", "main"])
    x, both, loop, one, choice, last = program.bodies["main"]
    assert (x.kind, x.literal, x.type) == ("parameter", "0", "f32[5]")
    assert (both.operands, both.called, both.number) == (["x"], ["fused"], None)
    assert (loop.type, loop.called, loop.number) == ("(f32[5], s32[2,5])", ["cond", "region"], 3)
    assert (one.element, one.operands) == (1, ["loop"])
    assert choice.called == ["fused", "region"]
    assert last.root
    assert last.operands == ["choice", "one"]


def test_a_fusion_without_a_number_has_that_of_its_result():
    program = read(TEXT)
    both = program.bodies["main"][1]
    # the innermost of several scopes
    assert number_of(both, program) == 2
    assert number_of(program.bodies["main"][4], program) is None


def test_nothing_is_read_from_other_text():
    assert read("").bodies == {}
    assert read("%x = f32[] add(%a, %b)").bodies == {}
