"""Tiers: the NumPy kernels answer calls until the program is compiled in the background."""

import functools
import gc
import logging
import os
import subprocess
import sys
import threading
import weakref
from typing import NamedTuple

import numpy as np
import pytest
from quantised import dequantise, quantise

import pullback as pb
import pullback.numpy as pnp
from pullback import lax
from pullback._api import jit as jit_module
from pullback._api import tiers
from pullback._core.config import _from_environment
from pullback._xla.background import Background
from pullback.debug import compile_report, counters

X = np.linspace(0.5, 2.0, 4, dtype=np.float32)
tiered = functools.partial(pb.jit, tiered=True)


def close(got, expected, tolerance=2e-6):
    """The values up to rounding errors: kernels and programs may round differently."""
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=tolerance, atol=tolerance)


class Gate:
    """Compilations in the background: their names in the order in which they began, and when they may go on."""

    def __init__(self):
        self.names = []
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.error = None

    def passes(self, name):
        self.names.append(name)
        self.begun.release()
        assert self.open.wait(60)
        if self.error is not None:
            raise self.error


@pytest.fixture
def gate(monkeypatch):
    """One thread in the background, which compiles nothing before the gate opens."""
    gate, compile_now = Gate(), jit_module.Traced.compile

    def compile_behind(self):
        if threading.current_thread().name == "pullback-compiler":
            gate.passes(self.name)
        return compile_now(self)

    monkeypatch.setattr(jit_module.Traced, "compile", compile_behind)
    monkeypatch.setattr(tiers, "background", Background(1))
    yield gate
    gate.open.set()


def answered(call):
    """The result of a call, and how many times the kernels and programs of tiered functions answered in it."""
    with counters() as seen:
        result = call()
    return result, seen["interpreted_calls"], seen["compiled_calls"]


def finish(gate, *functions):
    gate.open.set()
    for f in functions:
        f.wait(60)


class Pair(NamedTuple):
    first: object
    second: object


def mixed(tree, scale, *, shift=1.0):
    """Results of several types, some weak, in a pytree."""
    rows = pnp.sin(tree["x"]) * scale + shift
    return Pair({"rows": rows, "sum": rows.sum()}, [2.0 * scale, pnp.argmax(rows), rows > 1, rows.astype("bfloat16")])


# --- which tier answers


def test_the_kernels_answer_until_the_program_is_there(gate):
    f = tiered(mixed)
    arguments = {"x": X}, 3.0
    first, *counts = answered(lambda: f(*arguments))
    assert counts == [1, 0]
    assert answered(lambda: f(*arguments))[1:] == (1, 0)
    finish(gate, f)
    last, *counts = answered(lambda: f(*arguments))
    assert counts == [0, 1]
    assert pb.tree_util.tree_structure(first) == pb.tree_util.tree_structure(last)
    for a, b in zip(pb.tree_util.tree_leaves(first), pb.tree_util.tree_leaves(last), strict=True):
        assert a.aval is b.aval
        close(np.asarray(a, np.float32), np.asarray(b, np.float32))
    assert gate.names == ["mixed"]


def test_a_warm_call_knows_no_tiers(gate, monkeypatch):
    f = tiered(lambda x: x + 1)
    f(X)
    finish(gate, f)
    f(X)
    monkeypatch.setattr(tiers.Tiers, "current", None)
    assert np.array_equal(f(X), X + 1)


def test_every_call_is_counted_while_somebody_counts(gate):
    f = tiered(lambda x: x + 1)
    f(X)
    finish(gate, f)
    for _ in range(3):
        f(X)
    assert answered(lambda: [f(X), f(X)])[1:] == (0, 2)
    assert answered(lambda: f(X))[1:] == (0, 1)


