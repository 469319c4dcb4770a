"""Programs as they are compiled and run: constants, donation, options, the same program for the same text."""

import numpy as np
import pytest
from emitted import aval_of, jaxpr_of

import pullback as pb
import pullback.numpy as pnp
from pullback._core.array import lift
from pullback._xla.executable import QUICK, compile_jaxpr, executable_of
from pullback.debug import counters

VECTOR = aval_of((3,), np.float32)
X = lift(np.arange(3, dtype=np.float32))


def added(number):
    def emit(ctx, x):
        return [ctx.op("stablehlo.add", [x, ctx.full_like(x, number)])]

    return jaxpr_of(emit, [VECTOR], [VECTOR])


def test_the_same_text_is_one_program():
    with counters() as seen:
        first, second = compile_jaxpr(added(0.1875)), compile_jaxpr(added(0.1875))
    assert seen["compiles"] == 1
    assert first is second
    assert first.run([X])[0].tolist() == [0.1875, 1.1875, 2.1875]


def test_other_options_make_another_program():
    with counters() as seen:
        first, quick = compile_jaxpr(added(0.3125)), compile_jaxpr(added(0.3125), options=QUICK)
    assert seen["compiles"] == 2
    assert first is not quick
    assert first.run([X])[0].tolist() == quick.run([X])[0].tolist()


def test_an_option_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"^jit: compiler_options: .*xla_such_an_option"):
        compile_jaxpr(added(0.4375), options=[("xla_such_an_option", 1)])


def test_a_program_stays_with_its_jaxpr():
    jaxpr = added(0.5625)
    assert executable_of(jaxpr) is executable_of(jaxpr)


def test_results_of_one_text_have_the_types_that_were_asked_for():
    weak = VECTOR.update(weak_type=True)

    def emit(ctx, x):
        return [ctx.op("stablehlo.negate", [x])]

    strong_program, weak_program = (compile_jaxpr(jaxpr_of(emit, [aval], [VECTOR])) for aval in (VECTOR, weak))
    assert strong_program.loaded is weak_program.loaded
    assert [program.run([X])[0].weak_type for program in (strong_program, weak_program)] == [False, True]


def test_constants_come_first():
    table = pnp.array([1.0, 10.0, 100.0])

    def scaled(x):
        return table * x

    closed = pb.make_jaxpr(scaled)(X)
    (out,) = compile_jaxpr(closed.jaxpr).run([*closed.consts, lift(np.full(3, 2, np.float32))])
    assert out.tolist() == [2, 20, 200]


def test_a_donated_array_is_deleted():
    given = lift(np.ones(3, np.float32))
    compile_jaxpr(added(0.6875), frozenset({0})).run([given])
    assert given.is_deleted()
    with pytest.raises(RuntimeError, match="has been deleted"):
        given.tolist()


def test_results_stay_on_the_device_until_they_are_read():
    (out,) = compile_jaxpr(added(0.8125)).run([X])
    assert out.buffer is not None
    assert not hasattr(out, "_value")
    assert out.tolist() == [0.8125, 1.8125, 2.8125]


def test_a_program_without_operands_or_results():
    def constant(ctx):
        return [ctx.constant(7, VECTOR)]

    def nothing(ctx, x):
        return []

    (out,) = compile_jaxpr(jaxpr_of(constant, [VECTOR], [])).run([])
    assert out.tolist() == [7, 7, 7]
    assert compile_jaxpr(jaxpr_of(nothing, [], [VECTOR])).run([X]) == []
