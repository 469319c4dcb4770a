"""Several processes: joining them, meeting the others with time limits, and noticing which of them are gone."""

from __future__ import annotations

import atexit
import hashlib
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count as counting
from typing import Any, TypeVar

from pullback._core.config import config
from pullback._core.errors import ProcessFailureError
from pullback._core.typing import AnyValue
from pullback._xla import coordinator, engine
from pullback._xla.blocking import Latch, begin_watched, call_watched, settle

T = TypeVar("T")
# what the answer to a request may take beyond its own time limit
SLACK = 10.0
# seconds after an error of the engine's in which the coordinator says who is gone, on a busy machine too
NEWS = 10.0


class Session:
    """The membership of this process among several."""

    def __init__(self, process: int, count: int, sock: socket.socket, heartbeat: float, leave_timeout: float):
        self.process = process
        self.count = count
        self.socket = sock
        self.heartbeat = heartbeat
        self.leave_timeout = leave_timeout
        self.client: Any = None
        # where jaxlib's service listens, and whether all processes are on one machine
        self.service_port = 0
        self.is_local = False
        # process -> what became of it, and when that was known here
        self.gone: dict[int, tuple[str, str, float]] = {}
        # why the coordinator can no longer be asked
        self.broken: str | None = None
        self.heard = time.monotonic()
        self.left = False
        # the end of the last program that spans processes
        self._end: Latch | None = None
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._answers: dict[int, tuple[dict[str, Any], list[bytes]]] = {}
        self._ids = counting()
        self._visits: dict[Any, int] = {}
        self._programs: set[bytes] = set()

    # ---- the connection

    def start(self) -> None:
        """Start the threads that listen to the coordinator and give signs of life."""
        for work in (self._listen, self._beat):
            threading.Thread(target=work, name=f"pullback {work.__name__.strip('_')}s", daemon=True).start()

    def _send(self, message: dict[str, Any], *parts: bytes) -> None:
        with self._sending:
            self.socket.sendall(coordinator.frame(message, *parts))

    def _beat(self) -> None:
        pause = min(10.0, self.heartbeat / 5)
        while not self.left and self.broken is None:
            before = time.monotonic()
            time.sleep(pause)
            with self._changed:
                self.heard += max(0.0, time.monotonic() - before - pause)  # this process was stopped
            try:
                self._send({"kind": "beat"})
            except OSError:
                return  # who listens notices it too
            if time.monotonic() - self.heard > self.heartbeat:
                self._break(f"has given no sign of life for {self.heartbeat:g} s (heartbeat_timeout_seconds)")

    def _listen(self) -> None:
        try:
            while True:
                message, parts = receive(self.socket)
                self.heard = time.monotonic()
                kind = message["kind"]
                with self._changed:
                    if kind in ("lost", "left"):
                        self.gone.setdefault(message["process"], (kind, message["text"], self.heard))
                    elif kind != "beat":
                        self._answers[message["id"]] = message, parts
                    if kind != "beat":
                        self._changed.notify_all()
        except (OSError, EOFError):
            self._break("has closed the connection: it was ended, or its machine was")

    def _break(self, reason: str) -> None:
        with self._changed:
            self.broken = self.broken or f"the coordinator, which process 0 started, {reason}"
            self._changed.notify_all()

    def _ask(self, message: dict[str, Any], *parts: bytes, timeout: float) -> tuple[dict[str, Any], list[bytes]]:
        """The coordinator's answer to a request."""
        number = next(self._ids)
        deadline = time.monotonic() + timeout + SLACK
        try:
            self._send({**message, "id": number, "timeout": timeout}, *parts)
        except OSError:
            self._break("has closed the connection: it was ended, or its machine was")
        with self._changed:
            while number not in self._answers:
                if self.broken is not None:
                    raise ProcessFailureError(f"{message['label']}: {self.broken}")
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{message['label']}: the coordinator gave no answer in {timeout + SLACK:g} s")
                self._changed.wait(1.0)  # of the loop, so that an interrupt from the keyboard is heard
            return self._answers.pop(number)

    # ---- what the other processes do

    def check(self, label: str, processes: Iterable[int] | None = None) -> None:
        """Raise an error if one of the processes is gone. One that left in good order may still owe nothing."""
        if self.left:
            raise RuntimeError(f"{label}: this process has left the others, by distributed.shutdown")
        if self.broken is not None:
            raise ProcessFailureError(f"{label}: {self.broken}")
        if self.gone:
            self._check_gone(label, range(self.count) if processes is None else processes, self.heartbeat)

    def _check_gone(self, label: str, processes: Iterable[int], grace: float) -> None:
        now = time.monotonic()
        found = {
            process: text
            for process, (kind, text, since) in sorted(self.gone.items())
            if process in processes and (kind == "lost" or now - since > grace)
        }
        if self.process in found:
            raise ProcessFailureError(
                f"{label}: the other processes have given this one up: {found[self.process]}", list(found)
            ) from None
        if found:
            raise ProcessFailureError(f"{label}: {'; '.join(found.values())}", list(found)) from None

    def reason(self, process: int) -> str:
        """What became of a process that is gone."""
        with self._changed:
            self._changed.wait_for(lambda: process in self.gone, timeout=NEWS)
        return self.gone[process][1] if process in self.gone else f"process {process} is gone"

    def watched(self, label: str, function: Callable[[], T], processes: Sequence[int] | None = None) -> T:
        """The result of a call that waits for other processes; an error that names them if they are gone."""
        with self._explained(label, processes):
            return call_watched(function, self._checks(label, processes))

    def launch(
        self, label: str, function: Callable[[], tuple[T, Callable[[], Any] | None]], processes: Sequence[int]
    ) -> T:
        """The results of a program of several processes, which it begins, and the function that waits for its end."""
        with self._explained(label, processes):
            results, self._end = begin_watched(function, self._checks(label, processes))
        return results

    def wait(self, label: str, buffer: AnyValue, processes: Sequence[int]) -> None:
        """Wait until a buffer has been computed by several processes; an error that names them if they are gone.

        Programs of several processes run one after the other: it is that of the last one, or an earlier one.
        """
        with self._explained(label, processes):
            if self._end is not None and not buffer.is_ready():
                self._end.wait_watched(self._checks(label, processes))
            buffer.block_until_ready()

    @contextmanager
    def _explained(self, label: str, processes: Sequence[int] | None) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if not isinstance(error, ProcessFailureError):
                self.explain(label, processes)
            raise

    def _checks(self, label: str, processes: Sequence[int] | None) -> Callable[[], None]:
        limit = config.collective_timeout_secs
        deadline = time.monotonic() + limit

        def check() -> None:
            self.check(label, processes)
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"{label}: not done within {limit:g} s (config collective_timeout_secs); all processes give signs "
                    "of life, so one of them is late, or runs another program"
                )

        return check

    def explain(self, label: str, processes: Sequence[int] | None = None) -> None:
        """After an error of the engine's: raise another in its place if it came from a process that is gone."""
        others = range(self.count) if processes is None else processes
        with self._changed:
            self._changed.wait_for(lambda: self.broken or any(p in self.gone for p in others), timeout=NEWS)
        if self.broken is not None:
            raise ProcessFailureError(f"{label}: {self.broken}") from None
        self._check_gone(label, others, 0.0)

    def meet(
        self,
        label: str,
        payload: bytes = b"",
        *,
        key: str | None = None,
        compare: bool = False,
        alive: bool = False,
        among: tuple[int, ...] | None = None,
        timeout: float | None = None,
    ) -> dict[int, bytes]:
        """Wait until all processes have come to the same place; what each of them brought, by process.

        Places with one key are told apart by counting. With `compare` all must bring the same, and nothing is returned;
        with `alive` the processes that are gone are not waited for.
        """
        key = label if key is None else key
        with self._changed:
            visit = self._visits[key, among] = self._visits.get((key, among), 0) + 1
        limit = config.collective_timeout_secs if timeout is None else timeout
        request = {
            "kind": "meet",
            "key": f"{key} {visit} {among or ''}",
            "label": label,
            "compare": compare,
            "alive": alive,
            "among": among,
            "main": threading.current_thread() is threading.main_thread(),
        }
        answer, parts = self._ask(request, payload, timeout=limit)
        if answer["kind"] == "met":
            return dict(zip(answer["came"], parts, strict=False))
        text = f"{label}: {answer['text']}"
        if answer["error"] == "lost":
            raise ProcessFailureError(text, answer["processes"])
        if answer["error"] == "late":
            raise TimeoutError(text)
        raise RuntimeError(
            f"{label}: the processes do different things, where all must do the same in one order: {answer['text']}"
        )

    def check_program(self, name: str, text: str, processes: tuple[int, ...]) -> None:
        """Raise an error unless these processes come here with the same program: its name and its module's text.

        Once for each program, or each time with the option `distributed_debug`.
        """
        digest = hashlib.sha256(f"{processes} {text}".encode()).digest()
        if digest not in self._programs or config.distributed_debug:
            self.meet(f"{name} (module {digest.hex()[:8]})", digest, key="program", compare=True, among=processes)
            self._programs.add(digest)

    # ---- the end

    def leave(self, reason: str | None = None) -> None:
        """Take part no longer: tell the others, and wait for them to do the same unless something has failed."""
        if self.left:
            return
        failed = reason is not None or self.broken is not None or any(k == "lost" for k, _, _ in self.gone.values())
        request = {"kind": "leave", "label": "distributed.shutdown", "reason": reason}
        try:
            self._ask(request, timeout=0.0 if failed else self.leave_timeout)
        except (ProcessFailureError, TimeoutError):
            pass  # there is nobody to take leave of
        self.left = True
        if self.client is not None and self.broken is None:
            try:
                self.client.shutdown()
            except RuntimeError:
                pass  # the others are gone
        self.socket.close()


