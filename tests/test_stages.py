"""What the stages of compilation say of themselves."""

import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import stages


@pb.jit
def f(x, *, y):
    return {"sum": pnp.sin(x) + y}


X = pnp.ones((2, 3))


def test_the_classes():
    traced = f.trace(X, y=1.0)
    assert isinstance(traced, stages.Traced)
    assert isinstance(traced.lower(), stages.Lowered)
    assert isinstance(traced.lower().compile(), stages.Compiled)


def test_arguments_and_results():
    traced = f.trace(X, y=1.0)
    for stage in (traced, traced.lower(), traced.lower().compile()):
        (x,), keywords = stage.args_info
        assert (x.shape, x.dtype, x.donated) == ((2, 3), "float32", False)
        assert set(keywords) == {"y"}
        assert stage.in_avals[0][0] == X.aval
        assert stage.in_tree == pb.tree.structure(((0,), {"y": 0}))
        assert stage.out_tree == pb.tree.structure({"sum": 0})
        assert stage.out_info == {"sum": pb.ShapeDtypeStruct((2, 3), "float32")}
        assert stage.donate_argnums == ()
    assert traced.out_avals == [X.aval]


def test_donated_arguments():
    donating = pb.jit(lambda x, y: x + y, donate_argnums=1).trace(X, X)
    assert donating.donate_argnums == donating.lower().donate_argnums == (1,)
    assert [info.donated for info in donating.args_info[0]] == [False, True]


def test_the_module():
    lowered = f.lower(X, y=1.0)
    assert "stablehlo.sine" in lowered.as_text()
    assert "stablehlo.sine" in str(lowered.compiler_ir())
    assert "stablehlo.sine" in lowered.as_text(dialect="stablehlo")
    assert "sine(" in lowered.compiler_ir(dialect="hlo").as_hlo_text()
    assert "sine(" in lowered.as_text(dialect="hlo")
    assert lowered.cost_analysis()["flops"] > 0
    with pytest.raises(ValueError, match="compiler_ir: dialect must be 'stablehlo' or 'hlo', got 'tosa'"):
        lowered.compiler_ir("tosa")


def test_the_program():
    compiled = f.lower(X, y=1.0).compile(compiler_options={"xla_cpu_enable_fast_math": False}, device_assignment=None)
    assert compiled(X, y=1.0)["sum"].shape == (2, 3)
    assert compiled.runtime_executable() is compiled.program.loaded
    assert compiled.input_shardings[0] == (X.sharding,)
    assert compiled.output_shardings == {"sum": X.sharding}
    with pytest.raises(ValueError, match="compile: device_assignment"):
        f.lower(X, y=1.0).compile(device_assignment=("gpu",))
    with pytest.raises(ValueError, match="lower: lowering_platforms: expected one of 'cpu', 'cuda'"):
        f.trace(X, y=1.0).lower(lowering_platforms=("tpu",))
