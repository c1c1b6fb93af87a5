"""Recordings in a bucket: s3fs against a server on loopback that speaks the S3 protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import s3fs
from click.testing import CliRunner
from moto.server import DomainDispatcherApplication, create_backend_app
from small_stores import equal, write
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

import audiocls
from audiocls.cli import main

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
REFUSED = "<Error><Code>InvalidAccessKeyId</Code><Message>No such key id.</Message></Error>"

# A request → what is answered in place of the server, or None.
Fault = Callable[[Request], Response | None]


class Server:
    """moto's S3, with a fault before it where a test wants one."""

    def __init__(self) -> None:
        self.fault: Fault = lambda request: None
        moto = DomainDispatcherApplication(create_backend_app)

        def answer(environ: Any, start: Any) -> Any:
            return (self.fault(Request(environ)) or moto)(environ, start)

        self.server = make_server("127.0.0.1", 0, answer, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.server.serve_forever)
    thread.start()
    yield server
    server.server.shutdown()
    server.server.server_close()
    thread.join()


@pytest.fixture
def bucket(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client, and the recordings in its bucket; they are on the disk as well."""
    s3fs.S3FileSystem.clear_instance_cache()
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": server.url, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    client = boto3.client("s3")
    client.create_bucket(Bucket="sounds")
    rows = ["file_name,label,room"]
    for i in range(6):
        file = tmp_path / f"data/class {i % 2}/{i}.wav"
        write(file, i)
        key = f"data/class {i % 2}/{i}.wav"
        client.put_object(Bucket="sounds", Key=key, Body=file.read_bytes())
        rows.append(f"class {i % 2}/{i}.wav,class {i % 2},barn")
    (tmp_path / "data/list.csv").write_text("\n".join(rows))
    client.put_object(Bucket="sounds", Key="data/list.csv", Body="\n".join(rows).encode())
    yield client
    server.fault = lambda request: None
    client.close()


def run(url: str, out: Path | str, *options: str) -> tuple[int, str]:
    command = ["extract", url, "--feature", "mel-16k", "--out", str(out), *options]
    result = CliRunner().invoke(main, command)
    return result.exit_code, result.stderr


@pytest.mark.parametrize("end", ["", "/list.csv"])
def test_a_bucket(bucket: Any, tmp_path: Path, end: str) -> None:
    """A folder of class folders, and a manifest."""
    remote = audiocls.extract(f"s3://sounds/data{end}", "mel-16k", tmp_path / "remote", threads=4)
    local = audiocls.extract(f"{tmp_path}/data{end}", "mel-16k", tmp_path / "local")
    assert equal(remote, local)
    assert remote.about["data"] == "s3://sounds/data"
    head = bucket.head_object(Bucket="sounds", Key="data/class 0/0.wav")
    assert remote.recordings[0].mtime_ns == int(head["LastModified"].timestamp()) * 10**9


def test_slow_and_failing_responses(bucket: Any, server: Server, tmp_path: Path) -> None:
    """What the server asks to be tried again is; what it never gives is one failure."""
    asked: dict[str, int] = {}

    def fault(request: Request) -> Response | None:
        name = request.path.rpartition("/")[2]
        asked[name] = asked.get(name, 0) + 1
        if name == "0.wav" and asked[name] < 3:
            return Response(SLOW_DOWN, 503, content_type="application/xml")
        if name == "1.wav":
            time.sleep(1.5)
        if name == "2.wav":
            return Response("<Error><Code>AccessDenied</Code></Error>", 403)
        return None

    server.fault = fault
    store = audiocls.extract("s3://sounds/data", "mel-16k", tmp_path / "store")
    errors = {r.path: r.error for r in store.recordings if r.error}
    assert list(errors) == ["class 0/2.wav"]
    assert errors["class 0/2.wav"].startswith("cannot be read: ")
    assert asked["0.wav"] == 3
    assert store.counts["ok"] == 5


def test_what_is_not_there(bucket: Any, tmp_path: Path) -> None:
    for url in ("s3://no-such-bucket/data", "s3://sounds/nothing", "s3://sounds/list.csv"):
        code, text = run(url, tmp_path / "store")
        assert (code, text.count("\n")) == (2, 1), text
        assert f"DATA '{url}' is invalid: there is nothing" in text


def test_who_has_no_credentials(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    s3fs.S3FileSystem.clear_instance_cache()
    code, text = run("s3://sounds/data", tmp_path / "store")
    assert (code, text.count("\n")) == (1, 1), text
    assert "s3://sounds/data: cannot be listed:" in text
    assert "credentials" in text
    assert not (tmp_path / "store").exists()


def test_whose_credentials_are_refused(bucket: Any, server: Server, tmp_path: Path) -> None:
    server.fault = lambda request: Response(REFUSED, 403, content_type="application/xml")
    code, text = run("s3://sounds/data", tmp_path / "store")
    assert (code, text.count("\n")) == (1, 1), text
    assert text.startswith("audiocls extract: s3://sounds/data: cannot be listed: ")
    assert "No such key id." in text or "InvalidAccessKeyId" in text
    assert not (tmp_path / "store").exists()


def test_a_server_that_is_not_there(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    code, text = run("s3://sounds/data", tmp_path / "store")
    assert (code, text.count("\n")) == (1, 1), text
    assert "cannot be listed: Could not connect to the endpoint" in text


# --- stores in a bucket ---

STORE = "s3://sounds/features/mel-16k"


@pytest.fixture
def cache(bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no stores in the bucket."""
    for name in keys(bucket):
        bucket.delete_object(Bucket="sounds", Key=f"features/mel-16k/{name}")
    monkeypatch.setenv("AUDIOCLS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keys(client: Any) -> list[str]:
    found = client.list_objects_v2(Bucket="sounds", Prefix="features/").get("Contents", [])
    return [entry["Key"].removeprefix("features/mel-16k/") for entry in found]


def test_a_store_in_a_bucket(
    bucket: Any, server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through failing and slow answers, there and back; the bytes are those on a disk."""
    asked: dict[str, int] = {}

    def fault(request: Request) -> Response | None:
        name = request.path.rpartition("/")[2]
        asked[name] = asked.get(name, 0) + 1
        if name in ("00000.npy", "store.json") and asked[name] % 3:
            return Response(SLOW_DOWN, 503, content_type="application/xml")
        if name == "recordings.csv":
            time.sleep(1)
        return None

    server.fault = fault
    audiocls.extract(tmp_path / "data", "mel-16k", STORE)
    local = audiocls.extract(tmp_path / "data", "mel-16k", tmp_path / "local")
    for name in keys(bucket):
        sent = bucket.get_object(Bucket="sounds", Key=f"features/mel-16k/{name}")["Body"].read()
        assert sent == (local.path / name).read_bytes(), name
    assert "store.json" in keys(bucket)
    monkeypatch.setenv("AUDIOCLS_CACHE", str(tmp_path / "elsewhere"))
    fetched = audiocls.open_store(STORE)
    assert fetched.path.is_relative_to(tmp_path / "elsewhere")
    assert equal(fetched, local)


def test_parts_in_a_bucket(bucket: Any, cache: Path, tmp_path: Path) -> None:
    data, local = "s3://sounds/data", tmp_path / "local"
    for shard in ("2/2", "1/2"):
        code, text = run(data, STORE, "--shard", shard)
        assert code == 0, text
        assert f"next: audiocls merge {STORE}, once" in text
    done = CliRunner().invoke(main, ["merge", STORE])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{STORE}: ")
    assert equal(audiocls.open_store(STORE), audiocls.extract(data, "mel-16k", local))


def test_a_bucket_that_takes_no_store(
    bucket: Any, server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said before anything is made."""
    data = str(tmp_path / "data")

    def told(url: str) -> str:
        code, text = run(data, url)
        assert code != 0
        assert text.count("\n") == 1, text
        assert not list(cache.rglob("*.npy"))
        return text

    assert "store 's3://no-such-bucket/mel' is invalid: " in told("s3://no-such-bucket/mel")
    server.fault = lambda request: Response(REFUSED, 403, content_type="application/xml")
    assert f"{STORE}: cannot be written: " in told(STORE)
    server.fault = lambda request: None
    for name in KEYS:
        monkeypatch.delenv(name)
    s3fs.S3FileSystem.clear_instance_cache()
    assert "credentials" in told(STORE)


def test_a_store_that_cannot_be_fetched(
    bucket: Any, server: Server, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audiocls.extract(tmp_path / "data", "mel-16k", STORE)
    monkeypatch.setenv("AUDIOCLS_CACHE", str(tmp_path / "elsewhere"))

    def fault(request: Request) -> Response | None:
        refused = request.path.endswith("00000.npy")
        return Response(REFUSED, 403, content_type="application/xml") if refused else None

    server.fault = fault
    for command in (["info", STORE], ["train", "--model", "lstm", "--features", STORE]):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 1
        assert f"{STORE}/shards/00000.npy: cannot be read: " in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    server.fault = lambda request: None
    assert CliRunner().invoke(main, ["info", STORE]).exit_code == 0
