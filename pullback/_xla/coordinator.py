"""The coordinator of several processes: a program of its own, which process 0 starts and which outlives it.

It lets the processes join, tells them who has died, hung or left, and lets them meet, with time limits. jaxlib's
runtime service, by which the engine's clients find each other, runs here too, so that it does not share the fate of a
worker. jaxlib's own checks of health are off: its clients kill their processes where ours raise errors.

This file is run by its path, before anything is loaded, and must import nothing but the standard library and jaxlib.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import struct
import sys
import time
from typing import Any

HELLO = "pullback coordinator 1"
# jaxlib's limits where ours are in force
NO_LIMIT = 10**6
# how long all processes must have waited at different places before that is called an error
PATIENCE = 2.0


def frame(message: dict[str, Any], *parts: bytes) -> bytes:
    """A message as bytes: the length of a header, the header in JSON, and binary parts whose sizes it gives."""
    header = json.dumps({**message, "sizes": [len(part) for part in parts]}).encode()
    return b"".join((struct.pack(">I", len(header)), header, *parts))


class Member:
    """A process that has joined."""

    def __init__(self, hello: dict[str, Any], writer: asyncio.StreamWriter):
        self.process: int = hello["process"]
        self.name = f"process {self.process} (pid {hello['pid']} on {hello['host']})"
        self.address: str = hello["address"]
        self.versions: dict[str, str] = hello["versions"]
        self.writer = writer
        self.seen = time.monotonic()
        # why it takes part no longer, if it does not
        self.gone: str | None = None
        self.connected = True
        # given up, while its connection is still there
        self.lost = False

    def send(self, message: dict[str, Any], *parts: bytes) -> None:
        """Send a message, if the process can still be reached."""
        if self.connected and not self.writer.is_closing():
            self.writer.write(frame(message, *parts))


class Meeting:
    """A place where processes wait for each other: what each of them brought, and the request to be answered."""

    def __init__(self, request: dict[str, Any], expected: set[int]):
        self.label: str = request["label"]
        self.compare: bool = request["compare"]
        # of those alive: then who is gone is not waited for
        self.alive: bool = request["alive"]
        self.expected = expected
        self.arrived: dict[int, bytes] = {}
        self.labels: dict[int, str] = {}
        self.requests: dict[int, dict[str, Any]] = {}


class Coordinator:
    """The state of all processes; one thread, on asyncio."""

    def __init__(self, count: int, heartbeat: float, host: str):
        self.count = count
        self.heartbeat = heartbeat
        self.host = host
        self.members: dict[int, Member] = {}
        self.refusals: list[str] = []
        self.meetings: dict[str, Meeting] = {}
        self.leaving: dict[int, dict[str, Any]] = {}
        self.started = False
        self.service: Any = None
        self.reserved: socket.socket | None = None
        self.finished = asyncio.Event()

    # ---- connections

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk with one process until its connection closes."""
        member = None
        try:
            hello, _ = await asyncio.wait_for(self.receive(reader), 10)
            member = self.join(hello, writer)
            while member is not None:
                message, parts = await self.receive(reader)
                member.seen = time.monotonic()
                if message["kind"] == "meet":
                    self.meet(member.process, message, parts[0])
                elif message["kind"] == "leave":
                    self.leave(member, message)
                else:
                    member.send({"kind": "beat"})
        except (OSError, EOFError, ValueError, KeyError, TypeError, TimeoutError):
            pass  # a stranger, or a process that is gone
        finally:
            if member is not None:
                self.disconnected(member)
            writer.close()

    async def receive(self, reader: asyncio.StreamReader) -> tuple[dict[str, Any], list[bytes]]:
        """The next message and its binary parts."""
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        if length > 1 << 20:
            raise ValueError("not a message")
        message = json.loads(await reader.readexactly(length))
        return message, [await reader.readexactly(size) for size in message["sizes"]]

    def disconnected(self, member: Member) -> None:
        """A connection was closed: by a process that died, unless it had left."""
        member.connected = False
        if not self.started:
            self.members.pop(member.process, None)
        elif member.gone is None:
            self.lose(member, "died: its connection was closed")
        # before all have joined, everything depends on the process that started this one
        if not self.started and member.process == 0:
            self.finished.set()
        self.end_if_alone()

    def end_if_alone(self) -> None:
        """End when nobody is left but processes that were given up."""
        if self.started and not any(m.connected and not m.lost for m in self.members.values()):
            self.finished.set()

    def end_without_members(self) -> None:
        """End if the process that started this program never came."""
        if not self.members:
            self.finished.set()

    # ---- joining

    def join(self, hello: dict[str, Any], writer: asyncio.StreamWriter) -> Member | None:
        """Let a process join, or refuse it with the reason."""
        if hello.get("hello") != HELLO:
            return None
        member = Member(hello, writer)
        reason = self.objection(member, hello["count"])
        if reason is not None:
            self.refusals.append(f"{member.name} was refused: {reason}")
            member.send({"kind": "refused", "text": reason})
            return None
        self.members[member.process] = member
        if len(self.members) == self.count:
            self.start()
        else:
            asyncio.get_running_loop().call_later(hello["timeout"], self.give_up, member, hello["timeout"])
        return member

    def objection(self, member: Member, count: int) -> str | None:
        """What speaks against a process, or None."""
        first = self.members.get(0) or next(iter(self.members.values()), member)
        if count != self.count:
            return f"num_processes={count} here, but process 0 was started with num_processes={self.count}"
        other = self.members.get(member.process)
        if other is not None and other.gone is not None:
            return f"{other.name} {other.gone}; the others went on without it. Start all processes again"
        if other is not None:
            return f"process_id={member.process} was given twice: {other.name} has joined with it"
        if member.versions != first.versions:
            ours, theirs = (", ".join(f"{k} {v}" for k, v in m.versions.items()) for m in (member, first))
            return f"{ours} here, but {first.name} runs {theirs}. All processes need the same versions"
        return None

    def start(self) -> None:
        """All have joined: start jaxlib's service and tell them where it is."""
        from jaxlib import _jax

        port = self.reserve_port()
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.service = _jax.get_distributed_runtime_service(
            f"{host}:{port}",
            self.count,
            heartbeat_timeout=NO_LIMIT,
            cluster_register_timeout=NO_LIMIT,
            shutdown_timeout=1,
            recoverable=True,
        )
        self.started = True
        local = all(m.address in ("127.0.0.1", "::1", "::ffff:127.0.0.1") for m in self.members.values())
        names = {m.process: m.name for m in self.members.values()}
        for member in self.members.values():
            member.send({"kind": "welcome", "port": port, "local": local, "names": names})

    def reserve_port(self) -> int:
        """A port that nobody else can take before jaxlib's service does, which ends the process if it cannot listen."""
        self.reserved = socket.socket(family(self.host))
        if hasattr(socket, "SO_REUSEPORT"):  # the service sets it too, so that it shares the port with this socket
            self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.reserved.bind((self.host, 0))
        port = self.reserved.getsockname()[1]
        if not hasattr(socket, "SO_REUSEPORT"):
            self.reserved.close()
        return port

    def give_up(self, member: Member, timeout: float) -> None:
        """A process has waited for the others for as long as it was told to."""
        if self.started or not member.connected:
            return
        missing = [p for p in range(self.count) if p not in self.members]
        joined = ", ".join(m.name for m in self.members.values())
        text = f"{processes(missing)} of {self.count} did not join within {timeout:g} s. Joined: {joined}"
        member.send({"kind": "refused", "text": ". ".join([text, *self.refusals])})

    # ---- meeting

    def meet(self, process: int, request: dict[str, Any], payload: bytes) -> None:
        """A process has come to a place where it waits for others."""
        expected = set(request["among"] or range(self.count))
        meeting = self.meetings.setdefault(request["key"], Meeting(request, expected))
        meeting.arrived[process] = payload
        meeting.labels[process] = request["label"]
        meeting.requests[process] = {**request, "since": time.monotonic()}
        self.look_at(request["key"], meeting)
        if request["key"] in self.meetings:
            loop = asyncio.get_running_loop()
            loop.call_later(request["timeout"], self.expire, request["key"], meeting, request["timeout"])
            loop.call_later(min(PATIENCE, request["timeout"] / 2), self.find_deadlock)

    def look_at(self, key: str, meeting: Meeting) -> None:
        """End a meeting that is complete or cannot become so."""
        gone = [m for p, m in self.members.items() if m.gone is not None and p in meeting.expected]
        if gone and not meeting.alive:
            text = "; ".join(f"{m.name} {m.gone}" for m in gone)
            self.dissolve(key, meeting, "lost", text, [m.process for m in gone])
        elif meeting.expected - {m.process for m in gone} <= meeting.arrived.keys():
            self.complete(key, meeting)

    def complete(self, key: str, meeting: Meeting) -> None:
        """All have come: compare what they brought if that was asked for, and give it to each."""
        groups: dict[bytes, list[int]] = {}
        for process, payload in sorted(meeting.arrived.items()):
            groups.setdefault(payload, []).append(process)
        if meeting.compare and len(groups) > 1:
            texts = [f"{processes(group)}: {meeting.labels[group[0]]}" for group in groups.values()]
            self.dissolve(key, meeting, "differ", "; ".join(texts), [])
            return
        del self.meetings[key]
        came = sorted(meeting.arrived)
        parts = [] if meeting.compare else [meeting.arrived[p] for p in came]
        for process, request in meeting.requests.items():
            self.members[process].send({"kind": "met", "id": request["id"], "came": came}, *parts)

    def dissolve(self, key: str, meeting: Meeting, error: str, text: str, culprits: list[int]) -> None:
        """End a meeting with an error for those who wait."""
        self.meetings.pop(key, None)
        for process, request in meeting.requests.items():
            answer = {"kind": "failed", "id": request["id"], "error": error, "text": text, "processes": culprits}
            self.members[process].send(answer)

    def expire(self, key: str, meeting: Meeting, timeout: float) -> None:
        """The time limit of one who waits has passed."""
        if self.meetings.get(key) is not meeting:
            return
        missing = sorted(meeting.expected - meeting.arrived.keys())
        where = {p: other.labels[p] for other in self.meetings.values() for p in other.arrived}
        texts = [f"process {p} waits at {where[p]}" if p in where else f"process {p} is elsewhere" for p in missing]
        text = f"{processes(missing)} did not come within {timeout:g} s ({', '.join(texts)})"
        self.dissolve(key, meeting, "late", text, missing)

    def find_deadlock(self) -> None:
        """Processes that all wait, at different places, wait for ever."""
        waits: dict[int, tuple[float, str]] = {}
        for meeting in self.meetings.values():
            for process, request in meeting.requests.items():
                if not request["main"]:
                    return  # another thread may come to where the main one is waited for
                waits[process] = request["since"], meeting.labels[process]
        present = {m.process for m in self.members.values() if m.gone is None}
        now = time.monotonic()
        if len(self.meetings) < 2 or waits.keys() != present:
            return
        patience = min([PATIENCE] + [r["timeout"] / 2 for m in self.meetings.values() for r in m.requests.values()])
        if all(now - since >= patience * 0.9 for since, _ in waits.values()):
            text = "; ".join(f"process {p} waits at {label}" for p, (_, label) in sorted(waits.items()))
            for key, meeting in list(self.meetings.items()):
                self.dissolve(key, meeting, "differ", text, [])

    # ---- leaving

    def leave(self, member: Member, message: dict[str, Any]) -> None:
        """A process ends in good order, or says why it ends."""
        if member.gone is None:
            left = "has left: it called distributed.shutdown or ended"
            self.depart(member, "left" if message["reason"] is None else "lost", message["reason"] or left)
        self.leaving[member.process] = message
        asyncio.get_running_loop().call_later(message["timeout"], self.release, member)
        if all(m.gone is not None for m in self.members.values()):
            for process in list(self.leaving):
                self.release(self.members[process])

    def release(self, member: Member) -> None:
        """Let a process that has left go: all others have left too, or it has waited for long enough."""
        message = self.leaving.pop(member.process, None)
        if message is not None:
            member.send({"kind": "met", "id": message["id"], "came": []})

    def lose(self, member: Member, reason: str) -> None:
        """Give a process up."""
        member.lost = True
        self.depart(member, "lost", reason)
        self.end_if_alone()
        if all(m.gone is not None for m in self.members.values()):
            for process in list(self.leaving):
                self.release(self.members[process])

    def depart(self, member: Member, kind: str, reason: str) -> None:
        """Tell all processes that one of them takes part no longer."""
        member.gone = reason
        for other in self.members.values():
            other.send({"kind": kind, "process": member.process, "text": f"{member.name} {reason}"})
        for key, meeting in list(self.meetings.items()):
            self.look_at(key, meeting)

    async def watch(self) -> None:
        """Give up processes that are silent."""
        pause = min(1.0, self.heartbeat / 5)
        while True:
            before = time.monotonic()
            await asyncio.sleep(pause)
            late = time.monotonic() - before - pause
            for member in list(self.members.values()):
                member.seen += late  # this process was stopped, not that one
                if self.started and member.gone is None and time.monotonic() - member.seen > self.heartbeat:
                    silence = f"has given no sign of life for {self.heartbeat:g} s (heartbeat_timeout_seconds)"
                    self.lose(member, f"{silence}: it hangs, was stopped, or cannot be reached")


