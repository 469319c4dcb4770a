"""The report of what first calls took, and of why functions are traced again."""

import functools
import logging

import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback.debug import compile_report


@functools.partial(pb.jit, static_argnums=2, static_argnames="n")
def scaled(params, x, power, n=2):
    return params["w"] ** power * x * n


def reasons(*calls):
    """Why each of these calls is traced, "" for those that are not."""
    found = []
    scaled.clear_cache()
    for args, kwargs in calls:
        with compile_report() as report:
            scaled(*args, **kwargs)
        found.append("".join(program.reason for program in report.programs))
    return found


def call(w=3, x=2.0, power=2, **kwargs):
    return ({"w": pnp.ones(w)}, x, power), kwargs


def test_another_shape_names_the_leaf_by_path():
    assert reasons(call(), call(), call(w=4))[1:] == ["", "argument 'params'['w']: f32[4], before f32[3]"]


def test_another_dtype():
    assert reasons(call(), call(x=pnp.int32(1)))[1] == "argument 'x': i32[], before f32[]"


def test_a_python_number_after_an_array():
    number = "f32[] of a Python number (weak type)"
    assert reasons(call(), call(x=pnp.float32(1)))[1] == f"argument 'x': f32[], before {number}"
    assert reasons(call(x=pnp.float32(1)), call())[1] == f"argument 'x': {number}, before f32[]"


def test_another_static_argument():
    assert reasons(call(), call(power=3))[1] == "static argument 'power': 3 of type int, before 2 of type int"
    assert reasons(call(n=1), call(n=5))[1] == "static argument 'n': 5 of type int, before 1 of type int"
    assert reasons(call(), call(n=5))[1] == "static argument 'n': 5 of type int, before not given"


def test_another_structure():
    first, second = reasons(call(), (({"w": pnp.ones(3), "b": 1.0}, 2.0, 2), {}))
    assert first.startswith("the first call")
    assert second.startswith("another structure of the arguments: ")
    assert "'b'" in second


def test_another_option():
    scaled.clear_cache()
    args, _ = call(x=pnp.float32(1))
    scaled(*args)
    with pb.enable_x64(), compile_report() as report:
        scaled(*args)
    assert report.programs[0].reason == "other options: enable_x64=True, before False"


def test_the_nearest_of_several_calls_is_compared():
    calls = call(w=5, x=pnp.int32(1)), call(w=3), call(w=4, power=3), call(w=4)
    assert reasons(*calls)[-1] == "static argument 'power': 2 of type int, before 3 of type int"


def test_a_function_that_is_made_anew():
    with compile_report() as report:
        for _ in range(3):
            pb.jit(lambda x: x + 1.21875)(1.0)
    first, second, third = (program.reason for program in report.programs)
    assert first == "the first call"
    assert "another function object of the same code" in second
    assert "2 other function objects" in third
    assert [program.origin for program in report.programs] == ["compiled", "process", "process"]


def test_stages_are_measured():
    with compile_report() as report:
        scaled.clear_cache()
        scaled(*call(w=6)[0])
    (program,) = report.programs
    assert program.name == "scaled"
    stages = (program.trace, program.lower, program.compile, program.first_run)
    assert all(seconds > 0 for seconds in stages)
    assert program.seconds == pytest.approx(sum(stages))
    assert report.seconds == program.seconds


def test_ahead_of_time():
    scaled.clear_cache()
    with compile_report() as report:
        scaled.lower(*call(w=7)[0])
    (program,) = report.programs
    assert program.trace > 0
    assert program.compile is None


def test_eager_operations_that_are_compiled():
    with compile_report() as report:
        pb.lax.conv_general_dilated(pnp.ones((1, 1, 9)), pnp.ones((1, 1, 3)), (1,), "SAME")
    assert all(program.name.startswith("eager ") and program.trace is None for program in report.programs)


def test_nested_contexts_and_after_the_end():
    with compile_report() as outer:
        with compile_report() as inner:
            pb.jit(lambda x: x - 2.21875)(1.0)
        pb.jit(lambda x: x - 3.21875)(1.0)
    pb.jit(lambda x: x - 4.21875)(1.0)
    assert (len(outer), len(inner)) == (2, 1)


def test_text():
    with compile_report() as report:
        pass
    assert str(report) == "nothing was traced or compiled"
    with compile_report() as report:
        scaled.clear_cache()
        scaled(*call(w=8)[0])
    head, row, foot = str(report).splitlines()
    assert head.split("  ")[-1] == "traced because of"
    assert row.startswith("scaled")
    assert "the first call" in row
    assert foot.startswith("1 programs")
    assert repr(report).startswith("<CompileReport of 1 programs")


@pytest.mark.parametrize(
    ("option", "expected"),
    [("log_compiles", "compile of scaled took"), ("jax_explain_cache_misses", "tracing scaled: the first call")],
)
def test_the_log(option, expected, caplog):
    pb.config.update(option, True)
    try:
        with caplog.at_level(logging.WARNING, "pullback"):
            scaled.clear_cache()
            scaled(*call(w=9)[0])
    finally:
        pb.config.update(option, False)
    assert expected in caplog.text


def test_a_warm_call_reports_nothing():
    scaled(*call()[0])
    with compile_report() as report:
        scaled(*call()[0])
    assert len(report) == 0