def receive(sock: socket.socket) -> tuple[dict[str, Any], list[bytes]]:
    """The next message on a socket and its binary parts; EOFError at the end."""
    (length,) = struct.unpack(">I", _exactly(sock, 4))
    if length > 1 << 24:
        raise EOFError("not a message")
    message = json.loads(_exactly(sock, length))
    return message, [_exactly(sock, size) for size in message["sizes"]]


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        n = sock.recv_into(view[got:])
        if n == 0:
            raise EOFError("the connection was closed")
        got += n
    return bytes(data)


_session: Session | None = None


def session() -> Session | None:
    """The membership of this process among several, or None."""
    return _session


def session_of(processes: tuple[int, ...]) -> Session:
    """The membership of this process, for something that spans these; RuntimeError if there is none any more."""
    if _session is None or _session.left:
        raise RuntimeError(f"processes {processes} are needed, which this one has left, by distributed.shutdown")
    return _session


def processes_of(devices: Sequence[Any]) -> tuple[int, ...]:
    """The processes that devices belong to."""
    return tuple(sorted({device.process_index for device in devices}))


def wait(what: str, buffer: AnyValue, processes: tuple[int, ...]) -> None:
    """Wait until a buffer has been computed, by these processes."""
    is_member = _session is not None and not _session.left
    # one that is ready may be so because a process was gone, and its computation has failed
    if len(processes) > 1 and (is_member or not buffer.is_ready()):
        session_of(processes).wait(what, buffer, processes)
    else:
        engine.wait(buffer)


def enter(joined: Session) -> None:
    """Make a session that of this process, until it ends."""
    global _session
    _session = joined
    atexit.register(_leave_at_exit)


def leave() -> None:
    """Leave the other processes, when they do; nothing if there are none."""
    if _session is not None:
        _session.leave()


def _leave_at_exit() -> None:
    assert _session is not None
    error: AnyValue = getattr(sys, "last_value", None)
    _session.leave(f"ended with {type(error).__name__}: {error}"[:2000] if error is not None else None)
    settle(5.0)
