"""Words that the code and its documentation do not use: British spellings, and names that were replaced by terms of the field."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RETIRED = re.compile(
    r"colour|(?<![a-z])grey|licence|optimis|normalis|neighbour|behaviour|labell(?!edby)|centre(?!s\b)|modell|artefact"
    r"|\bpaint|repaint|painter|(?<![a-z])namers?\b|\bnaming\b|\bparcels?\b|\berrands?\b|\bgaller(?:y|ies)\b|\bwitness|\bstudios?\b"
    r"|\brivals?\b|workshop|\blearners?\b|\bstrangers?\b|\bmoods?\b",
    re.IGNORECASE,
)
ALLOWED = {  # by file: what may be said there
    "training/config/renamed_keys.py": r".*",  # the old keys of recipes
    "tests/training/test_recipe_errors.py": r".*",
    "tests/test_vocabulary.py": r".*",
    "CHANGELOG.md": r".*",  # tells what was renamed
}
FOREIGN = re.compile(r"\bcolourspace\b|\bgrey16\b")  # names of libvips
SUFFIXES = {".py", ".md", ".toml", ".js", ".html", ".css", ".j2", ".yml", ".yaml", ".json", ""}
LEFT_OUT = ("models/bundles/everyday/manifest.json", "models/imagenet_categories.json", "LICENSE")  # data and a legal text


def texts() -> Iterator[tuple[str, str]]:
    """Every text file of the project, by its path."""
    folders = ("app", "bench", "chromaroute", "deploy", "docs", "models", "tests", "training")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*")] + list(ROOT.iterdir())
    for path in sorted(paths):
        name = path.relative_to(ROOT).as_posix()
        if path.is_file() and path.suffix in SUFFIXES and name not in LEFT_OUT and not path.name.startswith("."):
            yield name, path.read_text()


def test_retired_words_are_not_used() -> None:
    found = []
    for name, text in texts():
        for number, line in enumerate(text.splitlines(), 1):
            words = (
                {match[0] for match in RETIRED.finditer(FOREIGN.sub("", line))}
                if not re.fullmatch(ALLOWED.get(name, "$^"), line)
                else set()
            )
            found += [f"{name}:{number}: {', '.join(sorted(words))}"] if words else []
        assert name in ALLOWED or not RETIRED.search(name), name
    assert not found, "\n".join(found)


@pytest.mark.parametrize("word", ["colour", "Greyscale", "painted", "a namer", "the parcel", "neighbouring"])
def test_retired_words_are_recognized(word: str) -> None:
    assert RETIRED.search(word)


def test_documents_say_whom_they_are_for() -> None:
    for path in [*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md"]:
        opening = path.read_text().split("\n\n")[1]
        assert re.search(r"This (page|file) is for", opening), path.name
