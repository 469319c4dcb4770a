"""Compiled programs are freed with their functions, or when they take more than the option allows; used ones stay."""

import gc
import weakref

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._xla import executable
from pullback._xla.programs import Programs, size_of
from pullback.debug import counters
from pullback.implicit import odeint

X = pnp.arange(3.0)


@pytest.fixture
def bound():
    """Sets the option, for one test, beginning with nothing kept."""
    before = pb.config.program_cache_max_size
    executable.lasting.clear()
    executable.recent.clear()
    yield lambda size: pb.config.update("program_cache_max_size", size)
    pb.config.update("program_cache_max_size", before)


def alive():
    gc.collect()
    return len(executable._alive)


def test_the_first_go_and_the_used_stay(bound):
    bound(100)
    programs = Programs()
    for key in "abcd":
        programs.keep(key, key.upper(), 25)
    assert programs.get("a") == "A"
    programs.keep("e", "E", 30)
    assert [programs.get(key) for key in "abcde"] == ["A", None, None, "D", "E"]
    assert programs.size == 80
    programs.keep("d", "again", 5)
    assert (programs.get("d"), programs.size, len(programs)) == ("again", 60, 3)
    programs.keep("big", 0, 101)
    assert (programs.get("big"), programs.size, len(programs)) == (None, 0, 0)


def test_a_number_of_programs():
    programs = Programs(most=3)
    for i in range(10):
        programs.keep(i, str(i), 30)
    assert [i for i in range(10) if programs.get(i)] == [7, 8, 9]
    assert programs.size == 90


def compiled_multiple(k):
    """A program of its own for each number."""
    return pb.jit(lambda x: pnp.sin(x) * k)


def test_programs_are_freed_with_their_function(bound):
    bound(0)
    before = alive()
    compiled = [compiled_multiple(k) for k in np.linspace(0.1, 0.9, 5).tolist()]
    for f in compiled:
        f(X)
    assert alive() == before + 5
    with counters() as seen:
        for f in compiled:
            f(X)
    assert seen["compiles"] == 0
    del compiled, f
    assert alive() == before


def test_the_last_ones_are_kept(bound):
    before = alive()
    for k in range(40):
        compiled_multiple(k + 0.125)(X)
    assert alive() - before == executable.recent._most == 32
    executable.recent.clear()
    bound(10 * size_of(""))
    for k in range(20, 40):
        compiled_multiple(k + 0.125)(X)
    assert 5 <= alive() - before <= 10
    with counters() as seen:
        compiled_multiple(39.125)(X)
    assert seen["compiles"] == 0


def test_functions_of_one_text_share_a_program_as_long_as_one_lives(bound):
    bound(0)
    first, second = (pb.jit(lambda x: pnp.cos(x) * 0.375) for _ in range(2))
    with counters() as seen:
        first(X)
        second(X)
    assert seen["compiles"] == 1
    np.testing.assert_allclose(first(X), second(X))


def test_operations_without_a_kernel_are_bounded(bound):
    bound(8 * (size_of("") + 200_000))
    before = alive()
    for n in range(4, 24):
        x = pnp.ones((1, 1, n))
        lax.conv(x, x[:, :, :2], (1,), "VALID")
    assert 2 <= alive() - before <= 16
    with counters() as seen:
        lax.conv(x, x[:, :, :2], (1,), "VALID")
    assert seen["compiles"] == 0


def test_eager_loops_compile_once_and_are_bounded(bound):
    def loop(k):
        return lax.fori_loop(0, 6000, lambda i, x: x + k * 0.5, 0.0)

    def run(k):
        with counters() as seen:
            assert float(loop(k)) == 3000 * k
        return seen["compiles"]

    assert [run(k) for k in (1.0, 1.0, 2.0, 1.0, 2.0)] == [1, 0, 1, 0, 0]
    bound(0)
    executable.lasting.clear()
    executable.recent.clear()
    before = alive()
    assert [run(k) for k in (3.0, 3.0, 4.0)] == [1, 1, 1]
    assert alive() == before


def test_an_eager_solver_is_compiled_again_when_it_was_let_go(bound):
    def solution(k):
        return odeint(lambda y, t, k: -k * y, 1.0, np.array([0.0, 1.0]), k)[-1]

    for k in (0.1, 0.2, 0.3):
        np.testing.assert_allclose(solution(k), np.exp(-k), rtol=1e-5)
    with counters() as seen:
        solution(0.4)
    assert seen["compiles"] == 0
    executable.lasting.clear()
    executable.recent.clear()
    gc.collect()
    with counters() as seen:
        np.testing.assert_allclose(solution(0.5), np.exp(-0.5), rtol=1e-5)
    assert seen["compiles"] == 1


def test_weak_and_strong_results_of_one_text(bound):
    f = pb.jit(lambda x: x * 2 + 0.625)
    with counters() as seen:
        weak, strong = f(1.0), f(np.float32(1))
    assert seen["compiles"] == 1
    assert (weak.weak_type, strong.weak_type) == (True, False)


def test_a_program_that_is_let_go_while_held_still_runs(bound):
    f = pb.jit(lambda x: x - 0.6875)
    expected = f(X).tolist()
    program = weakref.ref(next(iter(executable.recent._kept.values()))[0])
    executable.recent.clear()
    gc.collect()
    assert program() is not None
    assert f(X).tolist() == expected
    del f
    gc.collect()
    assert program() is None
