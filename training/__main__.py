"""`chromaroute-train`: collect, prepare, train, look, publish, evaluate, ask people."""

import sys

import typer

from models.errors import ChromarouteError
from training.cli import bundles, data, runs, survey

app = typer.Typer(no_args_is_help=True, help="Train colorizers and make bundles of them.", pretty_exceptions_enable=False)

app.command("collect")(data.collect_pictures)
for _command in (
    data.prepare, data.colors, runs.recipes, runs.train, runs.plot, runs.compare, runs.cross,
    bundles.publish, bundles.evaluate, bundles.judge,
):  # fmt: skip
    app.command()(_command)

survey_app = typer.Typer(no_args_is_help=True, help="Ask people, blind.")
survey_app.command()(survey.build)
survey_app.command()(survey.tally)
app.add_typer(survey_app, name="survey")


def main() -> None:
    """The command; our own errors end it with their message and exit code 1, anything else is a fault and shows its traceback."""
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