def test_the_report_says_who_answered_and_when_the_program_took_over(gate):
    def rooted(x):
        return pnp.sqrt(x)

    f = tiered(rooted)
    with compile_report() as report:
        f(X)
        f(X)
        (program,) = report.programs
        assert (program.interpreted, program.switched, program.compile) == (2, None, None)
        assert "2 calls" in str(report)
        assert "until" not in str(report)
        finish(gate, f)
        f(X)
    assert program.interpreted == 2
    assert program.switched >= program.compile > 0
    assert program.first_run > 0
    assert "2 calls, until " in str(report)


def test_the_log_says_when_the_program_took_over(gate, caplog):
    f = tiered(lambda x: x * 5)
    with pb.log_compiles(True):
        f(X)
    with caplog.at_level(logging.WARNING, "pullback"):
        finish(gate, f)
    assert any("calls of the NumPy kernels" in record.getMessage() for record in caplog.records)


def test_the_option_and_its_environment_variable(gate):
    assert _from_environment("jit_tiered", {"PULLBACK_JIT_TIERED": "1"}) is True
    pb.config.update("jit_tiered", True)
    try:
        f, never = pb.jit(lambda x: x * 2), pb.jit(lambda x: x * 3, tiered=False)
        assert answered(lambda: f(X))[1:] == (1, 0)
        assert answered(lambda: never(X))[1:] == (0, 0)
        finish(gate, f)
    finally:
        pb.config.update("jit_tiered", False)
    g = pb.jit(lambda x: x * 4)
    assert answered(lambda: g(X))[1:] == (0, 0)
    assert gate.names == ["<lambda>"]


def test_a_call_waits_once_the_option_is_off(gate):
    f = pb.jit(lambda x: x * 2)
    pb.config.update("jit_tiered", True)
    try:
        assert answered(lambda: f(X))[1:] == (1, 0)
    finally:
        pb.config.update("jit_tiered", False)
    gate.open.set()
    assert answered(lambda: f(X))[1:] == (0, 1)


def test_what_tiered_may_be():
    with pytest.raises(TypeError, match=r"jit: tiered must be True, False or None .* got 1 of type int"):
        pb.jit(lambda x: x, tiered=1)


@pytest.mark.parametrize("settings", [{"static_argnums": 1}, {"static_argnames": "n"}])
def test_static_and_keyword_arguments(gate, settings):
    def power(x, n, *, y=0.0):
        return x**n + y

    f = tiered(power, **settings)
    for n in (2, 3):
        assert answered(lambda n=n: f(X, n) if "static_argnums" in settings else f(X, n=n))[1:] == (1, 0)
    out, *counts = answered(lambda: f(X, 2, y=X))
    close(out, X**2 + X)
    assert counts == [1, 0]
    finish(gate, f)
    assert answered(lambda: f(X, 2, y=X))[1:] == (0, 1)
    assert len(gate.names) == 3


def test_values_of_own_types(gate):
    f = tiered(lambda q, x: (quantise(dequantise(q) * x), dequantise(q)))
    q = quantise(pnp.asarray(np.outer(X, X)))
    (first, plain), *counts = answered(lambda: f(q, 2.0))
    assert counts == [1, 0]
    finish(gate, f)
    (last, other), *counts = answered(lambda: f(q, 2.0))
    assert counts == [0, 1]
    assert type(first) is type(last)
    assert pb.typeof(first) == pb.typeof(last)
    assert np.array_equal(first.numbers, last.numbers)
    close(plain, other)


def test_options_of_the_calling_thread_are_those_of_the_compiler(gate):
    f = tiered(lambda x: pnp.sin(x) * 2)
    with pb.enable_x64():
        x = pnp.asarray(X.astype(np.float64))
        first = f(x)
        finish(gate, f)
        last, *counts = answered(lambda: f(x))
    assert counts == [0, 1]
    assert first.dtype == last.dtype == np.float64
    close(first, np.sin(X.astype(np.float64)) * 2, 1e-14)
    close(last, first, 1e-14)


# --- side effects


