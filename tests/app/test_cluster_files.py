"""`chromaroute colorize --ray`: folders and buckets, resumed, with bad pictures isolated and decisions in Parquet files."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs
import pyarrow.parquet
import pytest
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner

from app import cli
from app.cluster.stores import Store
from models.errors import OptionError
from tests.server_process import ROOT, free_port

pytestmark = [pytest.mark.server, pytest.mark.slow]


RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}

S3 = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster on this machine."""
    port, environment = free_port(), {**os.environ, **RAY, **S3, "PYTHONPATH": str(ROOT)}
    ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
    start = [*ray, "start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    subprocess.run(start, env=environment, check=True, capture_output=True)
    yield f"127.0.0.1:{port}"
    subprocess.run([*ray, "stop", "--force"], env=environment, capture_output=True, check=False)


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URL of a bucket, in a server that speaks the protocol of S3."""
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"s3://scans/{{}}?endpoint_override={host}:{port}&scheme=http&allow_bucket_creation=true&region=us-east-1"
    server.stop()


def colorize(cluster: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **RAY, **S3, "RAY_ADDRESS": cluster, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "app.cli", "colorize", "--ray", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)


def decisions(files: pyarrow.fs.FileSystem, folder: str) -> dict[str, dict[str, Any]]:
    """The latest decision or problem of each source."""
    rows = pyarrow.parquet.read_table(folder, filesystem=files).to_pylist()
    return {row["source"]: row for row in sorted(rows, key=lambda row: row["time"])}


def test_folder_is_colorized_and_resumed(cluster: str, scans: Path, tmp_path: Path) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    shutil.copytree(scans, box)
    (box / "sub").mkdir()
    shutil.copy(box / "cat.jpg", box / "sub" / "cat.jpg")
    pictures = [path for path in box.rglob("*") if path.is_file() and path.name != "broken.jpg"]
    (box / "notes.txt").write_text("no picture")

    first = colorize(cluster, box, "--out", out)
    assert f"{len(pictures)} colorized, 0 exist already, 1 failed, 1 skipped" in first.stderr, first.stderr
    assert (first.returncode, "broken.jpg: the picture is truncated" in first.stderr) == (1, True)
    records = decisions(pyarrow.fs.LocalFileSystem(), str(out / "decisions"))
    assert len(records) == len(pictures) + 1
    assert json.loads(records[str(box / "sub" / "cat.jpg")]["decision"])["category"] == "cat"
    assert records[str(box / "broken.jpg")]["problem"]

    single = CliRunner().invoke(cli.app, ["colorize", str(box / "cat.jpg"), "--out", str(tmp_path / "alone.jpg")])
    assert single.exit_code == 0
    assert (tmp_path / "alone.jpg").read_bytes() == (out / "cat.jpg").read_bytes()

    (out / "cat.jpg").unlink()
    assert "1 colorized, " in colorize(cluster, box, "--out", out).stderr
    assert not list(out.rglob(".*"))  # nothing is half written


def test_bucket_is_colorized_into_another_folder_of_it(
    cluster: str, bucket: str, scans: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in S3.items():
        monkeypatch.setenv(name, value)
    store = Store(bucket.format("in"))
    store.files.create_dir("scans")
    for name in ("cat.jpg", "flower.jpg", "broken.jpg"):
        store.write(f"box/{name}", (scans / name).read_bytes())
    answer = colorize(cluster, bucket.format("in"), "--out", bucket.format("out"), "--format", "png")
    assert "2 colorized, 0 exist already, 1 failed, 0 skipped" in answer.stderr, answer.stderr
    out = Store(bucket.format("out"))
    assert out.read("box/cat.jpg.png")[:4] == b"\x89PNG"
    records = decisions(out.files, "scans/out/decisions")
    assert records["scans/in/box/flower.jpg"]["output"] == "box/flower.jpg.png"


def test_cluster_that_does_not_answer_is_named(scans: Path, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    answer = colorize(address, scans, "--out", tmp_path)
    assert answer.returncode == 1
    assert f"RAY_ADDRESS is '{address}', which is not valid: give the address of a cluster" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{box}"], "--out is None, which is not valid: give a folder or a URL"),
        (["{box}", "--out", "{box}/out"], "because outputs would become inputs"),
        (["{box}/nothing", "--out", "{box}-out"], "files, folders and URLs that exist"),
        (["{box}", "--out", "{box}-out", "--watch"], "--ray is True, which is not valid: give no --watch"),
        (["nowhere://bucket/x", "--out", "{box}-out"], "PATH is 'nowhere://bucket/x'"),
    ],
)
def test_wrong_calls_are_refused(arguments: list[str], message: str, scans: Path) -> None:
    result = CliRunner().invoke(cli.app, ["colorize", "--ray", *(argument.format(box=scans) for argument in arguments)])
    assert isinstance(result.exception, OptionError)
    assert message in str(result.exception)
