"""The command `bundle import`: a published network, or an ONNX file, as an expert of a new bundle."""

import hashlib
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.settings import load_settings
from models.bundle_header import EVERYDAY
from models.errors import CheckpointError, OptionError
from models.published.catalog import ONNX, CatalogEntry, find_entry

EVERYDAY_NAME = "everyday"  # names the embedded bundle


def import_bundle(
    network: Annotated[str, typer.Argument(help="eccv16, siggraph17, ddcolor (docs/networks.md), or onnx: a file of yours.")],
    file: Annotated[Path | None, typer.Argument(help="The published file; by default it is downloaded.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the new bundle.")] = Path("bundle"),
    base: Annotated[
        str | None, typer.Option(help="everyday, or the folder of a bundle, whose other experts are kept; by default none is.")
    ] = None,
    category: Annotated[
        str | None, typer.Option("--as", help="Category for which it is the expert; by default the fallback, general.")
    ] = None,
    accept_license: Annotated[bool, typer.Option("--accept-license", help="Accept the license that is shown.")] = False,
    sha256: Annotated[str | None, typer.Option(help="sha256 of the file that you trust.")] = None,
    license: Annotated[str, typer.Option(help="License of an ONNX file.")] = "",
    reads: Annotated[str, typer.Option(help="What an ONNX file reads: rgb (of gray), gray, lightness.")] = "rgb",
    gives: Annotated[str, typer.Option(help="What an ONNX file gives: ab, lab, rgb.")] = "ab",
    scale: Annotated[float, typer.Option(help="White of the input of an ONNX file: 1, 100, 255.")] = 1.0,
    output_scale: Annotated[float, typer.Option(help="Factor on the ab of an ONNX file; white of its RGB.")] = 1.0,
    size: Annotated[int, typer.Option(help="Working size of an ONNX file that takes any.")] = 512,
) -> None:
    """Make a bundle with a published network, which is converted, or with an ONNX file, which is tried."""
    entry = None if network == ONNX else find_entry(network)
    if entry is None and file is None:
        raise OptionError("FILE", None, "the ONNX file")
    _check_license(network, entry.license if entry else license, entry.terms if entry else "", accept_license)
    console = Console(stderr=True)
    path = file or _downloaded(network, find_entry(network), console)
    _check_digest(path, entry if file is None else None, sha256, console)

    from models.published.importing import add_expert  # imports torch, which other commands need not
    from models.published.new_experts import onnx_expert, published_expert

    if entry is None:
        expert = onnx_expert(path, license, reads, gives, scale, output_scale, size)
    else:
        expert = published_expert(network, entry, path)
    folder = EVERYDAY if base in (None, EVERYDAY_NAME) else Path(str(base))
    manifest = add_expert(expert, folder, out, category, keep_experts=base is not None)
    served = [name for name, used in manifest.categories.items() if used == expert.name]
    print(f"{out}: {expert.name} colorizes {', '.join(served) if len(served) < len(manifest.categories) else 'every category'}")


def _check_license(network: str, license: str, terms: str, accepted: bool) -> None:
    if not license:
        raise OptionError("--license", "", "the license of the ONNX file, which the card of the expert states")
    if not accepted:
        raise OptionError(
            "--accept-license", False, f"--accept-license, if you accept the license of {network}: {license} {terms}".rstrip()
        )


def _downloaded(network: str, entry: CatalogEntry, console: Console) -> Path:
    from app.cli.downloads import download  # imports an HTTP client, which other commands need not

    path = load_settings().cache_dir / "downloads" / f"{network}{Path(entry.url).suffix}"
    columns = TextColumn(network), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(network, total=entry.bytes)
        download(entry.url, path, entry.bytes, lambda done, total: progress.update(bar, completed=done, total=total))
    return path


def _check_digest(path: Path, entry: CatalogEntry | None, trusted: str | None, console: Console) -> None:
    """Compare a file with the sha256 of the user, or of the catalog; a downloaded file must have one."""
    if not path.is_file():
        raise OptionError("FILE", str(path), "a file that exists")
    with path.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    console.print(f"{path}: {path.stat().st_size} bytes, sha256 {found}", markup=False, highlight=False, soft_wrap=True)
    expected = trusted or (entry.sha256 if entry else "")
    begins = entry.sha256_begins if entry else ""
    if (expected and found != expected.lower()) or not found.startswith(begins):
        if entry is not None:
            path.unlink()
        raise CheckpointError(f"the sha256 of {path} is {found} and not {expected or begins + '...'}: do not use this file.")
    if entry is not None and not expected:
        raise OptionError(
            "--sha256", None, f"the sha256 that you trust, because the catalog knows none; that of the file is {found}"
        )
