"""The service, run until it is told to stop (SIGINT, SIGTERM): it answers what has come in, and takes nothing more."""

from __future__ import annotations

import socket

import uvicorn

from minirag.errors import MiniragError
from minirag.serve.app import application
from minirag.serve.guard import LOOPBACK
from minirag.serve.requests import Limits
from minirag.serve.service import Service

HEAD = 16_384  # bytes of a request's first line and headers
BACKLOG = 256


def serve(service: Service, host: str, port: int, most: int = 64) -> None:
    """Serve until stopped. Raises `MiniragError` where the address cannot be had."""
    with _listening(host, port) as listening:
        name, own_port = listening.getsockname()[:2]
        shown = f"[{name}]" if ":" in name else name
        hosts = LOOPBACK if name in ("127.0.0.1", "::1") else None
        server = uvicorn.Server(configured(service, Limits(most=most), hosts))
        print(
            f"minirag serves {len(service.retriever.passages):,} passages at http://{shown}:{own_port} (Ctrl-C stops)",
            flush=True,
        )
        server.run([listening])


def configured(service: Service, limits: Limits, hosts: frozenset[str] | None) -> uvicorn.Config:
    """The server around the application: HTTP and nothing else, small heads, no word about itself."""
    return uvicorn.Config(
        application(service, limits, hosts),
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD,
        http="h11",
        ws="none",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
    )


def _listening(host: str, port: int) -> socket.socket:
    listening = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        if listening is not None:
            listening.close()
        reason = error.strerror or error
        raise MiniragError(f"cannot listen at {host}:{port} ({reason}); choose another --port or --host") from error
    return listening
