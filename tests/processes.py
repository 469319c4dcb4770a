"""Programs that run in several processes, for the tests: each process gets a prologue, then the lines of its rank."""

import itertools
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

# no test waits for longer: whoever hangs is killed, and the test fails
LIMIT = 100

PROLOGUE = """
import os, signal, sys, time
import numpy as np
import pullback as pb, pullback.numpy as pnp
from pullback import distributed, errors
from pullback.experimental import multihost_utils as mh

rank, port, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def join(**keywords):
    options = dict(initialization_timeout=60, heartbeat_timeout_seconds=20, shutdown_timeout_seconds=20)
    given = {"coordinator_address": f"127.0.0.1:{port}", "num_processes": count, "process_id": rank}
    distributed.initialize(**{**given, **options, **keywords})

def error_of(act, *args, **keywords):
    try:
        act(*args, **keywords)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("no error")

def report(*words):
    print(*words, flush=True)

def wait():
    sys.stdin.readline()
"""


class Ended(NamedTuple):
    """A process that has ended: its exit code, and what it printed."""

    code: int | None
    out: str
    err: str


# below those that the system gives to whoever asks for any; tests that run beside these begin elsewhere
_ports = itertools.count(os.getpid() * 101)


def free_port() -> int:
    """A port that nobody listens at, and that no connection is given meanwhile."""
    while True:
        port = 10_000 + next(_ports) % 20_000
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            pass


class Job:
    """Processes that run one program each."""

    def __init__(self, *programs: str, port: int | None = None, count: int | None = None):
        self.port = free_port() if port is None else port
        self.processes = []
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
        flags = os.environ.get("XLA_FLAGS", "").split()
        environment["XLA_FLAGS"] = " ".join(flag for flag in flags if "force_host_platform_device_count" not in flag)
        for rank, program in enumerate(programs):
            command = [sys.executable, "-c", PROLOGUE + textwrap.dedent(program)]
            self.processes.append(
                subprocess.Popen(
                    [*command, str(rank), str(self.port), str(count or len(programs))],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    env=environment,
                )
            )

    def go_on(self) -> None:
        """Let the processes go on that wait for a line of input."""
        for process in self.processes:
            if process.poll() is None:
                process.stdin.write("\n")
                process.stdin.flush()

    def line(self, rank: int) -> str:
        """The next line that a process prints."""
        return next(line for line in iter(self.processes[rank].stdout.readline, "") if not _is_gloos(line))

    def stop_for_good(self, rank: int) -> None:
        """Have a process hang."""
        self.processes[rank].send_signal(signal.SIGSTOP)

    def ends(self, *, but: tuple[int, ...] = ()) -> list[Ended]:
        """Wait for the processes, except those that are expected to hang, which are killed."""
        try:
            found: list[Ended | None] = [
                None if rank in but else Ended(*self._end(process)) for rank, process in enumerate(self.processes)
            ]
        finally:
            for process in self.processes:
                process.kill()
        return [Ended(*self._end(self.processes[i])) if end is None else end for i, end in enumerate(found)]

    @staticmethod
    def _end(process: subprocess.Popen) -> tuple[int, str, str]:
        out, err = process.communicate(timeout=LIMIT)
        return process.returncode, "".join(line for line in out.splitlines(True) if not _is_gloos(line)), err


def _is_gloos(line: str) -> bool:
    """Whether a line is the engine's library for collectives, which prints what it does."""
    return line.startswith("[Gloo] ")


def run(*programs: str, **options) -> list[str]:
    """What the processes print, if all end well."""
    ends = Job(*programs, **options).ends()
    assert all(end.code == 0 for end in ends), ends
    return [end.out for end in ends]


def both(program: str, count: int = 2) -> list[str]:
    """What each process prints that runs the same program."""
    return run(*[program] * count)


def without_pids(text: str) -> str:
    """A text in which the numbers of processes of the system do not appear."""
    return re.sub(r" \(pid \d+ on [^)]*\)", "", text)