def test_effects_happen_once_in_each_call(gate):
    seen, traced = [], []

    def noted(x):
        traced.append(1)
        pb.debug.callback(lambda v: seen.append(float(v)), x.sum())
        return pb.experimental.io_callback(lambda v: np.float32(v + len(seen)), np.float32(0), x[0], ordered=True)

    f = tiered(noted)
    total = float(X.sum())
    for calls in range(1, 4):
        assert float(f(X)) == X[0] + calls
        assert seen == [total] * calls
    finish(gate, f)
    assert float(f(X)) == X[0] + 4
    assert seen == [total] * 4
    assert traced == [1]


def test_an_evaluation_that_has_had_an_effect_is_not_given_up(gate):
    seen = []

    def overtaken(v):
        finish(gate, f)
        return v

    def noted(x):
        pb.debug.callback(lambda v: seen.append(1), x)
        y = pb.pure_callback(overtaken, x, x) * 2
        return y + 1

    f = tiered(noted)
    out, *counts = answered(lambda: f(pnp.asarray(X)))
    close(out, X * 2 + 1)
    assert (seen, counts) == ([1], [1, 0])


def test_an_evaluation_without_effects_is_given_up_when_the_program_is_there(gate):
    seen = []

    def overtaken(v):
        finish(gate, f)
        return v

    def noted(x):
        y = pb.pure_callback(overtaken, x, x) * 2
        pb.debug.callback(lambda v: seen.append(1), y)
        return y + 1

    f = tiered(noted)
    out, *counts = answered(lambda: f(pnp.asarray(X)))
    close(out, X * 2 + 1)
    assert (seen, counts) == ([1], [0, 1])


def test_an_error_of_a_callback_is_that_of_the_call_in_both_tiers(gate):
    def refuse(v):
        raise ZeroDivisionError("by the callback")

    f = tiered(lambda x: pb.pure_callback(refuse, x, x))
    with pytest.raises(ZeroDivisionError, match="by the callback"):
        f(X)
    finish(gate, f)
    with pytest.raises(ZeroDivisionError, match="by the callback"):
        f(X)


def test_references(gate):
    total = pb.new_ref(pnp.zeros(4))

    def added(ref, x):
        total[...] = total[...] + x
        ref[0] += x[0]
        return total[...]

    f = tiered(added)
    first = pb.new_ref(pnp.zeros(2))
    out, *counts = answered(lambda: f(first, X))
    assert counts == [1, 0]
    total[0] = 100.0  # into the memory of the reference, which it shares with nobody
    assert np.array_equal(out, X)
    finish(gate, f)
    out, *counts = answered(lambda: f(first, X))
    assert counts == [0, 1]
    close(out, [100 + X[0], *(2 * X[1:])])
    close(first[...], [2 * X[0], 0])


def test_references_that_several_threads_update(gate):
    total = pb.new_ref(pnp.int32(0))

    def count():
        total[...] += 1

    f = tiered(count)
    f()

    def work():
        for _ in range(50):
            f()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    gate.open.set()
    for t in threads:
        t.join()
    f.wait(60)
    assert int(total[...]) == 201


# --- donation and errors


def test_donated_arguments_are_deleted_in_both_tiers(gate):
    f = tiered(lambda x, y: (x, x * 2 + y), donate_argnums=0)
    for state in ("kernels", "program"):
        x, y = pnp.asarray(X) + 0, pnp.asarray(X)
        (same, out), *counts = answered(lambda x=x, y=y: f(x, y))
        assert counts == ([1, 0] if state == "kernels" else [0, 1])
        assert (x.is_deleted(), y.is_deleted()) == (True, False)
        assert np.array_equal(same, X)
        close(out, 3 * X)
        with pytest.raises(RuntimeError, match="deleted"):
            f(x, y)
        with pytest.raises(ValueError, match=r"jit of <lambda>: an array of type f32\[4\] is donated and passed"):
            f(y, y)
        finish(gate, f)


