"""The folder of compiled programs: what is read back is what was written, and nothing else is ever read."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from pullback._xla.program_files import ProgramFolder

PROGRAM = bytes(range(256)) * 40
LARGE = 10**9


@pytest.fixture
def folder(tmp_path):
    return ProgramFolder(tmp_path / "programs")


def fresh(folder):
    """The folder as another process sees it."""
    return ProgramFolder(folder.path)


def file_of(folder, name="a"):
    return folder.path / f"{name}.program"


def test_what_was_written_is_read(folder):
    assert folder.read("a") is None
    folder.write("a", PROGRAM, LARGE)
    assert folder.read("a") == fresh(folder).read("a") == PROGRAM
    assert folder.read("b") is None
    assert [file.name for file in folder.files()] == ["a"]
    folder.write("a", b"another", LARGE)
    assert fresh(folder).read("a") == b"another"


def test_only_the_owner_can_read_and_write(folder):
    folder.write("a", PROGRAM, LARGE)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    for file in folder.path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("size", [0, 5, 30, 60, -1])
def test_a_file_that_is_cut_off(folder, size):
    folder.write("a", PROGRAM, LARGE)
    file_of(folder).write_bytes(file_of(folder).read_bytes()[:size])
    assert fresh(folder).read("a") is None
    folder.write("a", PROGRAM, LARGE)
    assert folder.read("a") == PROGRAM


def test_a_file_in_which_a_bit_has_changed(folder):
    folder.write("a", PROGRAM, LARGE)
    whole = file_of(folder).read_bytes()
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 4
        file_of(folder).write_bytes(changed)
        assert folder.read("a") is None
        file_of(folder).write_bytes(whole)


def test_a_file_under_another_name(folder):
    folder.write("a", PROGRAM, LARGE)
    file_of(folder).rename(file_of(folder, "b"))
    assert folder.read("b") is None


def test_a_file_of_another_folder(folder, tmp_path):
    other = ProgramFolder(tmp_path / "other")
    other.write("a", PROGRAM, LARGE)
    folder.write("b", PROGRAM, LARGE)
    file_of(folder).write_bytes(file_of(other).read_bytes())
    assert folder.read("a") is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_to(folder, mode):
    folder.write("a", PROGRAM, LARGE)
    file_of(folder).chmod(mode)
    assert folder.read("a") is None


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_can_write_to(folder, mode):
    folder.write("a", PROGRAM, LARGE)
    folder.path.chmod(mode)
    seen = fresh(folder)
    assert seen.read("a") is None
    seen.write("b", PROGRAM, LARGE)
    assert not file_of(folder, "b").exists()
    assert "only its owner" in seen.problem()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("which", ["folder", "file", "key"])
def test_what_belongs_to_another_user(folder, which):
    folder.write("a", PROGRAM, LARGE)
    os.chown({"folder": folder.path, "file": file_of(folder), "key": folder.path / "key"}[which], 12345, -1)
    assert fresh(folder).read("a") is None


def test_a_link_is_not_followed(folder, tmp_path):
    folder.write("a", PROGRAM, LARGE)
    file_of(folder).rename(tmp_path / "elsewhere")
    file_of(folder).symlink_to(tmp_path / "elsewhere")
    assert folder.read("a") is None


def test_a_pipe_does_not_hang(folder):
    folder.write("b", PROGRAM, LARGE)
    os.mkfifo(file_of(folder), 0o600)
    assert folder.read("a") is None


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 100])
def test_a_key_that_was_damaged(folder, content):
    folder.write("a", PROGRAM, LARGE)
    (folder.path / "key").write_bytes(content)
    seen = fresh(folder)
    assert seen.read("a") is None
    seen.write("a", PROGRAM, LARGE)
    assert fresh(folder).read("a") == PROGRAM


def test_no_place_for_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    folder = ProgramFolder(tmp_path / "file" / "programs")
    folder.write("a", PROGRAM, LARGE)
    assert folder.read("a") is None
    assert folder.files() == []
    assert folder.clear() == 0
    assert "cannot be made" in folder.problem()


WRITE_SMALL_FILES_ONLY = """
import resource, sys, pathlib
from pullback._xla.program_files import ProgramFolder
folder = ProgramFolder(pathlib.Path(sys.argv[1]))
folder.write("small", b"x", 10**9)
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
import os
folder.write("large", os.urandom(100_000), 10**9)
print(folder.read("small"), folder.read("large"))
"""


def test_a_disk_that_is_full(folder):
    run = subprocess.run(
        [sys.executable, "-c", WRITE_SMALL_FILES_ONLY, folder.path], capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["b'x'", "None"]
    assert sorted(file.name for file in folder.path.iterdir()) == ["key", "small.program"]


WRITE_FOR_EVER = """
import os, pathlib, sys
from pullback._xla.program_files import ProgramFolder
folder = ProgramFolder(pathlib.Path(sys.argv[1]))
print("ready", flush=True)
while True:
    folder.write("a", os.urandom(1_000_000), 10**9)
"""


def test_a_writer_that_is_killed(folder):
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, folder.path], stdout=subprocess.PIPE)
        writer.stdout.readline()
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        seen = fresh(folder)
        assert seen.read("a") is None or len(seen.read("a")) == 1_000_000
        seen.write("b", PROGRAM, LARGE)
        assert fresh(folder).read("b") == PROGRAM
    (folder.path / ".0123456789abcdef.part").write_bytes(b"begun")
    folder.clear()
    assert list(folder.path.iterdir()) == []


def test_the_least_recently_used_go(folder):
    for i in range(10):
        folder.write(f"{i}", os.urandom(1000), 100_000)
        os.utime(file_of(folder, f"{i}"), (1000 + i, 1000 + i))
    assert folder.read("0") is not None  # used again
    for i in range(10, 15):
        folder.write(f"{i}", os.urandom(1000), 11_000)
    names = {file.name for file in folder.files()}
    assert sum(file.size for file in folder.files()) <= 11_000
    assert "14" in names
    assert "0" in names
    assert "1" not in names


def test_a_file_from_the_future_goes_first(folder):
    folder.write("a", os.urandom(1000), LARGE)
    folder.write("b", os.urandom(1000), LARGE)
    later = time.time() + 10 * 365 * 24 * 3600
    os.utime(file_of(folder, "b"), (later, later))
    assert [file.name for file in folder.files()] == ["b", "a"]
    assert folder.read("b") is not None
    assert [file.name for file in folder.files()] == ["a", "b"]  # its use has put it right


def test_a_program_larger_than_the_bound_is_not_kept(folder):
    folder.write("a", os.urandom(1000), 500)
    assert folder.files() == []


def test_many_writers_and_readers(folder):
    programs = {f"{i}": os.urandom(5000) for i in range(5)}
    wrong = []

    def work():
        mine = fresh(folder)
        for _ in range(20):
            for name, program in programs.items():
                mine.write(name, program, 18_000)
                found = mine.read(name)
                if found is not None and found != program:
                    wrong.append(name)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(list(folder.path.glob(".*"))) == 0
