"""The service as an ASGI application: a page, and JSON behind it.

    GET  /                        a search box, the passages with p(z|x), the answer with p(z|x, y)
    GET  /api/search?q=…&k=5      {"question", "passages": [{"id", "title", "text", "row", "score", "probability"}]}
    GET  /api/answer?q=…&k=5      {"question", "answer", "probability", "scheme", "passages": [… "posterior", "pieces"]}
    POST                          the same with {"q": "…", "k": 5}
    GET  /api/info, /healthz      what is served; that it is

Whatever cannot be answered is {"error": a sentence} with a status of its own.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from minirag.errors import MiniragError
from minirag.serve.batching import Batcher, Busy
from minirag.serve.guard import Guard
from minirag.serve.requests import Limits, asked_in
from minirag.serve.service import Asked, Facts, Service

PAGE = {"/": ("page.html", "text/html"), "/page.js": ("page.js", "text/javascript"), "/page.css": ("page.css", "text/css")}

Endpoint = Callable[[Request], Awaitable[Response]]


def application(service: Service, limits: Limits, hosts: frozenset[str] | None = None) -> ASGIApp:
    """The application. `hosts`: the names it may be called by (None: any); on loopback its own, so that no page from
    elsewhere can have a browser ask here under another name."""
    batchers = {"search": Batcher(service.search, limits.most, limits.waiting)}
    if service.model is not None:
        batchers["answer"] = Batcher(service.answer, min(limits.most, limits.answers), limits.waiting)
    most_k = {"search": limits.k, "answer": limits.answer_k}
    facts = service.info() | {"most_k": {name: most_k[name] for name in batchers}}  # once: fingerprints read all weights

    async def info(_: Request) -> Response:
        return JSONResponse(facts)

    async def healthy(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for batcher in batchers.values():
            batcher.close()

    routes = [Route(path, _file(*file)) for path, file in PAGE.items()]
    routes += [
        Route(f"/api/{name}", _asking(one, limits, most_k[name]), methods=["GET", "POST"]) for name, one in batchers.items()
    ]
    routes += [Route("/api/info", info), Route("/healthz", healthy)]
    handlers = {HTTPException: _told, Exception: _failed}
    return Guard(Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers), hosts)  # around faults, too


def _file(name: str, kind: str) -> Endpoint:
    async def file(_: Request) -> Response:
        return FileResponse(Path(__file__).with_name(name), media_type=kind)

    return file


def _asking(batcher: Batcher[Asked, Facts], limits: Limits, most_k: int) -> Endpoint:
    async def ask(request: Request) -> Response:
        asked = await asked_in(request, limits, most_k)
        try:
            return JSONResponse(await batcher.ask(asked, limits.seconds))
        except Busy:
            sentence = f"{limits.waiting} requests are waiting already; ask again in a moment"
            raise HTTPException(503, sentence, {"retry-after": "1"}) from None
        except TimeoutError:
            raise HTTPException(504, f"there was no answer within {limits.seconds:g} seconds; ask again later") from None
        except MiniragError as error:
            raise HTTPException(400, str(error)) from None

    return ask


async def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = error.detail
    if error.status_code == 404:
        sentence = "there is nothing here; see /, /api/info, /api/search and, with a model, /api/answer"
    if error.status_code == 405:
        methods = sorted((error.headers or {}).get("Allow", "").split(", "))
        sentence = f"{request.method} is not answered here; use {' or '.join(methods)}"
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    logging.getLogger("minirag.serve").error("a request failed", exc_info=error)
    return JSONResponse({"error": "the service failed at this request; its log says why"}, 500)
