"""What a request asks for, read with suspicion: what is wrong with it is told in a sentence, with the status that says so."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from dataclasses import dataclass
from typing import Any, NoReturn

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from minirag.serve.service import Asked


@dataclass(frozen=True)
class Limits:
    """What one request may ask for, and how many may."""

    question: int = 1_000  # characters
    k: int = 100
    answer_k: int = 20  # a generator reads every passage
    body: int = 16_384  # bytes
    most: int = 64  # requests worked on together
    answers: int = 8  # and answers
    waiting: int = 256  # requests that may wait
    seconds: float = 30.0  # to come in, and again to be answered
    usual_k: int = 5


async def asked_in(request: Request, limits: Limits, most_k: int) -> Asked:
    """The question and k of a GET's address or a POST's JSON. Raises `HTTPException` with a status from 400 to 415."""
    if request.method == "POST":
        fields = await _json_object(request, limits)
        question, k = fields.pop("q", None), fields.pop("k", limits.usual_k)
    else:
        pairs = request.query_params.multi_items()
        fields = dict(pairs)
        if len(fields) != len(pairs):
            _refuse("a parameter stands there twice; give q and k once each")
        question, k = fields.pop("q", None), _number(fields.pop("k", str(limits.usual_k)))
    if fields:
        _refuse(f"{next(iter(fields))[:40]!r} is not known; a request has q and k")
    if not isinstance(question, str) or not question.strip():
        _refuse("there is no question; give it as q, in words")
    if len(question) > limits.question:
        _refuse(f"the question has {len(question):,} characters; at most {limits.question:,} are read")
    if "\ufffd" in question or any(unicodedata.category(sign) in ("Cc", "Cs") for sign in question):
        _refuse("the question holds characters that are no text; give it in UTF-8, on one line")
    if type(k) is not int or not 1 <= k <= most_k:
        _refuse(f"k is the number of passages, a whole number from 1 to {most_k}")
    return Asked(question.strip(), k)


async def _json_object(request: Request, limits: Limits) -> dict[str, Any]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        _refuse("a POST is answered to JSON only; send it with content-type application/json", 415)
    try:
        async with asyncio.timeout(limits.seconds):
            body = await _body(request, limits.body)
    except TimeoutError:
        _refuse(f"the request did not come in within {limits.seconds:g} seconds; send it at once", 408)
    except ClientDisconnect:
        _refuse("the request broke off")
    try:
        fields = json.loads(body.decode("utf-8"), parse_constant=lambda name: _refuse(f"{name} is no JSON"))
    except UnicodeDecodeError:
        _refuse("the request is not UTF-8")
    except (ValueError, RecursionError):
        _refuse('the request is no JSON; send {"q": "…", "k": 5}')
    if not isinstance(fields, dict):
        _refuse('the request is no JSON object; send {"q": "…", "k": 5}')
    return fields


async def _body(request: Request, most: int) -> bytearray:
    body = bytearray()
    async for part in request.stream():  # what is sent in pieces tells no length beforehand
        body += part
        if len(body) > most:
            _refuse(f"the request is longer than {most:,} bytes; ask for one thing at a time", 413)
    return body


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _refuse(sentence: str, status: int = 400) -> NoReturn:
    raise HTTPException(status, sentence)