def processes(numbers: list[int]) -> str:
    """Numbers of processes in words."""
    return f"process{'es' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def family(host: str) -> socket.AddressFamily:
    """The family of a numeric address, or of a name's first address."""
    return socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; at any address of the machine if the host is [::]."""
    try:
        dual = host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family(host), dualstack_ipv6=dual, backlog=1024)
    except OSError as error:
        if host != "::" or error.errno in (errno.EADDRINUSE, errno.EACCES):
            raise
        return socket.create_server(("0.0.0.0", port), backlog=1024)


async def main(host: str, port: int, count: int, heartbeat: float, timeout: float) -> None:
    """Serve until the last process is gone."""
    try:
        sock = listening(host, port)
    except OSError as error:
        print(json.dumps({"error": error.strerror or str(error), "errno": error.errno}), flush=True)
        return
    bound = sock.getsockname()[0]
    coordinator = Coordinator(count, heartbeat, bound)
    server = await asyncio.start_server(coordinator.converse, sock=sock)
    print(json.dumps({"listening": bound}), flush=True)
    # nothing is printed from here on: who reads it would wait for this process
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    watching = asyncio.ensure_future(coordinator.watch())
    nobody = asyncio.get_running_loop().call_later(timeout, coordinator.end_without_members)
    await coordinator.finished.wait()
    await asyncio.sleep(0.2)  # last words are on their way
    watching.cancel()
    nobody.cancel()
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), float(sys.argv[5])))
    os._exit(0)  # jaxlib's service ends with the process: its own end would wait for its clients
