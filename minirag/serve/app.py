"""The service as an ASGI application: a page, and JSON behind it.

    GET  /                        a search box, the passages with p(z|x), the answer with p(z|x, y)
    GET  /api/search?q=…&k=5      {"question", "passages": [{"id", "title", "text", "row", "score", "probability"}]}
    GET  /api/answer?q=…&k=5      {"question", "answer", "probability", "scheme", "passages": [… "posterior", "holds_answer"]}
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
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from minirag.errors import MiniragError
from minirag.serve.batching import Batcher, Busy
from minirag.serve.guard import Guard
from minirag.serve.requests import Limits, asked_in
from minirag.serve.service import Asked, Facts, Service

PAGE = {"/": ("page.html", "text/html"), "/page.js": ("page.js", "text/javascript"), "/page.css": ("page.css", "text/css")}

Endpoint = Callable[[Request], Awaitable[Response]]


def application(service: Service, limits: Limits, hosts: frozenset[str] | None = None) -> Starlette:
    """The application. `hosts`: the names it may be called by (None: any); on loopback its own, so that no page from
    elsewhere can have a browser ask here under another name."""
    batchers = {"search": Batcher(service.search, limits.most, limits.waiting)}
    if service.model is not None:
        batchers["answer"] = Batcher(service.answer, limits.most, limits.waiting)

    async def info(_: Request) -> Response:
        return JSONResponse(service.info())

    async def healthy(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        for batcher in batchers.values():
            batcher.close()

    routes = [Route(path, _file(*file)) for path, file in PAGE.items()]
    routes += [Route(f"/api/{name}", _asking(one, limits), methods=["GET", "POST"]) for name, one in batchers.items()]
    routes += [Route("/api/info", info), Route("/healthz", healthy)]
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: _told, Exception: _failed},
    )


def _file(name: str, kind: str) -> Endpoint:
    async def file(_: Request) -> Response:
        return FileResponse(Path(__file__).with_name(name), media_type=kind)

    return file


def _asking(batcher: Batcher[Asked, Facts], limits: Limits) -> Endpoint:
    async def ask(request: Request) -> Response:
        asked = await asked_in(request, limits)
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


async def _told(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentences = {404: "there is nothing here; see /, /api/info, /api/search and, with a model, /api/answer"}
    sentence = sentences.get(error.status_code, error.detail)
    return JSONResponse({"error": sentence}, error.status_code, error.headers)


async def _failed(_: Request, error: Exception) -> Response:
    logging.getLogger("minirag.serve").error("a request failed", exc_info=error)
    return JSONResponse({"error": "the service failed at this request; its log says why"}, 500)
