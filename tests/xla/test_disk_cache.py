"""Programs that outlive the process."""

import os
import subprocess
import sys

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import compilation_cache
from pullback._xla import disk_cache, executable
from pullback.debug import counters


@pytest.fixture(autouse=True)
def cache(tmp_path):
    """The cache on, in a folder of the test."""
    pb.config.update("compilation_cache_dir", tmp_path / "programs")
    pb.config.update("enable_compilation_cache", True)
    yield
    pb.config.update("enable_compilation_cache", False)
    pb.config.update("compilation_cache_dir", None)
    pb.config.update("compilation_cache_max_size", 2**30)
    pb.config.update("persistent_cache_min_compile_time_secs", 0.0)
    pb.config.update("persistent_cache_min_entry_size_bytes", 0)


def forget():
    """Forget the programs of this process, as the end of it does."""
    executable.lasting.clear()
    executable.recent.clear()
    executable._alive.clear()


def made(factor):
    def fun(x):
        return pnp.sort(pnp.sin(x) * factor)

    return pb.jit(fun)


def counted(factor=3.0, x=(1.0, 2.0, 3.0)):
    """What a new process has to compile and to read, and its result."""
    forget()
    with counters() as seen:
        y = np.asarray(made(factor)(pnp.array(x)))
    return seen["compiles"], seen["compilation_cache_hits"], y


def test_compiled_once():
    *first, y = counted()
    *second, z = counted()
    assert (first, second) == ([1, 0], [0, 1])
    np.testing.assert_array_equal(y, z)
    assert len(compilation_cache.programs()) == 1


def test_programs_that_call_routines_of_numpy():
    x = np.arange(10_000.0)
    *first, y = counted(x=x)
    *second, z = counted(x=x)
    assert (first, second) == ([1, 0], [0, 1])
    np.testing.assert_array_equal(y, z)
    assert (np.diff(y) >= 0).all()


def test_another_program_another_type_another_option():
    counted()
    assert counted(4.0)[0] == 1
    assert counted(x=(1.0, 2.0))[0] == 1
    forget()
    with counters() as seen:
        pb.jit(lambda x: pnp.sort(pnp.sin(x) * 3.0), compiler_options={"xla_cpu_enable_fast_math": True})(pnp.ones(3))
    assert seen["compiles"] == 1


def test_another_version_of_the_library(monkeypatch):
    counted()
    monkeypatch.setattr(disk_cache, "__version__", "0.1.1")
    disk_cache._surroundings.cache_clear()
    assert counted()[:2] == (1, 0)
    monkeypatch.undo()
    disk_cache._surroundings.cache_clear()
    assert counted()[:2] == (0, 1)


def test_derivatives_donation_and_decompositions():
    def decomposed(x):
        return pnp.linalg.eigh(x @ x.T)[0]

    x = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    results = []
    for _ in range(2):
        forget()
        with counters() as seen:
            results.append(
                [
                    np.asarray(pb.jit(pb.grad(lambda x: pnp.sin(x).sum()))(x)),
                    np.asarray(pb.jit(decomposed)(x)),
                    np.asarray(pb.jit(lambda x: x + 1, donate_argnums=0)(pnp.array(x))),
                ]
            )
    assert seen["compiles"] == 0
    for first, second in zip(*results, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_donated_argument_is_gone_in_the_second_process_too():
    for _ in range(2):
        forget()
        x = pnp.arange(8.0)
        pb.block_until_ready(pb.jit(lambda x: x + 1, donate_argnums=0)(x))
        assert x.is_deleted()


def test_programs_that_call_python_are_not_kept():
    seen = []
    for _ in range(2):
        forget()
        pb.block_until_ready(pb.jit(lambda x: (pb.debug.callback(seen.append, x), x + 1)[1])(1.0))
    assert len(seen) == 2
    assert compilation_cache.programs() == []


def test_what_a_compiled_program_tells_of_itself():
    def run(x):
        return pnp.sin(x)

    for _ in range(2):
        forget()
        compiled = pb.jit(run).lower(pnp.ones(3)).compile()
        assert "sin" in compiled.as_text()
        assert compiled.cost_analysis()["transcendentals"] == 3
        assert compiled.memory_analysis().argument_size_in_bytes == 12


def test_a_damaged_program_is_compiled():
    *_, y = counted()
    for file in disk_cache.folder().path.glob("*.program"):
        file.write_bytes(file.read_bytes()[:-10])
    *counts, z = counted()
    assert counts == [1, 0]
    np.testing.assert_array_equal(y, z)
    assert counted()[:2] == (0, 1)


def test_a_program_that_the_engine_does_not_read_is_compiled():
    counted()
    kept = disk_cache.folder()
    (file,) = kept.files()
    kept.write(file.name, b"not a program", 10**6)
    assert counted()[:2] == (1, 0)
    assert counted()[:2] == (0, 1)


def test_small_and_quick_programs_can_be_left_out():
    pb.config.update("persistent_cache_min_compile_time_secs", 1000.0)
    counted()
    pb.config.update("persistent_cache_min_compile_time_secs", 0.0)
    pb.config.update("persistent_cache_min_entry_size_bytes", 10**9)
    counted()
    assert compilation_cache.programs() == []


def test_the_size_is_bounded():
    counted()
    (program,) = compilation_cache.programs()
    pb.config.update("compilation_cache_max_size", 3 * program.size)
    for i in range(8):
        counted(10.0 + i)
    assert sum(program.size for program in compilation_cache.programs()) <= 3 * program.size
    assert counted(17.0)[:2] == (0, 1)


def test_off():
    pb.config.update("enable_compilation_cache", False)
    counted()
    assert compilation_cache.cache_dir() is None
    assert compilation_cache.programs() == []
    assert compilation_cache.clear() == 0


def test_clear():
    counted()
    assert compilation_cache.clear() == 1
    assert counted()[:2] == (1, 0)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("compilation_cache_dir", 3),
        ("compilation_cache_dir", ""),
        ("compilation_cache_max_size", -2),
        ("persistent_cache_min_compile_time_secs", -1.0),
        ("persistent_cache_min_compile_time_secs", "long"),
        ("enable_compilation_cache", "yes"),
    ],
)
def test_refused_options(option, value):
    with pytest.raises(ValueError, match=f"{option}.*expected"):
        pb.config.update(f"jax_{option}", value)


