"""Builds a blind survey: colorized pictures with meaningless names, and a key that records which bundle made which (paper 004).

The key stays with the organizer; the folder goes to the server. A picture of a question is drawn from the evaluated pictures of its
category, without repetition.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.progress import track

from models.atomic_files import replace_file, replace_folder
from models.ensemble import Ensemble
from models.imaging import Picture
from training.data.dataset_index import DataError, Entry, read_pictures
from training.data.packs import decode_rgb
from training.evaluation.image_result import merge_rgb

CARD = "survey.json"
TRUTH = "truth"
LONG_SIDE = 512  # pixels, at most
MAX_BUNDLES = 8  # side by side
JPEG = {"quality": 95, "subsampling": 0}  # the same for all, so that a file does not reveal its origin


class KeyEntry(BaseModel):
    """The secret part of a question: `pictures` maps file names to candidates, which are bundles or the truth."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["natural", "real"]
    category: str
    source: str
    pictures: dict[str, str]


class SurveyKey(BaseModel):
    """The key of a survey: `bundles` maps names to labels, `colorized_alike` lists skipped pictures."""

    model_config = ConfigDict(frozen=True)

    survey: str
    seed: int
    bundles: dict[str, str]
    colorized_alike: list[str]
    questions: dict[str, KeyEntry]

    @classmethod
    def read(cls, path: Path) -> "SurveyKey":
        """The key in a file.

        Raises:
            DataError: there is no such file, or it is not a key.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise DataError(
                f"{path} is not the key of a survey ({error}): `survey build` wrote it beside the survey's folder."
            ) from error


@dataclass
class _Draft:
    """The questions during the building: `questions` and `files` are public, `key` is secret."""

    questions: list[dict[str, Any]] = field(default_factory=list)
    key: dict[str, KeyEntry] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    alike: list[str] = field(default_factory=list)

    def add(self, kind: Literal["natural", "real"], entry: Entry, views: Mapping[str, bytes]) -> bool:
        """Add a question about the views of a picture, by candidate; returns False, and adds none, if two of them are the same."""
        names = {candidate: f"{hashlib.sha256(content).hexdigest()[:24]}.jpg" for candidate, content in views.items()}
        if len(set(names.values())) < len(names):
            self.alike.append(entry.name)
            return False
        shown = sorted(names.values())
        id_ = hashlib.sha256(" ".join((kind, *shown)).encode()).hexdigest()[:16]
        self.questions.append({"id": id_, "kind": kind, "pictures": shown})
        candidates = {names[candidate]: candidate for candidate in views}
        self.key[id_] = KeyEntry(kind=kind, category=entry.category, source=entry.name, pictures=candidates)
        self.files |= {names[candidate]: content for candidate, content in views.items()}
        return True


def build(
    bundles: Mapping[str, Ensemble], entries: Sequence[Entry], natural: int, real: int, seed: int, title: str, out: Path, key: Path
) -> SurveyKey:
    """Write a survey to the folder `out`, and its key to the file `key`.

    All bundles colorize all pictures, each with its own router. A question *natural* shows the results side by side; a question
    *real* is about another photograph, and shows each person one of the results or the photograph itself. A picture that two
    bundles colorize in the same way is skipped, and the next one is drawn.

    Args:
        bundles: by name.
        entries: the pictures.
        natural: number of questions of this kind for every category.
        real: number of questions of this kind for every category.
        seed: of the order in which pictures are drawn.
        title: the heading of the page.
        out: a new folder, or that of a survey, which is replaced.
        key: the file of the key.

    Raises:
        DataError: a category has too few pictures, the bundles cannot be compared, `out` contains other files, or `key` would lie
            in it or is the key of another survey.
    """
    _check(bundles, natural, real, out, key)
    rng, draft = np.random.default_rng(seed), _Draft()
    by_category: dict[str, list[Entry]] = {}
    for entry in sorted({entry.sha256: entry for entry in entries}.values(), key=lambda entry: entry.sha256):
        by_category.setdefault(entry.category, []).append(entry)
    counts: dict[Literal["natural", "real"], int] = {"natural": natural, "real": real}
    for category in track(sorted(by_category), description="colorizing"):
        own = by_category[category]
        order = iter(rng.permutation(len(own)))
        for kind, wanted in counts.items():
            while wanted:
                index = next(order, None)
                if index is None:
                    raise DataError(
                        f"{category!r} has only {len(own)} pictures, too few for {natural} and {real} questions "
                        f"({len(draft.alike)} were colorized alike): request fewer questions, or add pictures."
                    )
                views = _views(own[index], bundles)
                if kind == "natural":
                    del views[TRUTH]
                wanted -= draft.add(kind, own[index], views)
    questions = sorted(draft.questions, key=lambda question: question["id"])
    survey = hashlib.sha256(json.dumps([title, questions]).encode()).hexdigest()[:16]
    labels = {name: ensemble.bundle.label for name, ensemble in bundles.items()}
    made = SurveyKey(survey=survey, seed=seed, bundles=labels, colorized_alike=draft.alike, questions=draft.key)
    if key.exists() and _survey_of(key) != survey:
        raise DataError(
            f"{key} is the key of another survey, whose votes cannot be counted without it: choose another --out or --key."
        )
    card = json.dumps({"format": 1, "id": survey, "title": title, "questions": questions}, indent=1) + "\n"
    replace_folder(out, {**dict(sorted(draft.files.items())), CARD: card.encode()}, check=lambda _: None)
    replace_file(key, (made.model_dump_json(indent=1) + "\n").encode())
    return made


def _check(bundles: Mapping[str, Ensemble], natural: int, real: int, out: Path, key: Path) -> None:
    if not 2 <= len(bundles) <= MAX_BUNDLES and natural:
        raise DataError(
            f"{len(bundles)} bundles cannot be compared: give 2 to {MAX_BUNDLES}, or only ask what is real (--natural 0)."
        )
    if TRUTH in bundles:
        raise DataError(f"a bundle cannot be named {TRUTH!r} in a survey, because that is the photograph itself.")
    if natural + real < 1:
        raise DataError("the survey would have no questions: give --natural or --real above 0.")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and _survey_of(out / CARD) is None)):
        raise DataError(f"{out} exists and is not a survey: choose a new or an empty folder with --out.")
    if out.resolve() in key.resolve().parents:
        raise DataError(f"the key {key} would lie in the folder that is served: choose another path with --key.")


def _survey_of(path: Path) -> str | None:
    """The id in a card or a key; None if the file is neither."""
    try:
        content = json.loads(path.read_bytes())
        return str(content.get("survey") or content["id"])
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _views(entry: Entry, bundles: Mapping[str, Ensemble]) -> dict[str, bytes]:
    """The picture as each bundle colorizes it, and in truth, as files."""
    ((_, content),) = read_pictures([entry])
    image = Image.fromarray(decode_rgb(content))
    image.thumbnail((LONG_SIDE, LONG_SIDE))
    picture = Picture(np.array(image.convert("L")), None, "PNG")
    views = {name: Image.fromarray(merge_rgb(picture, ensemble.predict(picture)[0])) for name, ensemble in bundles.items()}
    return {name: _encode(view) for name, view in {**views, TRUTH: image}.items()}


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", **JPEG)
    return buffer.getvalue()
