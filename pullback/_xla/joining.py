"""How a process joins others: the coordinator is started or found, and the engine's client told of it."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from pullback._xla import coordinator, engine, relay
from pullback._xla.blocking import call_watched
from pullback._xla.distributed import SLACK, Session, enter, receive


class Terms:
    """On which terms a process joins: where, as which of how many, and what it waits for how long, in seconds."""

    def __init__(
        self,
        address: str,
        bind_address: str | None,
        process: int,
        count: int,
        *,
        timeout: float,
        heartbeat: float,
        leave_timeout: float,
        versions: dict[str, str],
    ):
        self.host, self.port = split_address("coordinator_address", address)
        self.bind_address = bind_address or f"[::]:{self.port}"
        self.bind_host, self.bind_port = split_address("coordinator_bind_address", self.bind_address)
        self.process = process
        self.count = count
        self.timeout = timeout
        self.heartbeat = heartbeat
        self.leave_timeout = leave_timeout
        self.versions = versions
        self.deadline = time.monotonic() + timeout

    def check(self) -> None:
        """Raise an error when the time to join in has passed."""
        if time.monotonic() > self.deadline:
            raise TimeoutError(f"distributed.initialize: {self}: not started within {self.timeout:g} s")

    def left(self) -> float:
        """What is left of the time to join in."""
        return max(0.1, self.deadline - time.monotonic())

    def __str__(self) -> str:
        return f"process {self.process} of {self.count}, with the coordinator at {self.host}:{self.port}"


def join(terms: Terms) -> Session:
    """Join the other processes; process 0 starts the coordinator first. The engine must not have been started."""
    if terms.process == 0:
        _start_coordinator(terms)
    joined = _enter(terms)
    engine.starter = _connect(joined, terms)
    enter(joined)
    return joined


def split_address(argument: str, address: str) -> tuple[str, int]:
    """The host and the port of an address; ValueError for anything but "host:port"."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ValueError(
            f"distributed.initialize: {argument}: expected a host and a port, such as '10.0.0.1:1234', got {address!r}"
        )
    return host.strip("[]"), int(port)


_children: list[Any] = []


def _start_coordinator(terms: Terms) -> None:
    options = (terms.bind_port, terms.count, terms.heartbeat, terms.timeout)
    command = [sys.executable, "-P", coordinator.__file__, terms.bind_host, *map(str, options)]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True, env=_quiet_environment()
    )
    assert child.stdout is not None
    line = call_watched(child.stdout.readline, terms.check)
    child.stdout.close()
    answer = json.loads(line) if line else {"error": f"{' '.join(command)} ended with no answer"}
    if "error" in answer:
        child.wait()
        raise RuntimeError(
            f"distributed.initialize: the coordinator cannot listen at {terms.bind_address}: {answer['error']}. "
            "Another program, or a coordinator of an earlier run, may have this port: name a free one in "
            "coordinator_address, the same in all processes"
        )
    _children.append(child)


def _quiet_environment() -> dict[str, str]:
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "XLA_FLAGS": ""}


def _enter(terms: Terms) -> Session:
    """A connection to the coordinator, which has let all processes join."""
    sock = _reach(terms)
    hello = {
        "hello": coordinator.HELLO,
        "process": terms.process,
        "count": terms.count,
        "pid": os.getpid(),
        "host": platform.node(),
        "address": sock.getsockname()[0],
        "versions": terms.versions,
        "timeout": terms.left(),
    }
    try:
        sock.settimeout(terms.left() + SLACK)
        sock.sendall(coordinator.frame(hello))
        answer, _ = receive(sock)
    except (OSError, EOFError, ValueError) as error:
        sock.close()
        raise RuntimeError(
            f"distributed.initialize: {terms}: the connection was closed before all had joined ({error}). Process 0 "
            "gave up, or what answers there is no coordinator of pullback's"
        ) from None
    if answer["kind"] == "refused":
        sock.close()
        kind = TimeoutError if "did not join within" in answer["text"] else RuntimeError
        raise kind(f"distributed.initialize: {terms}: {answer['text']}")
    sock.settimeout(None)
    joined = Session(terms.process, terms.count, sock, terms.heartbeat, terms.leave_timeout)
    joined.service_port, joined.is_local = answer["port"], answer["local"]
    joined.start()
    return joined


def _reach(terms: Terms) -> socket.socket:
    """A connection to an address that may not be listened at yet."""
    while True:
        try:
            sock = socket.create_connection((terms.host, terms.port), timeout=terms.left())
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as error:
            if terms.left() <= 0.1:
                raise TimeoutError(
                    f"distributed.initialize: {terms}: no answer within {terms.timeout:g} s ({error}). Process 0 "
                    "starts the coordinator: check that it runs, that coordinator_address is the same everywhere and "
                    "can be reached from here, and that no firewall is between"
                ) from None
            time.sleep(0.1)


def _connect(joined: Session, terms: Terms) -> Callable[[Callable[..., Any]], Any]:
    """Connect to jaxlib's service; the function that makes the engine's client, which knows the devices of all."""
    jaxlib = engine.xla_client()._xla
    port = relay.start(terms.host, joined.service_port)
    client = jaxlib.get_distributed_runtime_client(
        f"127.0.0.1:{port}",
        joined.process,
        init_timeout=int(terms.left() + SLACK),
        heartbeat_timeout=coordinator.NO_LIMIT,
        shutdown_on_destruction=False,
        use_compression=True,
    )
    joined.watched("distributed.initialize", client.connect)
    joined.client = client
    here = joined.socket.getsockname()[0].removeprefix("::ffff:")
    is_loopback = here in ("::1", "127.0.0.1")
    # the interface by which the coordinator is reached; on loopback only if all processes are on one machine
    hostname = here if joined.is_local or not is_loopback else None
    collectives = jaxlib.make_gloo_tcp_collectives(distributed_client=client, hostname=hostname)

    def start(make: Callable[..., Any]) -> Any:
        def start_here() -> Any:
            return make(
                distributed_client=client,
                node_id=joined.process,
                num_nodes=joined.count,
                collectives=collectives,
                get_local_topology_timeout_minutes=10**4,  # our own limits are in force
                get_global_topology_timeout_minutes=10**4,
            )

        return joined.watched("the start of the engine, which all processes wait for", start_here)

    return start
