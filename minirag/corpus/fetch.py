"""One URL into one partial file: resumed after a cut, never glued together from two versions, never led to an unexpected host.

A partial file `x.part` has a note `x.part.json` beside it that names the version its bytes belong to (the server's ETag). What
is missing is asked for with Range and If-Range; a server that has another version by now, or that ignores Range, makes it start
over.
"""

import contextlib
import errno
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from minirag.errors import MiniragError
from minirag.files import read_json, write_json

ATTEMPTS = 5  # connections tried before giving up
WAIT = 1.0  # seconds before the second attempt; doubled for each one after it
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of the answer
CHUNK = 1 << 20
REDIRECTS = (301, 302, 303, 307, 308)
LOOPBACK = ("127.0.0.1", "::1", "localhost")


class _Cut(Exception):
    """The connection broke or the server stumbled; the same request may succeed in a moment."""


@dataclass(frozen=True)
class Request:
    """What to fetch. `hosts` may serve it by redirect (".x" means any host below x); with `trusted` any host may, for its
    checksum is known."""

    url: str
    size: int | None = None
    hosts: tuple[str, ...] = ()
    trusted: bool = False


def fetch(request: Request, part: Path, progress: bool = True) -> None:
    """Fill `part` with the whole file, trying again after each cut from where the last attempt stopped.

    Raises `MiniragError` for a refused redirect, an HTTP error, a full disk (what is there is kept), or `ATTEMPTS` cuts.
    """
    _check_scheme(request, request.url)
    with requests.Session() as session:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(WAIT * 2 ** (attempt - 1))
            try:
                return _continue(session, request, part, progress)
            except (_Cut, requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
                reason = error
    raise MiniragError(
        f"{request.url} broke off {ATTEMPTS} times ({reason}); check the network and run this again: it resumes"
    ) from reason


def forget(part: Path) -> None:
    """Remove a partial file and its note."""
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)


def _continue(session: requests.Session, request: Request, part: Path, progress: bool) -> None:
    """One connection: ask for what is missing, and append it only if the server still has the version that `part` began
    with."""
    have, begun = _begun(part, request.url)
    if have and have == begun["size"]:
        return  # complete: an earlier run ended between the last byte and the check
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": begun["validator"]}
    with _get(session, request, headers) as response:
        validator, total = _validator(response), _total(response)
        resumed = response.status_code == 206
        if response.status_code == 416 or (resumed and (validator != begun.get("validator") or not _starts_at(response, have))):
            forget(part)  # some servers ignore If-Range: what they hold now is another version
            raise _Cut("the file changed while it was being downloaded")
        if not resumed:
            have = 0
        _check_space(part, have, total or request.size)
        _append(response, part, have, {"url": request.url, "validator": validator, "size": total}, progress)
    if total is not None and part.stat().st_size != total:
        raise _Cut(f"it ended after {part.stat().st_size} of {total} bytes")


def _append(response: requests.Response, part: Path, have: int, begun: dict[str, Any], progress: bool) -> None:
    from tqdm.auto import tqdm

    try:
        with open(part, "ab" if have else "wb") as file:
            if not have:  # after the truncation, so that no crash can pair this note with older bytes
                write_json(_note(part), begun)
            with tqdm(
                total=begun["size"], initial=have, unit="B", unit_scale=True, desc=part.stem, disable=not progress
            ) as bar:
                # The bytes as sent: a server that labels a .gz file "Content-Encoding: gzip" must not have it unpacked.
                for chunk in response.raw.stream(CHUNK, decode_content=False):
                    file.write(chunk)
                    bar.update(len(chunk))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MiniragError(f"the disk is full at {part}; free space and run this again: it resumes") from error
        raise


def _check_space(part: Path, have: int, size: int | None) -> None:
    reusable = part.stat().st_size if part.exists() and not have else 0  # what starting over gives back
    free = shutil.disk_usage(part.parent).free + reusable
    if size is not None and size - have > free:
        raise MiniragError(
            f"{part.stem} needs {size - have:,} bytes more, {part.parent} has {free:,}; free space or choose another folder"
        )


# --- HTTP ---------------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _get(session: requests.Session, request: Request, headers: dict[str, str]) -> Iterator[requests.Response]:
    """GET with redirects followed by hand, so that each hop is judged before anything is sent to it."""
    url = request.url
    for _ in range(10):
        with session.get(url, headers=headers, stream=True, allow_redirects=False, timeout=TIMEOUT) as response:
            if response.status_code not in REDIRECTS:
                _check_status(response, url)
                yield response
                return
            url = urljoin(url, response.headers.get("Location", ""))
        _check_scheme(request, url)
        _check_host(request, url)
    raise MiniragError(f"{request.url} redirects in circles; report it to its publisher")


def _check_status(response: requests.Response, url: str) -> None:
    status = response.status_code
    if status == 429 or status >= 500:
        raise _Cut(f"HTTP {status}")
    if status not in (200, 206, 416):
        raise MiniragError(
            f"{url} answers HTTP {status} {response.reason}; the file has moved or is not public, look for its new address"
        )


def _check_scheme(request: Request, url: str) -> None:
    parts, first = urlsplit(url), urlsplit(request.url)
    local = parts.scheme == first.scheme == "http" and parts.hostname in LOOPBACK and first.hostname in LOOPBACK
    if parts.scheme != "https" and not local:
        raise MiniragError(f"{request.url} leads to {url}, which is not https; it was not fetched, look for an https address")


def _check_host(request: Request, url: str) -> None:
    host = urlsplit(url).hostname or ""
    listed = any(host == entry or (entry.startswith(".") and host.endswith(entry)) for entry in request.hosts)
    if not (request.trusted or listed or host == urlsplit(request.url).hostname):
        raise MiniragError(
            f"{request.url} redirects to another host, {host}, and no checksum is known to tell whether its file is right; "
            "it was not fetched, fetch it by hand or add the host to the source's 'hosts'"
        )


def _validator(response: requests.Response) -> str | None:
    """What names this version of the file: a strong ETag, else its date. Weak ETags do not promise equal bytes."""
    etag = response.headers.get("ETag")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")


def _total(response: requests.Response) -> int | None:
    """Size of the whole file, from "Content-Range: bytes 5-9/10" or from Content-Length."""
    length = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        length = response.headers.get("Content-Range", "").rpartition("/")[2]
    return int(length) if length.isdigit() else None


def _starts_at(response: requests.Response, have: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {have}-")


# --- the note beside a partial file -------------------------------------------------------------------------------------------


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _begun(part: Path, url: str) -> tuple[int, dict[str, Any]]:
    """Bytes already there and the note on the version they belong to; nothing where that version is not known."""
    if not (part.exists() and _note(part).exists()):
        return 0, {}
    note = read_json(_note(part))
    return (part.stat().st_size, note) if note["url"] == url and note["validator"] else (0, {})
