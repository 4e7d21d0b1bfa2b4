"""Downloads against a server on the loopback that can be told to misbehave in every way we know of."""

import errno
import gzip
import hashlib
import http.server
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import namedtuple
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from minirag.corpus import download as downloads
from minirag.corpus import fetch
from minirag.corpus.download import LOCK_NAME, Source, download, sources
from minirag.corpus.unpack import unpack
from minirag.errors import MiniragError

BODY = bytes(range(256)) * 40  # 10,240 bytes
OTHER = BODY[::-1]
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Site:
    """What the server serves and how it misbehaves; `seen` are the Range headers it got, None for a plain GET."""

    port: int = 0
    body: bytes = BODY
    etag: str | None = '"one"'
    ranges: bool = True
    if_range: bool = True
    piece: int | None = None  # at most so many bytes in one answer to a Range
    cuts: list[int] = field(default_factory=list)  # bytes after which each of the next answers breaks off
    statuses: list[int] = field(default_factory=list)  # statuses of the next answers
    redirect: str | None = None
    seen: list[str | None] = field(default_factory=list)

    def source(self, **changes: object) -> Source:
        return replace(Source("x", f"http://127.0.0.1:{self.port}/x.bin", "x.bin"), **changes)


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        site: Site = self.server.site  # type: ignore[attr-defined]
        if site.redirect and self.path == "/x.bin":
            self.send_response(302)
            self.send_header("Location", site.redirect)
            return self.end_headers()
        asked = self.headers.get("Range")
        site.seen.append(asked)
        if site.statuses:
            self.send_response(site.statuses.pop(0))
            return self.end_headers()
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and site.ranges else 0
        if site.if_range and self.headers.get("If-Range") != site.etag:
            start = 0
        if start >= len(site.body):
            self.send_response(416)
            return self.end_headers()
        body = site.body[start:][: site.piece if start else None]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{len(site.body)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(fetch, "WAIT", 0.0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.site = Site(port=server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.site
        server.shutdown()
        thread.join()


def cut_and_give_up(site: Site, folder: Path, monkeypatch, at: int = 4000, **changes: object) -> None:
    """Leave a partial file of `at` bytes behind, as a cut with no second attempt does."""
    site.cuts = [at]
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "ATTEMPTS", 1)
        with pytest.raises(MiniragError, match="run this again: it resumes"):
            download(site.source(**changes), folder, progress=False)
    assert (folder / "x.bin.part").read_bytes() == BODY[:at]
    assert not (folder / "x.bin").exists()
    site.seen.clear()


def leftovers(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_file_arrives_whole_and_its_first_checksum_is_recorded(site, tmp_path):
    path = download(site.source(), tmp_path, progress=False)
    assert path == tmp_path / "x.bin"
    assert path.read_bytes() == BODY
    assert json.loads((tmp_path / LOCK_NAME).read_text()) == {"x.bin": {"url": site.source().url, "sha256": SHA256}}
    assert leftovers(tmp_path) == {"x.bin", LOCK_NAME}


def test_a_published_checksum_needs_no_record(site, tmp_path):
    download(site.source(sha256=SHA256, size=len(BODY)), tmp_path, progress=True)
    assert leftovers(tmp_path) == {"x.bin"}


def test_a_file_that_is_there_is_checked_and_not_fetched(site, tmp_path):
    download(site.source(), tmp_path, progress=False)
    site.seen.clear()
    download(site.source(), tmp_path, progress=False)
    assert site.seen == []
    (tmp_path / "x.bin").write_bytes(OTHER)
    with pytest.raises(MiniragError, match=f"instead of {SHA256}; move .* away"):
        download(site.source(), tmp_path, progress=False)
    assert (tmp_path / "x.bin").read_bytes() == OTHER, "a user's file is never deleted"


def test_a_cut_is_resumed_where_it_happened(site, tmp_path):
    site.cuts = [3000, 2000]
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    assert site.seen == [None, "bytes=3000-", "bytes=5000-"]


def test_too_many_cuts_end_with_advice_and_the_next_run_resumes(site, tmp_path):
    site.cuts = [1000] * fetch.ATTEMPTS
    with pytest.raises(MiniragError, match=f"broke off {fetch.ATTEMPTS} times"):
        download(site.source(), tmp_path, progress=False)
    site.seen.clear()
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    assert site.seen == [f"bytes={1000 * fetch.ATTEMPTS}-"]


def test_a_server_that_gives_less_than_was_asked_for_is_asked_again(site, tmp_path, monkeypatch):
    cut_and_give_up(site, tmp_path, monkeypatch)
    site.piece = 3000
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    assert site.seen == ["bytes=4000-", "bytes=7000-", "bytes=10000-"]


def test_a_server_without_range_starts_over(site, tmp_path, monkeypatch):
    cut_and_give_up(site, tmp_path, monkeypatch)
    site.ranges = False
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    assert site.seen == ["bytes=4000-"]


@pytest.mark.parametrize("if_range", [True, False])
def test_a_file_that_changed_meanwhile_is_never_glued(site, tmp_path, monkeypatch, if_range):
    cut_and_give_up(site, tmp_path, monkeypatch)
    site.body, site.etag, site.if_range = OTHER, '"two"', if_range  # without if_range: a server that answers 206 regardless
    assert download(site.source(), tmp_path, progress=False).read_bytes() == OTHER
    assert site.seen == (["bytes=4000-"] if if_range else ["bytes=4000-", None])


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_resumed(site, tmp_path, monkeypatch, etag):
    site.etag = etag
    cut_and_give_up(site, tmp_path, monkeypatch)
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    assert site.seen == [None]


def test_a_partial_file_of_another_url_or_without_a_note_is_not_resumed(site, tmp_path, monkeypatch):
    cut_and_give_up(site, tmp_path, monkeypatch)
    note = tmp_path / "x.bin.part.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "url": "https://elsewhere.example/x.bin"}))
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    assert site.seen == [None]


def test_a_complete_partial_file_is_only_checked(site, tmp_path, monkeypatch):
    cut_and_give_up(site, tmp_path, monkeypatch)
    (tmp_path / "x.bin.part").write_bytes(BODY)  # killed between the last byte and the check
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    assert site.seen == []


def test_a_partial_file_longer_than_the_file_starts_over(site, tmp_path, monkeypatch):
    cut_and_give_up(site, tmp_path, monkeypatch)
    (tmp_path / "x.bin.part").write_bytes(BODY + b"more")
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    assert site.seen == [f"bytes={len(BODY) + 4}-", None]


def test_wrong_bytes_are_removed_and_both_checksums_told(site, tmp_path):
    wrong = "0" * 64
    with pytest.raises(MiniragError, match=f"{SHA256} instead of {wrong}"):
        download(site.source(sha256=wrong), tmp_path, progress=False)
    assert leftovers(tmp_path) == set()


def test_a_wrong_size_is_refused(site, tmp_path):
    with pytest.raises(MiniragError, match="10240 bytes instead of 10241"):
        download(site.source(size=len(BODY) + 1), tmp_path, progress=False)
    assert leftovers(tmp_path) == set()


def test_the_recorded_checksum_binds_later_downloads(site, tmp_path):
    download(site.source(), tmp_path, progress=False).unlink()
    site.body, site.etag = OTHER, '"two"'
    with pytest.raises(MiniragError, match=f"instead of {SHA256}.*delete its entry in .*{LOCK_NAME}"):
        download(site.source(), tmp_path, progress=False)
    assert leftovers(tmp_path) == {LOCK_NAME}
    (tmp_path / LOCK_NAME).unlink()
    assert download(site.source(), tmp_path, progress=False).read_bytes() == OTHER


def test_a_full_disk_keeps_what_is_there(site, tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, data) -> int:
            if self.tell() + len(data) > 4096:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    monkeypatch.setattr(fetch, "CHUNK", 2048)
    with monkeypatch.context() as patch:
        patch.setattr(fetch, "open", Full, raising=False)
        with pytest.raises(MiniragError, match="the disk is full"):
            download(site.source(), tmp_path, progress=False)
    assert (tmp_path / "x.bin.part").read_bytes() == BODY[:4096]
    site.seen.clear()
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    assert site.seen == ["bytes=4096-"]


def test_too_little_space_is_told_beforehand(site, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda path: usage(10**6, 10**6, 10_000))
    with pytest.raises(MiniragError, match=r"needs 10,240 bytes more, .* has 10,000"):
        download(site.source(), tmp_path, progress=False)
    assert leftovers(tmp_path) == set()


@pytest.mark.parametrize("status", [404, 403, 204])
def test_a_final_status_is_told_at_once(site, tmp_path, status):
    site.statuses = [status] * 9
    with pytest.raises(MiniragError, match=f"HTTP {status}"):
        download(site.source(), tmp_path, progress=False)
    assert len(site.seen) == 1


def test_a_stumbling_server_is_asked_again_but_not_for_ever(site, tmp_path):
    site.statuses = [503, 429]
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY
    (tmp_path / "x.bin").unlink()
    site.seen.clear()
    site.statuses = [500] * 99
    with pytest.raises(MiniragError, match="HTTP 500"):
        download(site.source(), tmp_path, progress=False)
    assert len(site.seen) == fetch.ATTEMPTS


def test_a_server_that_is_not_there(site, tmp_path):
    gone = site.source(url="http://127.0.0.1:1/x.bin")
    with pytest.raises(MiniragError, match="check the network"):
        download(gone, tmp_path, progress=False)


class TestRedirects:
    def test_on_the_same_host(self, site, tmp_path):
        site.redirect = "/moved"
        assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY

    def test_to_another_host_only_with_a_checksum_or_a_listing(self, site, tmp_path):
        site.redirect = f"http://localhost:{site.port}/moved"
        with pytest.raises(MiniragError, match="another host, localhost, and no checksum is known"):
            download(site.source(), tmp_path / "a", progress=False)
        assert site.seen == [], "nothing was sent to that host"
        assert download(site.source(sha256=SHA256), tmp_path / "b", progress=False).read_bytes() == BODY
        assert download(site.source(hosts=("localhost",)), tmp_path / "c", progress=False).read_bytes() == BODY

    def test_a_listed_suffix_is_a_suffix_of_whole_labels(self, site):
        listed = fetch.Request("https://hub.example/x", hosts=(".cdn.example",))
        fetch._check_host(listed, "https://eu.cdn.example/x")
        for stranger in ("https://evilcdn.example/x", "https://cdn.example.evil/x", "https://cdn.example/x"):
            with pytest.raises(MiniragError, match="another host"):
                fetch._check_host(listed, stranger)

    @pytest.mark.parametrize("place", ["http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd"])
    def test_only_https_or_loopback(self, site, tmp_path, place):
        site.redirect = place
        with pytest.raises(MiniragError, match="not https"):
            download(site.source(sha256=SHA256), tmp_path, progress=False)

    def test_from_https_never_to_http(self):
        with pytest.raises(MiniragError, match="not https"):
            fetch._check_scheme(fetch.Request("https://example.org/x"), "http://127.0.0.1/x")

    def test_circles(self, site, tmp_path):
        site.redirect = "/x.bin"
        with pytest.raises(MiniragError, match="in circles"):
            download(site.source(), tmp_path, progress=False)

    def test_a_plain_http_source_is_refused(self, tmp_path):
        with pytest.raises(MiniragError, match="not https"):
            download(Source("x", "http://example.org/x", "x"), tmp_path, progress=False)


def test_a_file_name_that_leads_out_is_refused(site, tmp_path):
    with pytest.raises(MiniragError, match="outside"):
        download(site.source(file="../x.bin"), tmp_path / "in", progress=False)
    assert site.seen == []


HOLD_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_write_one_file(site, tmp_path):
    command = [sys.executable, "-c", HOLD_LOCK, str(tmp_path / ".x.bin.lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(MiniragError, match="another process is downloading"):
            download(site.source(), tmp_path, progress=False)
        assert site.seen == []
        other.kill()  # a killed process holds no lock
    assert download(site.source(), tmp_path, progress=False).read_bytes() == BODY


def test_a_folder_that_cannot_be_made_is_a_sentence(site, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MiniragError, match="choose another folder"):
        download(site.source(), tmp_path / "file" / "below", progress=False)


TASK_GROUPS = [  # the group, how `what` begins, and its members
    ("nq", "Natural Questions", "train dev"),
    ("triviaqa", "TriviaQA", "unfiltered rc"),
    ("webquestions", "WebQuestions", "trainmodel val devtest test"),
    ("curatedtrec", "CuratedTREC", "train test"),
    ("msmarco", "MS MARCO", "train dev"),
    ("jeopardy", "Jeopardy", "j-archive seasons"),
    ("searchqa", "SearchQA", "train val test"),
    ("fever", "FEVER", "train paper_dev paper_test shared_task_dev wiki-pages"),
    (
        "kilt",
        "KILT",
        "nq/train nq/dev nq/test triviaqa/train triviaqa/dev triviaqa/test fever/train fever/dev fever/test knowledgesource",
    ),
]


class TestSources:
    def test_are_complete_and_honest(self):
        known = sources()
        assert {"psgs_w100", "qas-nq-test", "biencoder-nq-train", "dpr-cp-single-nq", "bart-large/config.json"} <= set(known)
        for source in known.values():
            assert source.url.startswith("https://")
            assert source.what
            assert source.licence
            assert (source.sha256 is None) == (not source.published), "a checksum says where it was published"
            assert source.sha256 is None or len(source.sha256) == 64
        files = [source.file for source in known.values()]
        assert len(set(files)) == len(files), "two sources would overwrite one another"

    def test_the_corpus_is_bound_to_its_published_checksum(self):
        psgs = sources()["psgs_w100"]
        assert psgs.size == 4_694_541_059
        assert psgs.sha256 == "c39b020c855a2b5c25ffef3abe4a3b6f9b829ad7dbc14ec3d163d34d7c53ea8d"

    @pytest.mark.parametrize(("task", "name", "parts"), TASK_GROUPS, ids=[task for task, _, _ in TASK_GROUPS])
    def test_the_groups_of_the_tasks(self, task, name, parts):
        members = {source.name: source for source in downloads._sources_called(task)}
        assert set(members) == {f"{task}/{part}" for part in parts.split()}
        for source in members.values():
            assert source.url.startswith("https://")
            assert Path(source.file).parent == Path(source.name).parent, "a group, or a group in it, is one folder"
            assert Path(source.file).name == source.url.rpartition("/")[2], "a file keeps its publisher's name"
            assert source.what.startswith(name)
            assert source.sha256 is None or (re.fullmatch("[0-9a-f]{64}", source.sha256) and source.size and source.published)
        group, what = zip(*(source.what.rsplit(": ", 1) for source in members.values()), strict=True)
        assert len(set(group)) == 1, "what the list says of the group"
        assert len(set(what)) == len(what), "and of each file, what only it is"

    def test_a_group_within_a_group_leaves_the_large_file_out(self):
        assert [source.name for source in downloads._sources_called("kilt/nq")] == [
            "kilt/nq/train",
            "kilt/nq/dev",
            "kilt/nq/test",
        ]

    def test_a_group_is_all_its_files_in_a_folder(self, site, tmp_path, monkeypatch):
        listed = {f"model/{name}": site.source(name=f"model/{name}", file=f"model/{name}") for name in ("a", "b/c")}
        listed["model-2/d"] = site.source(name="model-2/d", file="model-2/d")
        monkeypatch.setattr(downloads, "sources", lambda: listed)
        assert download("model", tmp_path, progress=False) == tmp_path / "model"
        assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("[abcd]") if path.is_file()} == {
            "model/a",
            "model/b/c",
        }
        assert set(json.loads((tmp_path / LOCK_NAME).read_text())) == {"model/a", "model/b/c"}

    def test_an_unknown_name_lists_the_known_ones(self, tmp_path):
        with pytest.raises(MiniragError, match=r"no source is called 'bart'; choose one of: .*bart-large"):
            download("bart", tmp_path)


class TestUnpack:
    def test_gz_in_a_stream(self, tmp_path):
        (tmp_path / "x.tsv.gz").write_bytes(gzip.compress(BODY))
        assert unpack(tmp_path / "x.tsv.gz", tmp_path / "out") == tmp_path / "out" / "x.tsv"
        assert (tmp_path / "out" / "x.tsv").read_bytes() == BODY

    @pytest.mark.parametrize("damage", ["cut", "flip", "foreign"])
    def test_a_damaged_gz_leaves_nothing(self, tmp_path, damage):
        packed = bytearray(gzip.compress(os.urandom(5000)))
        if damage == "flip":
            packed[-6] ^= 1  # the stored checksum
        (tmp_path / "x.gz").write_bytes({"cut": packed[:-900], "flip": packed, "foreign": b"hello"}[damage])
        with pytest.raises(MiniragError, match="is damaged"):
            unpack(tmp_path / "x.gz", tmp_path / "out")
        assert list((tmp_path / "out").iterdir()) == []

    def test_zip_and_tar(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("deep/x", BODY)
        with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "a.zip", "deep/a.zip")
        assert (unpack(tmp_path / "a.zip", tmp_path / "out") / "deep" / "x").read_bytes() == BODY
        assert (unpack(tmp_path / "b.tar.gz", tmp_path / "out") / "deep" / "a.zip").read_bytes()[:2] == b"PK"

    @pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "C:/x", "..\\x"])
    @pytest.mark.parametrize("kind", ["zip", "tar"])
    def test_members_that_lead_out_are_refused(self, tmp_path, kind, name):
        path = tmp_path / "home" / f"evil.{kind}"
        path.parent.mkdir()
        if kind == "zip":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr(name, b"x")
        else:
            with tarfile.open(path, "w") as archive:
                archive.addfile(tarfile.TarInfo(name), io.BytesIO())
        with pytest.raises(MiniragError, match="leads out of the folder"):
            unpack(path, tmp_path / "home" / "out")
        assert not (tmp_path / "home" / "out" / "evil").exists()

    def test_links_are_refused(self, tmp_path):
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        with zipfile.ZipFile(tmp_path / "l.zip", "w") as archive:
            archive.writestr(info, "/etc/passwd")
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("link")
            member.type, member.linkname = kind, "/etc/passwd"
            with tarfile.open(tmp_path / f"l{kind.decode()}.tar", "w") as archive:
                archive.addfile(member)
        for path in tmp_path.glob("l*"):
            with pytest.raises(MiniragError, match="is a link"):
                unpack(path, tmp_path / "out")

    def test_a_damaged_archive_and_an_unknown_kind(self, tmp_path):
        for name in ("x.zip", "x.tar", "x.tar.gz"):
            (tmp_path / name).write_bytes(b"nonsense" * 100)
            with pytest.raises(MiniragError, match="is damaged"):
                unpack(tmp_path / name, tmp_path / "out")
        with pytest.raises(MiniragError, match=r"is none of"):
            unpack(tmp_path / "x.rar", tmp_path / "out")