PROGRAM = """
import pullback as pb, pullback.numpy as pnp
from pullback.debug import counters
with counters() as seen:
    print(pb.jit(lambda x: pnp.sort(pnp.sin(x)))(pnp.arange(4.)).sum())
print(seen["compiles"], seen["compilation_cache_hits"])
"""


def with_cache(**environment):
    keep = {name: value for name, value in os.environ.items() if not name.startswith("PULLBACK_")}
    return keep | {"PULLBACK_ENABLE_COMPILATION_CACHE": "1"} | environment


def in_a_process(**environment):
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=with_cache(**environment), capture_output=True, text=True, check=True
    )
    assert run.stderr == ""
    return run.stdout.split()


def test_two_processes(tmp_path):
    home = str(tmp_path / "home")
    first, second = (in_a_process(XDG_CACHE_HOME=home) for _ in range(2))
    assert first[1:] == ["1", "0"]
    assert second == [first[0], "0", "1"]
    assert (tmp_path / "home" / "pullback" / "programs").is_dir()


WAITING = """
import sys
import pullback as pb, pullback.numpy as pnp
print("ready", flush=True)
sys.stdin.readline()
print([float(pb.jit(lambda x: pnp.sort(pnp.sin(x)) * k)(pnp.arange(4.)).sum()) for k in (1., 2., 3.)])
"""


FLAGS = "--xla_cpu_enable_fast_math={}"


def test_other_flags_of_the_engine(tmp_path):
    flags = ("", FLAGS.format("false"), FLAGS.format("true"), FLAGS.format("false"))
    counts = [in_a_process(XDG_CACHE_HOME=str(tmp_path), XLA_FLAGS=value)[1:] for value in flags]
    assert counts == [["1", "0"], ["1", "0"], ["1", "0"], ["0", "1"]]


def test_flags_in_a_file(tmp_path):
    """XLA_FLAGS may name a file: programs depend on what stands in it."""
    file = tmp_path / "flags"
    counts = []
    for value in ("false", "true", "false"):
        file.write_text(FLAGS.format(value))
        counts.append(in_a_process(XDG_CACHE_HOME=str(tmp_path), XLA_FLAGS=str(file))[1:])
    assert counts == [["1", "0"], ["1", "0"], ["0", "1"]]


def test_flags_that_come_too_late(tmp_path):
    """XLA reads its flags once: programs that are compiled after a change are not those of the new flags."""
    late = f"""
import os, pullback as pb
pb.devices()
os.environ["XLA_FLAGS"] = "{FLAGS.format("true")}"
{PROGRAM}"""
    environment = with_cache(XDG_CACHE_HOME=str(tmp_path), XLA_FLAGS=FLAGS.format("false"))
    subprocess.run([sys.executable, "-c", late], env=environment, check=True, capture_output=True)
    assert in_a_process(XDG_CACHE_HOME=str(tmp_path), XLA_FLAGS=FLAGS.format("true"))[1:] == ["1", "0"]
    assert in_a_process(XDG_CACHE_HOME=str(tmp_path), XLA_FLAGS=FLAGS.format("false"))[1:] == ["0", "1"]


def test_processes_that_start_at_once(tmp_path):
    """One key, whole files, one result: on a cold cache all of them compile, and any of them may be first to write."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    environment = with_cache(XDG_CACHE_HOME=str(tmp_path))
    command = [sys.executable, "-c", WAITING]
    processes = [subprocess.Popen(command, env=environment, text=True, **pipes) for _ in range(5)]
    for process in processes:
        process.stdout.readline()
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0] * 5
    assert len(set(outputs)) == 1
    assert outputs[0][1] == ""
    names = [file.name for file in (tmp_path / "pullback" / "programs").iterdir()]
    assert names.count("key") == 1
    assert not [name for name in names if name.endswith(".part")]
    folder = disk_cache._folder(tmp_path / "pullback" / "programs")
    programs = folder.files()
    assert len(programs) == len(names) - 1 >= 3
    assert all(folder.read(program.name) for program in programs)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_home(tmp_path):
    tmp_path.chmod(0o500)
    try:
        assert in_a_process(XDG_CACHE_HOME=str(tmp_path))[1:] == ["1", "0"]
        assert not list(tmp_path.iterdir())
    finally:
        tmp_path.chmod(0o700)


def test_no_home(tmp_path):
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "missing", tmp_path / "file"):
        assert in_a_process(HOME=str(home), XDG_CACHE_HOME="")[1:] == ["1", "0"]
    assert not (tmp_path / "missing").exists()


def test_the_command(tmp_path):
    counted()

    environment = os.environ | {"PULLBACK_COMPILATION_CACHE_DIR": str(disk_cache.folder_path())}

    def command(*words):
        words = [sys.executable, "-m", "pullback.compilation_cache", *words]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout

    assert "1 programs" in command()
    assert compilation_cache.programs()[0].name in command("list")
    assert "1 programs removed" in command("clear")
    assert "0 programs" in command()
    assert "enable_compilation_cache is off" in command()
