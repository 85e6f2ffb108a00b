"""`chromaroute-train` in this process."""

from typer.testing import CliRunner

import training.__main__ as command


def run(*arguments: object) -> str:
    """What a command prints; its error if it fails."""
    result = CliRunner().invoke(command.app, [str(each) for each in arguments])
    if result.exception is not None:
        raise result.exception
    return result.output
