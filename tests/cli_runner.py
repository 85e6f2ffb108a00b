"""Runs `chromaroute-train`, in this process or in one of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from typer.testing import CliRunner

from training.__main__ import app

ROOT = Path(__file__).parents[1]


def invoke(*arguments: object) -> str:
    """Run a command in this process; returns its output, or raises its error."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output


def start(*arguments: object, launcher: tuple[str, ...] = ("-m", "training")) -> subprocess.Popen[str]:
    """Start a command in its own process, with output and errors in one pipe."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    command = [sys.executable, *launcher, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # background jobs of a shell inherit that it is ignored
    )  # fmt: skip


def set_options(changes: Iterable[str]) -> list[str]:
    """The options that change values of a recipe."""
    return [part for change in changes for part in ("--set", change)]
