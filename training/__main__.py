"""`chromaroute-train`: collect and prepare data, train, publish and evaluate bundles, survey people."""

import sys

import typer

from models.errors import ChromarouteError
from training.cli import bundles, data, hints, runs, survey

app = typer.Typer(no_args_is_help=True, help="Train colorizers and publish them as bundles.", pretty_exceptions_enable=False)

app.command("collect")(data.collect_pictures)
for _command in (
    data.prepare, data.palette, runs.recipes, runs.train, runs.plot, runs.compare, runs.cross, runs.judge,
    bundles.publish, bundles.evaluate, bundles.render, hints.hints,
):  # fmt: skip
    app.command()(_command)

survey_app = typer.Typer(no_args_is_help=True, help="Blind surveys: build them from bundles, and count the votes.")
survey_app.command()(survey.build)
survey_app.command()(survey.tally)
app.add_typer(survey_app, name="survey")


def main() -> None:
    """Run the command. Errors of the project end it with their message and exit code 1; other errors show their traceback."""
    try:
        app()
    except ChromarouteError as error:
        sys.exit(f"chromaroute-train: {error}")
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(f"chromaroute-train: {error.filename} cannot be used: {error.strerror}.")


if __name__ == "__main__":
    main()