def test_results_are_objects_of_their_own(gate):
    constant = pnp.asarray(X)
    f = tiered(lambda x: (x, x, constant, constant.reshape(2, 2)))
    x = pnp.asarray(X)
    outs = f(x)
    assert len({id(out) for out in (*outs, x, constant)}) == 6
    pb.jit(lambda *xs: [x + 1 for x in xs], donate_argnums=(0, 1, 2, 3))(*outs)
    assert np.array_equal(x, X)
    assert np.array_equal(constant, X)
    finish(gate, f)
    assert np.array_equal(f(x)[3], X.reshape(2, 2))


def test_a_deleted_argument_that_is_not_read(gate):
    f = tiered(lambda x, y: y)
    x = pnp.asarray(X) + 0
    x.delete()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="deleted"):
            f(x, X)
        f(X, X)
        finish(gate, f)


def test_an_error_of_the_compiler_reaches_the_next_call(gate, caplog):
    def doomed(x):
        return x + 1

    f = tiered(doomed)
    close(f(X), X + 1)
    gate.error = RuntimeError("out of registers")
    gate.open.set()
    with tiers.background._lock:
        (job,) = tiers.background._running.values()
    assert job.wait(60)
    with pytest.raises(RuntimeError, match=r"jit of doomed, while it was compiled: out of registers"):
        f(X)
    gate.error = None
    close(f(X), X + 1)  # compiled in the call, as without tiers


def test_an_error_of_the_compiler_reaches_wait(gate):
    f = tiered(lambda x: x + 1, compiler_options={"xla_no_such_option": True})
    close(f(X), X + 1)
    gate.open.set()
    with pytest.raises(ValueError, match=r"jit of <lambda>.*compiler_options.*xla_no_such_option"):
        f.wait(60)
    with pytest.raises(ValueError, match="xla_no_such_option"):
        f(X)


def test_an_error_that_nobody_asks_for_is_in_the_log(gate, caplog):
    def doomed(x):
        return x + 1

    f = tiered(doomed)
    f(X)
    gate.error = RuntimeError("out of registers")
    with tiers.background._lock:
        (thread,) = tiers.background._running
    with caplog.at_level(logging.ERROR, "pullback"):
        gate.open.set()
        thread.join(60)
    assert "compiling doomed failed in the background: out of registers" in caplog.text


# --- waiting, and the order of compilations


def test_wait_has_a_timeout(gate):
    def slow(x):
        return x + 1

    f = tiered(slow)
    f.wait()  # nothing has been requested
    f(X)
    f(X[:2])
    with pytest.raises(TimeoutError, match=r"wait: slow is still being compiled after 0.01 s, 2 of its programs"):
        f.wait(0.01)
    assert answered(lambda: f(X))[1:] == (1, 0)
    finish(gate, f)
    f.wait(timeout=0)
    assert answered(lambda: (f(X), f(X[:2])))[1:] == (0, 2)


@pytest.mark.parametrize("timeout", [-1, "1", float("nan")])
def test_timeouts_that_are_none(timeout):
    with pytest.raises(ValueError, match="wait: timeout must be a number of seconds"):
        tiered(lambda x: x).wait(timeout)


def test_wait_of_a_function_without_tiers():
    f = pb.jit(lambda x: x + 1)
    f(X)
    assert f.wait() is None


def test_the_newest_request_is_compiled_first(gate):
    def first(x):
        return x + 1

    def second(x):
        return x + 2

    def third(x):
        return x + 3

    def fourth(x):
        return x + 4

    functions = [tiered(g) for g in (first, second, third, fourth)]
    functions[0](X)
    assert gate.begun.acquire(timeout=60)
    for f in functions[1:]:
        f(X)
    with pytest.raises(TimeoutError):
        functions[2].wait(0)  # it is wanted now
    with tiers.background._lock:
        (thread,) = tiers.background._running
    gate.open.set()
    thread.join(60)
    assert gate.names == ["first", "third", "fourth", "second"]


