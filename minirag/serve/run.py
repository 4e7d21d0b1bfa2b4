"""The service, run until it is told to stop (SIGINT, SIGTERM): it answers what has come in, and takes nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from minirag.errors import MiniragError
from minirag.serve.app import application
from minirag.serve.guard import LOOPBACK
from minirag.serve.requests import Limits
from minirag.serve.service import Service

HEAD = 16_384  # bytes of a request's first line and headers
BACKLOG = 256
CONNECTIONS = 512


def serve(service: Service, host: str, port: int, most: int = 64) -> None:
    """Serve until stopped. Raises `MiniragError` where the address cannot be had."""
    with _listening(host, port) as listening:
        name, own_port = listening.getsockname()[:2]
        shown = f"[{name}]" if ":" in name else name
        hosts = LOOPBACK | {shown} if ipaddress.ip_address(name.partition("%")[0]).is_loopback else None
        server = uvicorn.Server(configured(service, Limits(most=most), hosts))
        print(
            f"minirag serves {len(service.retriever.passages):,} passages at http://{shown}:{own_port} (Ctrl-C stops)",
            flush=True,
        )
        with _stopped_by_signals(server):
            server.run([listening])


class Impatient(H11Protocol):
    """HTTP for which a request has to come in within `timeout_keep_alive` seconds, so that nobody holds a connection for
    ever who sends nothing, or a byte now and then."""

    _before: Any = None  # the request that was the latest when last looked at

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch = self.loop.call_later(self.timeout_keep_alive, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is self._before:
            self.transport.close()
        self._before = self.cycle
        self._watch = self.loop.call_later(self.timeout_keep_alive, self._look)


def configured(service: Service, limits: Limits, hosts: frozenset[str] | None) -> uvicorn.Config:
    """The server around the application: HTTP and nothing else, small heads, no word about itself."""
    return uvicorn.Config(
        application(service, limits, hosts),
        log_config=None,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=HEAD,
        http=Impatient,
        limit_concurrency=CONNECTIONS,
        ws="none",
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
    )


@contextlib.contextmanager
def _stopped_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """A signal is how the service ends, and no failure: uvicorn hands it on, when it has stopped, to whoever had it before."""

    def stop(*_: object) -> None:
        server.should_exit = True

    before = {sign: signal.signal(sign, stop) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)


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
