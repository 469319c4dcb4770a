"""Calls to Python as programs make them: types at the border, order, errors, memory that is the function's own."""

import ml_dtypes
import numpy as np
import pytest
from emitted import aval_of, jaxpr_of, program_of, run_emitted

from pullback._core import dtypes
from pullback._core.array import lift
from pullback._xla import host_calls
from pullback._xla.executable import compile_jaxpr
from pullback._xla.host_calls import emit_host_call

F32 = aval_of((), np.float32)
I32 = aval_of((), np.int32)


def calling(function, out_avals, effectful=False):
    def emit(ctx, *operands):
        return emit_host_call(ctx, function, operands, out_avals, effectful)

    return emit


@pytest.mark.parametrize(
    "dtype",
    [
        bool,
        np.int8,
        np.uint64,
        np.float32,
        np.float64,
        np.complex64,
        ml_dtypes.bfloat16,
        ml_dtypes.float8_e5m2,
        ml_dtypes.int4,
    ],
)
def test_functions_see_and_return_the_dtypes_of_the_program(dtype):
    value = np.array([[0, 1, 2], [3, 2, 1]]).astype(dtype)
    aval = aval_of(value.shape, dtype)
    seen = []

    def reverse(x):
        seen.append(x)
        return [x[::-1]]

    (out,) = run_emitted(calling(reverse, [aval]), [aval], value)
    assert (seen[0].dtype, seen[0].shape) == (value.dtype, value.shape)
    assert out.tobytes() == value[::-1].tobytes()


def test_a_float0_arrives_and_returns():
    aval = aval_of((2,), dtypes.float0)

    def same(x):
        assert (x.dtype, x.shape) == (dtypes.float0, (2,))
        return [x]

    (out,) = run_emitted(calling(same, [aval]), [aval], np.zeros((2,), dtypes.float0))
    assert (out.dtype, out.shape) == (dtypes.float0, (2,))


def test_what_a_function_gets_is_its_own_and_not_written_to():
    kept = []

    def keep(x):
        kept.append(x)
        return [x + 1]

    program = program_of(calling(keep, [F32]), [F32], [F32])
    for value in (1, 2, 3):
        (out,) = program.run([lift(np.float32(value))])
        assert float(out) == value + 1
    assert [float(x) for x in kept] == [1, 2, 3]
    assert not any(x.flags.writeable for x in kept)


def test_several_operands_and_results():
    pair, number = aval_of((2,), np.float32), aval_of((), np.int32)

    def sum_and_count(x, y):
        return [x + y, np.asarray(x.size, np.int32)]

    total, count = run_emitted(
        calling(sum_and_count, [pair, number]),
        [pair, number],
        np.array([1, 2], np.float32),
        np.array([10, 20], np.float32),
    )
    assert total.tolist() == [11, 22]
    assert count == 2


def test_results_need_not_lie_row_by_row():
    matrix = aval_of((2, 3), np.float32)
    value = np.arange(6, dtype=np.float32).reshape(2, 3)

    def in_columns(x):
        return [np.asfortranarray(x)]

    (out,) = run_emitted(calling(in_columns, [matrix]), [matrix], value)
    assert out.tolist() == value.tolist()


class Unwell(Exception):
    pass


def test_an_exception_is_raised_where_the_program_was_started():
    def fail(x):
        raise Unwell(f"at {float(x)}")

    program = program_of(calling(fail, [F32]), [F32], [F32])
    for value in (1.5, 2.5):
        with pytest.raises(Unwell, match=f"^at {value}$") as caught:
            program.run([lift(np.float32(value))])
        assert caught.traceback[-1].name == "fail"
    assert not host_calls._failures


def test_a_program_goes_on_working_after_an_exception():
    def positive(x):
        if x < 0:
            raise Unwell("negative")
        return [np.sqrt(x)]

    program = program_of(calling(positive, [F32]), [F32], [F32])
    with pytest.raises(Unwell):
        program.run([lift(np.float32(-1))])
    (out,) = program.run([lift(np.float32(4))])
    assert float(out) == 2


def test_failures_that_nobody_asks_for_do_not_pile_up():
    def fail():
        raise Unwell

    entry = host_calls._entry(fail, [], [], False)
    for _ in range(2 * host_calls._FAILURES_LIMIT):
        with pytest.raises(host_calls._Stop, match=r"pullback host call failure <\d+>"):
            entry()
    assert len(host_calls._failures) == host_calls._FAILURES_LIMIT
    assert host_calls._failure_in("some error of the engine") is None
    last = next(reversed(host_calls._failures))
    assert type(host_calls._failure_in(f"INTERNAL: pullback host call failure <{last}> in thread 7")) is Unwell
    assert host_calls._failure_in(f"pullback host call failure <{last}>") is None
    host_calls._failures.clear()


# --- order ---


def test_calls_with_effects_keep_their_order_through_loops_and_branches():
    seen = []

    def note(x):
        seen.append(int(x))
        return []

    def say(block, x):
        emit_host_call(block, note, [x], [], True)

    def below_three(block, state):
        return [block.compare("LT", state[0], block.constant(3, I32))]

    def say_and_step(block, state):
        say(block, state[0])
        return [block.op("stablehlo.add", [state[0], block.constant(1, I32)])]

    def emit(ctx, first):
        say(ctx, ctx.constant(100, I32))
        (last,) = ctx.loop([first], below_three, say_and_step)

        def quiet(block):
            return [last]

        def loud(block):
            say(block, block.constant(200, I32))
            return [last]

        (out,) = ctx.choose(block_of_one(ctx), [I32], [quiet, loud])
        say(ctx, ctx.constant(300, I32))
        return [out]

    def block_of_one(ctx):
        return ctx.constant(1, I32)

    for _ in range(2):
        (out,) = run_emitted(emit, [I32], np.int32(0), effectful=True)
        assert out == 3
        assert seen == [100, 0, 1, 2, 200, 300]
        seen.clear()


def test_a_branch_without_results_still_acts():
    seen = []

    def note():
        seen.append("called")
        return []

    def loud(block):
        emit_host_call(block, note, [], [], True)
        return []

    def quiet(block):
        return []

    def emit(ctx, index):
        return ctx.choose(index, [], [quiet, loud])

    program = program_of(emit, [], [I32], effectful=True)
    program.run([lift(np.int32(0))])
    assert seen == []
    program.run([lift(np.int32(1))])
    assert seen == ["called"]


def test_a_call_without_effects_whose_result_nobody_reads_may_be_left_out_but_one_with_effects_not():
    seen = []

    def note(x):
        seen.append(float(x))
        return [x]

    def unread(effectful):
        def emit(ctx, x):
            emit_host_call(ctx, note, [x], [F32], effectful)
            return [x]

        return emit

    run_emitted(unread(True), [F32], np.float32(1), effectful=True)
    assert seen == [1]


# --- programs ---


def test_programs_with_calls_are_not_found_by_their_text():
    """Their text is the same, their functions are not."""
    jaxprs = [jaxpr_of(calling(lambda x, k=k: [x * np.float32(k)], [F32]), [F32], [F32]) for k in (2, 3)]
    first, second = map(compile_jaxpr, jaxprs)
    assert first.module.text() == second.module.text()
    assert first.key is second.key is None
    three = lift(np.float32(3))
    assert [float(program.run([three])[0]) for program in (first, second)] == [6, 9]
