"""`chromaroute bundle import`: published networks and ONNX files become experts of a bundle that colorizes."""

import hashlib
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from app import cli
from app.cli.downloads import DownloadError, download
from models.engine_options import EngineOptions
from models.imaging import Picture
from models.loading import load_ensemble
from models.manifest import read_manifest
from models.options import RouteOptions
from models.published import catalog
from tests.models.published import published_layouts as layouts


def chromaroute(*arguments: object) -> str:
    """The output of a command, or the message of its error."""
    result = CliRunner().invoke(cli.app, [str(argument) for argument in arguments])
    return str(result.exception) if result.exception else result.output


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A published file of eccv16, but small."""
    path = tmp_path / "eccv16.pth"
    torch.save(layouts.eccv16(), path)
    return path


def test_network_becomes_the_general_expert_beside_the_others(published: Path, tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    output = chromaroute("bundle", "import", "eccv16", published, "--base", "everyday", "--out", out, "--accept-license")
    assert f"{out}: eccv16 colorizes general" in output
    manifest, _ = read_manifest(out)
    card = manifest.experts["eccv16"]
    assert (card.family, card.fit, card.working_size, card.license) == ("zhang", "square", 256, "BSD-2-Clause")
    assert manifest.categories["general"] == "eccv16"
    assert manifest.categories["cat"] == "cat"
    assert "BSD-2-Clause" in manifest.license
    assert "complete and fit" in chromaroute("bundle", "verify", out)


@pytest.mark.slow
def test_imported_network_colorizes_in_both_engines(published: Path, tmp_path: Path, photographs: dict[str, Image.Image]) -> None:
    out = tmp_path / "bundle"
    chromaroute("bundle", "import", "eccv16", published, "--out", out, "--accept-license")
    picture = Picture(np.asarray(photographs["city"].convert("L")), None, "png")
    found = []
    for engine in ("torch", "openvino"):
        ensemble = load_ensemble(out, EngineOptions(engine, precision="float32", cache_dir=tmp_path / "cache"))  # type: ignore[arg-type]
        ab, decision = ensemble.predict(picture)
        assert [expert.name for expert in decision.experts] == ["eccv16"]
        assert ab.shape == (1, 2, 64, 64)  # a square, whatever the aspect
        found.append(ab)
    np.testing.assert_allclose(found[0], found[1], atol=1e-2)


def test_network_of_one_category(published: Path, tmp_path: Path) -> None:
    arguments = ("bundle", "import", "eccv16", published, "--out", tmp_path / "bundle", "--accept-license", "--base", "everyday")
    assert "eccv16 colorizes cat" in chromaroute(*arguments, "--as", "cat")
    manifest, _ = read_manifest(tmp_path / "bundle")
    assert [name for name, expert in manifest.categories.items() if expert == "eccv16"] == ["cat"]
    assert "give one of animal, beach" in chromaroute(*arguments, "--as", "tractor")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("eccv17", "{file}", "--accept-license"), "NETWORK is 'eccv17'.*eccv16, siggraph17, ddcolor, .*, onnx"),
        (("eccv16", "{file}"), "if you accept the license of eccv16: BSD-2-Clause https://"),
        (("siggraph17", "{file}", "--accept-license"), "which siggraph17 has not: it is of another network"),
        (("eccv16", "{file}", "--accept-license", "--sha256", "0" * 64), "the sha256 of .* is .* and not 0000"),
        (("eccv16", "{file}.missing", "--accept-license"), "a file that exists"),
        (("onnx",), "FILE is None.*the ONNX file"),
        (("onnx", "{file}"), "the license of the ONNX file"),
        (("onnx", "{file}", "--license", "MIT", "--accept-license"), "OpenVINO cannot read the ONNX file"),
    ],
)
def test_wrong_arguments_are_refused(published: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    given = [argument.replace("{file}", str(published)) for argument in arguments]
    output = chromaroute("bundle", "import", *given, "--out", tmp_path / "bundle")
    assert re.search(message, output), output
    assert not (tmp_path / "bundle").exists()


CONTENT = bytes(range(256)) * 1000


class Flaky(BaseHTTPRequestHandler):
    """Sends a third of a file, then the rest if it is asked for that."""

    ranges: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.ranges.append(self.headers["range"])
        start = int(self.headers["range"].removeprefix("bytes=").removesuffix("-")) if self.headers["range"] else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start:] if start else CONTENT[: len(CONTENT) // 3])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def flaky() -> Iterator[str]:
    Flaky.ranges.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Flaky) as server:
        thread = threading.Thread(target=partial(server.serve_forever, 0.01))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/file.pth"
        server.shutdown()
        thread.join()


def test_interrupted_download_is_continued(flaky: str, tmp_path: Path) -> None:
    path = tmp_path / "file.pth"
    with pytest.raises(DownloadError, match="try again, it continues where it ended"):
        download(flaky, path, len(CONTENT))
    assert not path.exists()
    download(flaky, path, len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert Flaky.ranges == [None, f"bytes={len(CONTENT) // 3}-"]
    download(flaky, path, len(CONTENT))  # it is there
    assert len(Flaky.ranges) == 2


def test_download_whose_sha256_nobody_knows_must_be_trusted(flaky: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMAROUTE_CACHE_DIR", str(tmp_path))
    entry = catalog.find_entry("ddcolor").model_copy(update={"url": flaky})
    monkeypatch.setattr(catalog, "catalog", lambda: {"ddcolor": entry})
    arguments = ("bundle", "import", "ddcolor", "--out", tmp_path / "bundle", "--accept-license")
    assert "continues where it ended" in chromaroute(*arguments)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert f"the catalog knows none; that of the file is {digest}" in chromaroute(*arguments)
    assert "has no tensors that can be read" in chromaroute(*arguments, "--sha256", digest)
    assert "do not use this file" in chromaroute(*arguments, "--sha256", "0" * 64)
    assert not list((tmp_path / "downloads").iterdir())  # a wrong file is deleted


class Red(torch.nn.Module):
    """Stands for a network: a depends on lightness, b does not."""

    def __init__(self, to_ab: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.to_ab = to_ab

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.to_ab(x)


def export(network: torch.nn.Module, x: torch.Tensor, path: Path, dynamic: bool) -> None:
    axes = {"x": {2: "height", 3: "width"}} if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (x,), path, dynamo=False, input_names=["x"], output_names=["y"], dynamic_axes=axes)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_onnx_file_colorizes(tmp_path: Path, engine: str, photographs: dict[str, Image.Image]) -> None:
    path, out = tmp_path / "My Network.onnx", tmp_path / "bundle"
    export(Red(lambda x: torch.cat((x[:, :1] * 40, x[:, 1:2] * 0 + 7), dim=1)), torch.rand(1, 3, 64, 64), path, dynamic=True)
    output = chromaroute(
        "bundle", "import", "onnx", path, "--license", "MIT", "--accept-license", "--base", "everyday", "--out", out, "--size", 64
    )
    assert "my-network colorizes general" in output
    ensemble = load_ensemble(out, EngineOptions(engine, precision="float32", cache_dir=tmp_path / "cache"))  # type: ignore[arg-type]
    picture = Picture(np.full((90, 120), 255, np.uint8), None, "png")
    ab, decision = ensemble.predict(picture, RouteOptions(category="general"))
    assert [expert.name for expert in decision.experts] == ["my-network"]
    assert ab.shape == (1, 2, 64, 64)
    np.testing.assert_allclose(ab[0, :, 5, 5], (40, 7), atol=0.1)
    soft, _ = ensemble.predict(Picture(np.asarray(photographs["cat"].convert("L")), None, "png"), RouteOptions(routing="soft"))
    assert np.isfinite(soft).all()


@pytest.mark.slow
def test_onnx_files_are_tried_before_they_are_imported(tmp_path: Path) -> None:
    path, arguments = tmp_path / "net.onnx", ("--license", "MIT", "--accept-license", "--out", tmp_path / "bundle", "--size", 64)
    export(Red(lambda x: x[:, :2] * 0.4), torch.rand(1, 3, 64, 64), path, dynamic=False)
    assert "its output has another scale" in chromaroute("bundle", "import", "onnx", path, *arguments)
    assert "colorizes every category" in chromaroute("bundle", "import", "onnx", path, *arguments, "--output-scale", 110)
    assert read_manifest(tmp_path / "bundle")[0].experts["net"].arguments["stride"] == 64  # its only size
    assert "give another --reads" in chromaroute("bundle", "import", "onnx", path, *arguments, "--reads", "gray")
    assert "give another --gives" in chromaroute("bundle", "import", "onnx", path, *arguments, "--gives", "lab")
