"""The commands: colorize, serve, bundle import, show and verify, key add, list and revoke."""

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from app.api_keys import add_key, read_keys, revoke_key
from app.cli import colorize_files, watch_folders
from app.cli.cluster import colorize_on_cluster
from app.cli.hints import read_hints
from app.cli.import_bundle import import_bundle
from app.cli.option_parameters import with_options
from app.inference.process_tuning import tune_process
from app.logs import configure_logs
from app.settings import Settings, check_exposure, load_settings
from models import pipeline
from models.atomic_files import replace_file
from models.bundle_header import EVERYDAY
from models.engine_options import usable_cores
from models.ensemble import Ensemble
from models.errors import ChromarouteError, OptionError
from models.loading import load_ensemble
from models.manifest import read_manifest
from models.options import Options

app = typer.Typer(no_args_is_help=True, help="Colorize black-and-white photographs.", pretty_exceptions_enable=False)
bundle_app = typer.Typer(no_args_is_help=True, help="Inspect, check and make bundles.")
key_app = typer.Typer(no_args_is_help=True, help="Manage API keys.")
app.add_typer(bundle_app, name="bundle")
app.add_typer(key_app, name="key")
bundle_app.command("import")(import_bundle)

_BESIDE = 2  # pictures that are read, decoded or written while the networks have as many as they take

Folder = Annotated[Path, typer.Argument(help="Folder of the bundle.")]
KeysFile = Annotated[Path, typer.Option(help="File of the keys; the server reads the one that CHROMAROUTE_KEYS names.")]


@app.command()
@with_options(Options)
def colorize(
    options: Options,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="PATHS...", help="Pictures, or folders, which are searched; - is the standard input; with --ray also URLs."
        ),
    ],
    out_name: Annotated[
        str | None, typer.Option("--out", "-o", help="A file for one picture, otherwise a folder; - is the standard output.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Replace outputs that exist.")] = False,
    watch: Annotated[bool, typer.Option(help="Continue with new pictures of the folders as they arrive.")] = False,
    report: Annotated[Path | None, typer.Option(help="Add all decision records and errors to this JSON file.")] = None,
    hint: Annotated[
        list[str] | None, typer.Option(help="Color of a point, as X,Y=#rrggbb, of one picture; may be repeated.")
    ] = None,
    hints: Annotated[
        Path | None, typer.Option(help="JSON file with a list of hints; or for several pictures, with such a list for each name.")
    ] = None,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle.")] = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Work on the Ray cluster of RAY_ADDRESS, or one on this machine: folders or URLs.")
    ] = False,
) -> None:
    """Colorize pictures. Outputs that exist are skipped, so that the command can be repeated."""
    settings = load_settings(bundle=bundle)
    if ray:
        if watch or report is not None or hint or hints is not None or "-" in names:
            raise OptionError("--ray", True, "no --watch, --report, --hint, --hints or - with it")
        colorize_on_cluster(names, out_name, options, settings, force, Console(stderr=True))
        return
    paths, out = [Path(name) for name in names], None if out_name is None else Path(out_name)
    is_stream = Path("-") in paths or out == Path("-")
    chosen = read_hints(hint or [], hints)
    if report is not None and (is_stream or watch):
        raise OptionError("--report", str(report), "no report together with - or --watch")
    if watch and chosen:
        raise OptionError("--watch", True, "no hints, because they are of pictures that exist")
    if is_stream:
        _colorize_stream(paths, out, options.with_hints(chosen.of_one_picture()), settings, force)
        return
    tasks, skipped_files = [], []
    if not watch:
        plan = colorize_files.plan(paths, out, options.format)
        tasks, skipped_files = plan.tasks, plan.skipped
    parallel = 1 if watch or len(tasks) == 1 else settings.threads or usable_cores()
    ensemble = _load_ensemble(settings, options, parallel)
    console = Console(stderr=True)
    if watch:
        with suppress(KeyboardInterrupt):
            watch_folders.watch(paths, out, ensemble, options, settings.max_pixels, console)
        return
    waiting = chosen.of_tasks([task for task in tasks if force or not task.target.exists()], tasks)
    done, failures = colorize_files.run(waiting, ensemble, options, settings.max_pixels, console, report, parallel + _BESIDE)
    skipped = len(tasks) - len(waiting)
    existing = f"{skipped} exist already{' (--force replaces them)' if skipped else ''}"
    console.print(f"{done} colorized, {existing}, {len(failures)} failed, {len(skipped_files)} skipped")
    for path in skipped_files:
        console.print(f"{path}: skipped, not a picture or a file of the system", markup=False, highlight=False, soft_wrap=True)
    for path, message in failures.items():
        console.print(f"{path}: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    if failures:
        raise typer.Exit(1)


def _load_ensemble(settings: Settings, options: Options, parallel: int = 1) -> Ensemble:
    """The ensemble of the settings, for `parallel` pictures at a time, after a check of the requested category."""
    tune_process()
    ensemble = load_ensemble(settings.bundle, replace(settings.engine_options, parallel=parallel))
    ensemble.bundle.router.check(options.category)
    return ensemble


def _colorize_stream(paths: list[Path], out: Path | None, options: Options, settings: Settings, force: bool) -> None:
    """Colorize one picture from the standard input, or to the standard output."""
    if len(paths) != 1 or (paths[0] != Path("-") and not paths[0].is_file()):
        raise OptionError("PATH", ", ".join(map(str, paths)), "one picture, because it is streamed")
    target = None if out == Path("-") else out
    if target is not None:
        options = options.model_copy(update={"format": colorize_files.format_of_output(target, options.format)})
        if target.exists() and not force:
            print(f"{target} exists already (--force replaces it)", file=sys.stderr)
            return
    content = sys.stdin.buffer.read() if paths[0] == Path("-") else paths[0].read_bytes()
    output, _, decision = pipeline.colorize(content, _load_ensemble(settings, options), options, settings.max_pixels)
    if target is None:
        sys.stdout.buffer.write(output)
        sys.stdout.buffer.flush()
    else:
        replace_file(target, output)
    for note in decision.notes:
        print(note, file=sys.stderr)


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8000,
    bundle: Annotated[Path | None, typer.Option(help="Folder of the bundle.")] = None,
    survey: Annotated[Path | None, typer.Option(help="Folder of a blind survey, served at /survey.")] = None,
) -> None:
    """Serve the API and the web page."""
    from app.main import create_app  # imports what only servers need
    from app.server import run_server

    settings = load_settings(bundle=bundle, survey=survey)
    check_exposure(settings, host)
    configure_logs(settings.log_format)
    run_server(create_app(settings), settings, host, port)