def test_a_function_that_is_freed_is_not_compiled(gate):
    def busy(x):
        return x + 1

    def freed(x):
        return x + 2

    f, g = tiered(busy), tiered(freed)
    f(X)
    assert gate.begun.acquire(timeout=60)
    g(X)
    alive = weakref.ref(freed)
    del g, freed
    gc.collect()
    assert alive() is None
    finish(gate, f)
    with tiers.background._lock:
        threads = list(tiers.background._running)
    for t in threads:
        t.join(60)
    assert gate.names == ["busy"]


def test_many_threads_at_once_compile_once(gate):
    f = tiered(lambda x, k: pnp.sin(x) * k)
    together, errors = threading.Barrier(8), []

    def work(k):
        together.wait()
        try:
            for _ in range(20):
                close(f(X, float(k)), np.sin(X) * k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for t in threads:
        t.start()
    gate.open.set()
    for t in threads:
        t.join()
    f.wait(60)
    assert not errors
    assert gate.names == ["<lambda>"]


# --- programs for which the kernels are no help


def test_a_long_loop_waits_for_the_compiler(gate):
    @tiered
    def f(x):
        return lax.fori_loop(0, 100_000, lambda i, x: x * 0.5 + 1, x)

    gate.open.set()
    out, *counts = answered(lambda: f(X))
    close(out, np.full(4, 2.0))
    assert counts == [0, 1]


def test_many_operations_without_a_kernel_wait_for_the_compiler(gate):
    def filtered(x):
        for _ in range(3):
            x = lax.conv(x, pnp.ones((1, 1, 3)), (1,), "SAME")
        return x

    f = tiered(filtered)
    gate.open.set()
    out, *counts = answered(lambda: f(np.ones((1, 1, 9), np.float32)))
    assert float(out[0, 0, 4]) == 27
    assert counts == [0, 1]


def test_a_loop_of_unknown_length_is_left_to_the_program(gate):
    @tiered
    def f(x):
        return lax.while_loop(lambda x: x < 3e6, lambda x: x + 1, x)

    gate.open.set()
    out, *counts = answered(lambda: f(0.0))
    assert float(out) == 3e6
    assert counts == [0, 1]


def test_loops_and_nested_calls_are_interpreted(gate):
    inner = pb.jit(lambda x: pnp.cos(x))

    def model(x):
        def layer(x, w):
            for _ in range(80):
                x = pnp.sin(x) * w + inner(x) * 0.1
            return x, x.sum()

        return lax.scan(layer, x, pnp.linspace(0.1, 0.9, 45))

    f = tiered(model)
    with counters() as seen:
        first = f(X)
        assert seen["compiles"] == 0
    assert seen["interpreted_calls"] == 1
    finish(gate, f)
    for a, b in zip(first, f(X), strict=True):
        close(a, b, 1e-5)


# --- with other features


def test_a_call_inside_of_a_transformation_is_as_before(gate):
    def cube(x):
        return (x**3).sum()

    f = tiered(cube)
    with counters() as seen:
        close(pb.grad(f)(X), 3 * X**2)
        close(pb.vmap(f)(np.stack([X, X])), np.full(2, (X**3).sum()))
        close(pb.jit(lambda x: f(x) + 1)(X), (X**3).sum() + 1)
    assert (seen["interpreted_calls"], seen["compiled_calls"]) == (0, 0)
    g = tiered(cube, compiler_options={"xla_cpu_enable_fast_math": True})
    with pytest.raises(ValueError, match="compiler_options"):
        pb.grad(g)(X)
    assert answered(lambda: g(X))[1:] == (1, 0)
    finish(gate, f, g)
    assert answered(lambda: g(X))[1:] == (0, 1)
    assert gate.names == ["cube"]


def test_stages_compile_ahead_of_time(gate):
    f = tiered(lambda x: x + 1)
    assert f.eval_shape(X).shape == (4,)
    close(f.lower(X).compile()(X), X + 1)
    close(f.trace(X).lower().compile()(X), X + 1)
    f.wait(0)
    assert gate.names == []
    assert answered(lambda: f(X))[1:] == (1, 0)
    f.clear_cache()
    f.wait(0)
    assert answered(lambda: f(X))[1:] == (1, 0)


def test_programs_on_disk(gate, tmp_path):
    gate.open.set()
    pb.config.update("compilation_cache_dir", tmp_path / "programs")
    pb.config.update("enable_compilation_cache", True)
    try:
        origins = []
        for _ in range(2):

            def sorted_sines(x):
                return pnp.sort(pnp.sin(x) * 1.125)

            from pullback._xla import executable

            executable.recent.clear()
            executable._alive.clear()
            with compile_report() as report:
                f = tiered(sorted_sines)
                f(X)
                f.wait(60)
            # another thread may still compile for a test before
            origins += [program.origin for program in report.programs if program.name == "sorted_sines"]
            del f
            gc.collect()
    finally:
        pb.config.update("enable_compilation_cache", False)
        pb.config.update("compilation_cache_dir", None)
    assert origins == ["compiled", "disk"]


def test_nans_are_found_and_jit_is_disabled_as_before(gate):
    f = tiered(lambda x: pnp.log(x))
    with pb.debug_nans(), pytest.raises(FloatingPointError):
        f(-1.0)
    with pb.disable_jit():
        assert answered(lambda: f(1.0))[1:] == (0, 0)
    assert gate.names == []


# --- the end of a process, and forks


def run(text, **environment):
    result = subprocess.run(
        [sys.executable, "-c", text],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_process_that_ends_while_it_compiles():
    out = run("""
import atexit, threading
import pullback as pb, pullback.numpy as pnp
from pullback._api import jit, tiers

tiers.background._most = 1
begun, ending, compile_now = threading.Event(), threading.Event(), jit.Traced.compile
atexit.register(ending.set)

def slow(self):
    begun.set()
    ending.wait()
    compile_now(self)
    print("compiled", self.name, flush=True)

jit.Traced.compile = slow

def f(x):
    return pnp.sin(x) + 1

def g(x):
    return x + 2

print(pb.jit(f, tiered=True)(0.))
begun.wait()
print(pb.jit(g, tiered=True)(0.))
""")
    assert out.split("\n") == ["1.0", "2.0", "compiled f", ""]


def test_calls_on_other_devices_wait_for_the_compiler():
    run(
        """
import numpy as np
import pullback as pb, pullback.numpy as pnp

first, second = pb.devices()
f = pb.jit(lambda x: 2 * x, tiered=True)
with pb.debug.counters() as seen:
    assert f(pb.device_put(pnp.ones(2), second)).devices() == {second}
    assert seen["interpreted_calls"] == 0
    assert f(np.ones(2)).devices() == {first}
    assert seen["interpreted_calls"] == 1
""",
        PULLBACK_NUM_CPU_DEVICES="2",
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_forks():
    run("""
import os, sys, threading, warnings
warnings.simplefilter("ignore")
import numpy as np
import pullback as pb, pullback.numpy as pnp
from pullback._api import jit

begun, go, compile_now = threading.Event(), threading.Event(), jit.Traced.compile

def slow(self):
    begun.set()
    go.wait()
    return compile_now(self)

jit.Traced.compile = slow

def in_child(act):
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except BaseException as error:
            print(type(error).__name__, error, file=sys.stderr, flush=True)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

f = pb.jit(lambda x: x + 1, tiered=True)
x = np.arange(3.)
assert f(x).tolist() == [1, 2, 3]
begun.wait()

def own_engine():
    go.set()
    f.wait(60)
    with pb.debug.counters() as seen:
        assert f(x).tolist() == [1, 2, 3]
    assert seen["compiled_calls"] == 1

in_child(own_engine)  # the engine of the parent has not been started
go.set()
f.wait()
f(x)

def refused():
    for act in (lambda: f(x), f.wait, lambda: pb.jit(lambda x: x + 3, tiered=True)(x)):
        try:
            act()
        except RuntimeError as error:
            assert "get_context('spawn')" in str(error), error
        else:
            assert act == f.wait, "not refused"

in_child(refused)
""")
