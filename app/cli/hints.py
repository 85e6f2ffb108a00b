"""The hints of a command: of one picture, or of several by name."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.cli.colorize_files import FileTask
from models.errors import OptionError
from models.options import Hint, Options

_FORM = re.compile(r"(?P<x>[\d.]+),(?P<y>[\d.]+)=(?P<color>#[0-9a-fA-F]{6})")


@dataclass(frozen=True)
class GivenHints:
    """Hints of the only picture, or of several pictures by their path, or the end of it."""

    single: tuple[Hint, ...]
    named: Mapping[str, tuple[Hint, ...]]

    def __bool__(self) -> bool:
        return bool(self.single or self.named)

    def of_one_picture(self) -> tuple[Hint, ...]:
        """The hints of a picture that has no name.

        Raises:
            OptionError: they are for pictures with names.
        """
        if self.named:
            raise OptionError("--hints", ", ".join(self.named), "a list, because the picture is streamed and has no name")
        return self.single

    def of_tasks(self, waiting: Sequence[FileTask], all_tasks: Sequence[FileTask]) -> list[FileTask]:
        """The tasks with their hints.

        Raises:
            OptionError: there are several pictures and hints without a name, or a name is of no picture, or of several.
        """
        if self.single and len(all_tasks) != 1:
            raise OptionError(
                "--hints", f"{len(self.single)} hints", f"a list for each name, because there are {len(all_tasks)} pictures"
            )
        of = {task.source: self.single for task in all_tasks} if self.single else {}
        for name, hints in self.named.items():
            found = [task.source for task in all_tasks if f"/{task.source.as_posix()}".endswith(f"/{name}")]
            if len(found) != 1:
                raise OptionError("--hints", name, f"the name of one picture; {len(found)} have it")
            of[found[0]] = hints
        return [replace(task, hints=of.get(task.source, ())) for task in waiting]


def read_hints(texts: Sequence[str], file: Path | None) -> GivenHints:
    """The hints of `--hint` and `--hints`.

    Raises:
        OptionError: one is not valid.
    """
    single = []
    for text in texts:
        if not (match := _FORM.fullmatch(text)):
            raise OptionError("--hint", text, "X,Y=#rrggbb, such as 120,80=#1f3a5f")
        single.append(match.groupdict())
    named: dict[str, tuple[Hint, ...]] = {}
    if file is not None:
        try:
            content = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise OptionError("--hints", str(file), f"a JSON file that can be read ({error})") from error
        if isinstance(content, dict):
            named = {name: Options(hints=hints).hints for name, hints in content.items()}
        elif isinstance(content, list):
            single += content
        else:
            raise OptionError("--hints", str(file), "a JSON file with a list of hints, or an object with a list for each name")
    return GivenHints(Options(hints=single).hints, named)