@key_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    per_minute: Annotated[int, typer.Option(help="Requests with pictures that it may send a minute.")] = 60,
    admin: Annotated[bool, typer.Option("--admin", help="Let it reload the bundle.")] = False,
    bundle: Annotated[str, typer.Option(help="Bundle that colorizes for it: a folder in that of CHROMAROUTE_BUNDLES.")] = "",
    file: KeysFile = Path("keys.json"),
) -> None:
    """Create a key and show it once; the file stores its hash. A running server reloads the file at SIGHUP."""
    print(add_key(file, name, per_minute, admin, bundle))


@key_app.command("list")
def list_keys(file: KeysFile = Path("keys.json")) -> None:
    """List names and rates of the keys."""
    for key in read_keys(file):
        admin = ", administrator" if key.admin else ""
        bundle = f", bundle {key.bundle}" if key.bundle else ""
        print(f"{key.name}: {key.per_minute} a minute{admin}{bundle}")


@key_app.command("revoke")
def revoke(name: Annotated[str, typer.Argument(help="Name of the key.")], file: KeysFile = Path("keys.json")) -> None:
    """Remove a key from the file."""
    revoke_key(file, name)


@bundle_app.command()
def show(folder: Folder = EVERYDAY) -> None:
    """Show the contents of a bundle."""
    manifest, _ = read_manifest(folder)
    console = Console()
    console.print(f"{manifest.name}: {manifest.description}\nlicense: {manifest.license}", highlight=False)
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
    from models.bundle import verify_bundle  # imports torch, which other commands need not

    problems = verify_bundle(folder)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(1)
    manifest, _ = read_manifest(folder)
    print(f"{manifest.name}: all {len(manifest.cards())} checkpoints are complete and fit their networks")


@bundle_app.command()
def export(
    folder: Folder = EVERYDAY,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the files.")] = Path("onnx"),
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX files, the only format.")] = False,
) -> None:
    """Write the router and the experts of a bundle in a format that other programs read: docs/networks.md."""
    if not onnx:
        raise OptionError("--onnx", False, "--onnx, which is the only format")
    from models.bundle import load_bundle  # imports torch, which other commands need not
    from models.onnx_export import export_onnx

    print(f"{out}: {len(export_onnx(load_bundle(folder), out))} files")


def main() -> None:
    """Run a command. Our own exceptions end it with their message and exit code 1."""
    try:
        app()
    except ChromarouteError as error:
        sys.exit(f"chromaroute: {error}")
