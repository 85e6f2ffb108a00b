"""`chromaroute`: colorize, serve, bundle show, bundle verify."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
import uvicorn
from rich.console import Console
from rich.table import Table

from app import folder_run
from app.main import create_app
from app.settings import load_settings
from models.bundle import EVERYDAY, load_bundle, verify_bundle
from models.ensemble import Ensemble, Options
from models.errors import ChromarouteError
from models.manifest import read_manifest
from models.runtime import Runtime

app = typer.Typer(no_args_is_help=True, help="Colour black-and-white photographs.", pretty_exceptions_enable=False)
bundle_app = typer.Typer(no_args_is_help=True, help="Look into a bundle.")
app.add_typer(bundle_app, name="bundle")

Folder = Annotated[Path, typer.Argument(help="Folder of the bundle.")]


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
    report: Annotated[Path | None, typer.Option(help="Write every decision record to this JSON file.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle.")] = None,
) -> None:
    """Colour pictures. Folders are walked, and what is finished is skipped when the command is run again."""
    options = Options(None if category == "auto" else category, routing == "soft", threshold, format, quality, saturation)
    settings = load_settings(bundle=bundle)
    jobs = folder_run.plan(paths, out, format)
    ensemble = Ensemble(load_bundle(settings.bundle), Runtime(settings.device, settings.precision))
    ensemble.bundle.router.check(options.category)
    console = Console(stderr=True)
    skipped = sum(job.target.exists() for job in jobs)
    done, failures = folder_run.run(jobs, ensemble, options, settings.max_pixels, console, report)
    console.print(f"{done} coloured, {skipped} already there, {len(failures)} failed")
    for path, message in failures.items():
        console.print(f"{path}: {message}", style="red", markup=False, highlight=False)
    if failures:
        raise typer.Exit(1)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle.")] = None,
) -> None:
    """Serve the API and the page."""
    uvicorn.run(create_app(load_settings(bundle=bundle)), host=host, port=port, server_header=False)


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
