"""`chromaroute colorize --ray`: folders and buckets on a cluster."""

import logging
import os
import re
import socket
import time
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from app.settings import Settings
from models.errors import OptionError
from models.options import Options


def colorize_on_cluster(
    paths: Sequence[str], out: str | None, options: Options, settings: Settings, force: bool, console: Console
) -> None:
    """Colorize the pictures below paths or URLs; shows progress and rate.

    Raises:
        OptionError: a path does not exist, there is no output folder, or the extra `scale` is not installed.
        Exit: a picture failed.
    """
    try:
        import ray

        from app.cluster.colorize_files import SHOWN, Work, run
        from app.cluster.stores import Store
    except ModuleNotFoundError as error:
        raise OptionError("--ray", True, f"this option with the extra scale installed ({error.name} is missing)") from error
    if out is None:
        raise OptionError("--out", None, "a folder or a URL for the outputs, because --ray writes none beside the inputs")
    roots = tuple(Store(path) for path in paths)
    if missing := [root.url for root in roots if not root.exists()]:
        raise OptionError("PATH", missing[0], "files, folders and URLs that exist")
    outputs = Store(out)
    if inside := [root.url for root in roots if f"{outputs.path}/".startswith(f"{root.path}/")]:
        raise OptionError("--out", out, f"a folder that is not in {inside[0]}, because outputs would become inputs")
    address = os.environ.get("RAY_ADDRESS", "")
    try:
        if match := re.fullmatch(r"([\w.-]+):(\d+)", address):  # Ray itself tries for minutes
            socket.create_connection((match[1], int(match[2])), timeout=10).close()
        ray.init(log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False, ignore_reinit_error=True)
    except OSError as error:
        valid = f"the address of a cluster that answers, with its token in RAY_AUTH_TOKEN ({error})"
        raise OptionError("RAY_ADDRESS", address, valid) from error
    actors = max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    start, summary = time.monotonic(), None
    with Live(console=console, refresh_per_second=2) as live:
        for summary in run(Work(roots, outputs, options, settings, force), actors):
            rate = summary.done / (time.monotonic() - start)
            live.update(Text(f"{summary.done} colorized, {summary.existing} exist already, {summary.failed} failed, {rate:.1f}/s"))
    assert summary is not None
    existing = f"{summary.existing} exist already{' (--force replaces them)' if summary.existing else ''}"
    console.print(f"{summary.done} colorized, {existing}, {summary.failed} failed, {summary.skipped} skipped")
    for path, message in summary.problems.items():
        console.print(f"{path}: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    if summary.failed > SHOWN:
        console.print(f"{summary.failed - SHOWN} more problems are in the Parquet files of {out}/decisions")
    if summary.failed:
        raise typer.Exit(1)
