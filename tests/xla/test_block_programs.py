"""Programs of one operation on blocks of one size, which serve arrays of every size."""

import threading

import numpy as np
import pytest

import pullback as pb
from pullback._core.primitive import Primitive
from pullback._ops.elementwise import exp_p
from pullback._xla import engine
from pullback._xla.background import Job
from pullback._xla.block_programs import BLOCK, BlockProgram, program_if_worth
from pullback._xla.executable import lasting

F32 = np.dtype(np.float32)


def elementwise(name, lower):
    p = Primitive(name)
    p.abstract_eval = lambda x: x
    p.lower = lower
    return p


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 2 * BLOCK + 7])
def test_every_element_of_an_array_of_any_size(size, dtype):
    program = BlockProgram(elementwise("opposite", lambda ctx, x: ctx.op("stablehlo.negate", [x])), np.dtype(dtype))
    x = np.arange(1, size + 1, dtype=dtype)
    out = np.zeros_like(x)
    for start in range(0, size, BLOCK):
        program.run(x, out, start)
    np.testing.assert_array_equal(out, -x)


def test_operands_that_are_not_aligned_and_results_are_copies():
    program = BlockProgram(exp_p, F32)
    x, out = np.linspace(-1, 1, BLOCK + 1, dtype=F32)[1:], np.zeros(BLOCK, F32)
    program.run(x, out, 0)
    first = out.copy()
    np.testing.assert_allclose(first, np.exp(x), rtol=1e-6)
    program.run(np.zeros(BLOCK, F32), np.zeros(BLOCK, F32), 0)
    np.testing.assert_array_equal(out, first)


def test_several_threads_run_one_program():
    program = BlockProgram(exp_p, F32)
    x = np.linspace(-1, 1, 8 * BLOCK, dtype=F32)
    outs = [np.zeros_like(x) for _ in range(4)]

    def compute(out):
        for start in range(0, x.size, BLOCK):
            program.run(x, out, start)

    threads = [threading.Thread(target=compute, args=(out,)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for out in outs:
        np.testing.assert_allclose(out, np.exp(x), rtol=1e-6)


def job_of(p):
    return lasting.get(("blocks of", p, F32))


def test_a_program_is_compiled_behind_when_it_is_worth_it():
    p = elementwise("opposite", lambda ctx, x: ctx.op("stablehlo.negate", [x]))
    assert [program_if_worth(p, F32, 0.4) for _ in range(4)] == [None] * 4
    job = job_of(p)
    assert job.wait(60)
    program = program_if_worth(p, F32, 0.0)
    assert type(program) is BlockProgram
    assert program_if_worth(p, F32, 0.0) is program
    pb.clear_caches()
    assert program_if_worth(p, F32, 0.4) is None


def test_a_program_that_fails_leaves_the_kernel_at_work():
    def lower(ctx, x):
        raise RuntimeError("no program of this")

    p = elementwise("failing", lower)
    assert program_if_worth(p, F32, 1.0) is None
    assert program_if_worth(p, F32, 1.0) is None
    assert job_of(p).wait(60)
    assert program_if_worth(p, F32, 1.0) is None
    assert "no program of this" in str(job_of(p).error)


def test_after_a_fork_there_is_no_program(monkeypatch):
    p = elementwise("forked", lambda ctx, x: ctx.op("stablehlo.negate", [x]))
    lost = Job("a job of the parent's", lambda: None)
    lost.lost = True
    lasting.keep(("blocks of", p, F32), lost, 200)
    assert program_if_worth(p, F32, 0.0) is None
    assert job_of(p).wait(60)
    assert type(program_if_worth(p, F32, 0.0)) is BlockProgram  # a job of the child's own
    monkeypatch.setattr(engine, "_left_behind", True)
    assert program_if_worth(p, F32, 0.0) is None
