from __future__ import annotations

import hashlib
import io
import re
import threading
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kgrec import fetch as module
from kgrec.datasets import DATASETS, Dataset, RemoteFile
from kgrec.errors import ConfigError, DataError
from kgrec.fetch import fetch, list_datasets

CONTENT = bytes(range(256)) * 20_000  # 5 MB, several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Files in memory, and the ways in which a server can misbehave."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str | None] = []
        self.cut_after: int | None = None
        self.ranges = True
        self.etag = '"v1"'
        self.statuses: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        content = server.files.get(self.path.lstrip("/"))
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        if content is None:
            self.send_error(404)
            return
        first = int(re.findall(r"\d+", asked)[0]) if asked else 0
        fresh = self.headers.get("If-Range", server.etag) == server.etag
        if asked and server.ranges and fresh:
            if first >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            content = content[first:]
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if server.etag:
            self.send_header("ETag", server.etag)
        self.end_headers()
        cut, server.cut_after = server.cut_after, None
        with suppress(ConnectionError):  # a client that gives up
            self.wfile.write(content[:cut])
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    server.files["file.bin"] = CONTENT
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def dataset(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def one(name: str, *files: RemoteFile) -> Dataset:
        return Dataset(name, "about", "http://page", files, "licence", "citation", "schema")

    monkeypatch.setattr(
        module,
        "DATASETS",
        (
            one("known", RemoteFile(f"{server.url}/file.bin", SHA256)),
            one("unknown", RemoteFile(f"{server.url}/file.bin")),
            one("zipped", RemoteFile(f"{server.url}/files.zip", unpack=True)),
        ),
    )


pytestmark = pytest.mark.usefixtures("dataset")


def get(name: str, folder: Path, **options: object) -> list[Path]:
    return fetch(name, folder, wait_seconds=0.0, **options)  # type: ignore[arg-type]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_is_not_fetched_twice(server: Server, tmp_path: Path) -> None:
    (path,) = get("known", tmp_path)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["SHA256SUMS", "file.bin"]
    assert (tmp_path / "SHA256SUMS").read_text() == f"{SHA256}  file.bin\n"
    get("known", tmp_path)
    assert server.asked == [None]


def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.cut_after = 2_500_000
    (path,) = get("unknown", tmp_path)
    assert path.read_bytes() == CONTENT
    assert len(server.asked) == 2
    assert server.asked[1] is not None


def test_a_second_call_goes_on_where_the_first_stopped(server: Server, tmp_path: Path) -> None:
    server.cut_after = 3_000_000
    with pytest.raises(DataError, match="run the same again to go on"):
        get("known", tmp_path, attempts=1)
    kept = (tmp_path / "file.bin.part").stat().st_size
    assert kept >= 2 << 20
    get("known", tmp_path)
    assert server.asked[1] == f"bytes={kept}-"
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_server_without_range_is_read_from_the_start(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.cut_after = 2_500_000
    (path,) = get("known", tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_read_from_the_start(
    server: Server, tmp_path: Path
) -> None:
    server.cut_after = 2_500_000
    with pytest.raises(DataError):
        get("unknown", tmp_path, attempts=1)
    server.files["file.bin"], server.etag = CONTENT[::-1], '"v2"'
    (path,) = get("unknown", tmp_path)
    assert path.read_bytes() == CONTENT[::-1]


def test_without_hash_or_tag_a_part_is_not_trusted(server: Server, tmp_path: Path) -> None:
    server.etag = ""
    server.cut_after = 2_500_000
    with pytest.raises(DataError):
        get("unknown", tmp_path, attempts=1)
    (path,) = get("unknown", tmp_path)
    assert server.asked == [None, None]
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_already_whole_is_accepted(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    (path,) = get("known", tmp_path)
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["SHA256SUMS", "file.bin"]


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    (path,) = get("known", tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_wrong_hash_is_refused_and_the_file_set_aside(server: Server, tmp_path: Path) -> None:
    server.files["file.bin"] = b"something else"
    with pytest.raises(DataError, match=f"not {SHA256}"):
        get("known", tmp_path)
    assert names(tmp_path) == ["file.bin.bad"]


def test_a_file_altered_after_it_was_recorded_is_refused(server: Server, tmp_path: Path) -> None:
    (path,) = get("unknown", tmp_path)
    path.write_bytes(b"edited")
    with pytest.raises(DataError, match="delete it and fetch again"):
        get("unknown", tmp_path)
    path.unlink()
    server.files["file.bin"] = b"changed on the server"
    with pytest.raises(DataError, match="has changed"):
        get("unknown", tmp_path)


def test_a_file_put_there_by_hand_is_recorded(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file.bin").write_bytes(b"mine")
    get("unknown", tmp_path)
    assert "nothing vouches for it" in capsys.readouterr().err
    assert server.asked == []


def test_not_found_names_the_address_and_the_page(server: Server, tmp_path: Path) -> None:
    server.files.clear()
    with pytest.raises(DataError, match=r"file\.bin: the server answers 404 .*http://page"):
        get("known", tmp_path)


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    get("known", tmp_path)
    assert len(server.asked) == 3


def test_no_network_is_said(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot reach 127\.0\.0\.1"):
        get("known", tmp_path, base_url="http://127.0.0.1:9", attempts=2)


def test_a_disk_too_small_is_said_before_writing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(DataError, match=r"1,000 bytes free, file\.bin needs 5,120,000 more"):
        get("known", tmp_path)


def test_a_disk_that_fills_up_is_said(server: Server, tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "file.bin.part").symlink_to(full)
    with pytest.raises(DataError, match="No space left on device"):
        get("known", tmp_path)


def test_a_zip_is_unpacked_inside_the_folder_only(server: Server, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("set/ratings.inter", "user_id:token\n")
        archive.writestr("../../escape.item", "item_id:token\n")
    server.files["files.zip"] = buffer.getvalue()
    folder = tmp_path / "data"
    assert [path.name for path in get("zipped", folder)] == ["ratings.inter", "escape.item"]
    assert names(folder) == ["SHA256SUMS", "escape.item", "files.zip", "ratings.inter"]
    assert names(tmp_path) == ["data"]


def test_a_zip_that_is_none_is_refused(server: Server, tmp_path: Path) -> None:
    server.files["files.zip"] = b"<html>please log in</html>"
    with pytest.raises(DataError, match="not a whole zip"):
        get("zipped", tmp_path)


def test_a_mirror_holds_the_same_names(server: Server, tmp_path: Path) -> None:
    server.files = {"mirror/file.bin": CONTENT}
    (path,) = get("known", tmp_path, base_url=f"{server.url}/mirror/")
    assert path.read_bytes() == CONTENT
    with pytest.raises(ConfigError, match="not a web address"):
        get("known", tmp_path, base_url="file:///etc")


def test_names_and_categories_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DATASETS", DATASETS)
    with pytest.raises(ConfigError, match="did you mean 'amazon-2018'"):
        get("amazon-2019", tmp_path)
    with pytest.raises(ConfigError, match="comes by category; give one of: Amazon_Instant"):
        get("amazon-2014", tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'Beauty'"):
        get("amazon-2014", tmp_path, category="beauty")
    with pytest.raises(ConfigError, match="leave out the category"):
        get("kgat-amazon-book", tmp_path, category="Beauty")
    with pytest.raises(DataError, match="log in at https://tianchi"):
        get("taobao-userbehavior", tmp_path)


def test_the_table_of_data_sets_is_whole() -> None:
    assert len({d.name for d in DATASETS}) == len(DATASETS) >= 9
    for dataset in DATASETS:
        assert dataset.page.startswith("https://")
        assert bool(dataset.files) != bool(dataset.by_hand)
        assert dataset.licence
        assert dataset.citation
        for file in dataset.files:
            assert file.url.startswith("https://")
            assert ("{category}" in file.url) == bool(dataset.categories)
            assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    files = [f.at("All_Beauty", None) for f in DATASETS[1].files]
    assert files[1].endswith("/metaFiles2/meta_All_Beauty.json.gz")


def test_list_datasets_gives_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DATASETS", DATASETS)
    assert list_datasets() is DATASETS
