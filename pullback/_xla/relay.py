"""A way to the coordinator's runtime service that stays open when the service is gone.

A client of jaxlib's kills its process when it loses its service. So it is connected to this relay, in its own process,
which passes on what both say. When the service is gone, the client hears nothing more: that the coordinator is lost is
noticed, and told, by `distributed`.
"""

from __future__ import annotations

import socket
import threading


def start(host: str, port: int) -> int:
    """Listen on this machine for a client, and pass on what it says to a service; the port."""
    here = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_serve, args=(here, host, port), name="pullback relays", daemon=True).start()
    return here.getsockname()[1]


def _serve(here: socket.socket, host: str, port: int) -> None:
    while True:
        client, _ = here.accept()
        try:
            service = socket.create_connection((host, port))
        except OSError:
            _silent.append(client)
            continue
        for end in (client, service):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target in ((client, service), (service, client)):
            threading.Thread(
                target=_pass_on, args=(source, target, source is client), name="pullback relays", daemon=True
            ).start()


# connections whose service is gone: not closed, so that nobody notices
_silent: list[socket.socket] = []


def _pass_on(source: socket.socket, target: socket.socket, is_client: bool) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
    except OSError:
        pass
    if is_client:
        source.close()
        target.close()
    else:
        _silent.append(target)
