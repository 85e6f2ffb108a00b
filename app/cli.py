"""`chromaroute`: colorize, serve, bundle show and verify, key add, list and revoke."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from app import folder_run
from app.keys import add_key, read_keys, revoke_key
from app.logs import configure_logs
from app.main import create_app
from app.server import run_server
from app.settings import check_exposure, load_settings
from models.bundle import EVERYDAY, load_bundle, verify_bundle
from models.ensemble import Ensemble, Options
from models.errors import ChromarouteError
from models.manifest import read_manifest
from models.runtime import Runtime

app = typer.Typer(no_args_is_help=True, help="Colour black-and-white photographs.", pretty_exceptions_enable=False)
bundle_app = typer.Typer(no_args_is_help=True, help="Look into a bundle.")
key_app = typer.Typer(no_args_is_help=True, help="API keys.")
app.add_typer(bundle_app, name="bundle")
app.add_typer(key_app, name="key")

Folder = Annotated[Path, typer.Argument(help="Folder of the bundle.")]
KeysFile = Annotated[Path, typer.Option(help="File of the keys; CHROMAROUTE_KEYS names it to the server.")]


@app.command()
def colorize(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders that are walked.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A file for one picture, else a folder.")] = None,
    category: Annotated[str, typer.Option(help="Paint with this category's expert.")] = "auto",
    routing: Annotated[Literal["hard", "soft"], typer.Option(help="soft blends the likeliest experts.")] = "hard",
    threshold: Annotated[float | None, typer.Option(help="Least confidence, 0 to 1.")] = None,
    format: Annotated[str, typer.Option(help="auto, jpeg, png, webp or tiff.")] = "auto",
    quality: Annotated[int, typer.Option(help="Of JPEG and WebP, 1 to 100.")] = 90,
    saturation: Annotated[float, typer.Option(help="0 is grey, 1 as painted, 2 at most.")] = 1.0,
    metadata: Annotated[Literal["keep", "strip", "keep-gps"], typer.Option(help="keep leaves a GPS position out.")] = "keep",
    force: Annotated[bool, typer.Option(help="Colour again what is there already.")] = False,
    report: Annotated[Path | None, typer.Option(help="Write every decision record to this JSON file.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle.")] = None,
) -> None:
    """Colour pictures. Folders are walked, and what is finished is skipped when the command is run again."""
    options = Options(None if category == "auto" else category, routing == "soft", threshold, format, quality, saturation, metadata)
    settings = load_settings(bundle=bundle)
    jobs = folder_run.plan(paths, out, format)
    ensemble = Ensemble(load_bundle(settings.bundle), Runtime(settings.device, settings.precision))
    ensemble.bundle.router.check(options.category)
    console = Console(stderr=True)
    waiting = [job for job in jobs if force or not job.target.exists()]
    done, failures = folder_run.run(waiting, ensemble, options, settings.max_pixels, console, report)
    skipped = len(jobs) - len(waiting)
    there = f"{skipped} already there{' (--force colours them again)' if skipped else ''}"
    console.print(f"{done} coloured, {there}, {len(failures)} failed")
    for path, message in failures.items():
        console.print(f"{path}: {message}", style="red", markup=False, highlight=False)
    if failures:
        raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any that is free.")] = 8000,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle.")] = None,
    survey: Annotated[Path | None, typer.Option(help="Folder of a blind survey, to be asked at /survey.")] = None,
) -> None:
    """Serve the API and the page."""
    settings = load_settings(bundle=bundle, survey=survey)
    check_exposure(settings, host)
    configure_logs(settings.log_format)
    run_server(create_app(settings), settings, host, port)


@key_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Who it is for.")],
    per_minute: Annotated[int, typer.Option(help="Requests with pictures that it may send a minute.")] = 60,
    file: KeysFile = Path("keys.json"),
) -> None:
    """Make a key and show it once; the file keeps its hash. A running server reads the file again at SIGHUP."""
    print(add_key(file, name, per_minute))


@key_app.command("list")
def list_keys(file: KeysFile = Path("keys.json")) -> None:
    """Name the keys and their rates."""
    for key in read_keys(file):
        print(f"{key.name}: {key.per_minute} a minute")


@key_app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Whose key.")], file: KeysFile = Path("keys.json")) -> None:
    """Take a key out of the file."""
    revoke_key(file, name)


@bundle_app.command()
def show(folder: Folder = EVERYDAY) -> None:
    """Say what a bundle holds."""
    manifest, _ = read_manifest(folder)
    console = Console()
    console.print(f"{manifest.name}: {manifest.description}\nlicence: {manifest.licence}", highlight=False)
    router = manifest.router
    console.print(f"router: {router.family}, threshold {router.threshold}, fallback {router.fallback}", highlight=False)
    table = Table("category", "expert", "family", "file", "scores")
    for category, name in manifest.categories.items():
        card = manifest.experts[name]
        scores = ", ".join(f"{key} {value:.3f}" for key, value in card.scores.items()) if name == category else ""
        table.add_row(category, name, card.family, card.file, scores)
    console.print(table)


@bundle_app.command()
def verify(folder: Folder = EVERYDAY) -> None:
    """Check every file of a bundle against its card; the exit code is 1 if one is wrong."""
    problems = verify_bundle(folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(1)
    manifest, _ = read_manifest(folder)
    print(f"{manifest.name}: {len(manifest.cards())} checkpoints are whole and fit their networks")


def main() -> None:
    """The command; our own errors end it with their message and exit code 1, anything else is a fault and shows its traceback."""
    try:
        app()
    except ChromarouteError as error:
        sys.exit(f"chromaroute: {error}")


if __name__ == "__main__":
    main()
