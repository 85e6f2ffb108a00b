"""A blind survey out of several bundles: pictures drawn per category, painted by each, and the key kept apart.

Paper 004, section 2.5.1: which of three colorizings of a picture looks most natural; and, after Zhang et al. 2016, a Turing test: is
this photograph real or colorized? What differs from 004: no picture is taken out because all models failed on it, as its authors
did.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.progress import track

from models.ensemble import Ensemble
from models.atomic_files import replace_file, replace_folder
from models.imaging import Picture
from training.data.dataset_index import DataError, Entry, read_pictures
from training.data.packs import decode_rgb
from training.evaluation.image_result import joined

CARD = "survey.json"
TRUTH = "truth"
LONG_SIDE = 512  # pixels, at most
MOST = 8  # bundles side by side
SHEET = {"format": "JPEG", "quality": 95, "subsampling": 0}  # the same for all, so that the file says nothing


@dataclass
class Draft:
    """Questions as they are made: `card` is what people get, `key` is what they must not see."""

    questions: list[dict[str, Any]] = field(default_factory=list)
    key: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    alike: list[str] = field(default_factory=list)

    def add(self, kind: str, category: str, source: str, pictures: Mapping[str, bytes]) -> bool:
        """A question over the pictures of some candidates; says whether it could be asked: candidates that are alike cannot."""
        names = {candidate: f"{hashlib.sha256(content).hexdigest()[:24]}.jpg" for candidate, content in pictures.items()}
        if len(set(names.values())) < len(names):
            self.alike.append(source)
            return False
        shown = sorted(names.values())
        asked = hashlib.sha256(" ".join((kind, *shown)).encode()).hexdigest()[:16]
        self.questions.append({"id": asked, "kind": kind, "pictures": shown})
        self.key[asked] = {
            "kind": kind, "category": category, "source": source, "pictures": {names[each]: each for each in pictures},
        }  # fmt: skip
        self.files |= {names[each]: content for each, content in pictures.items()}
        return True


def build(
    bundles: Mapping[str, Ensemble], entries: Sequence[Entry], natural: int, real: int, seed: int, title: str, out: Path, key: Path
) -> dict[str, Any]:
    """Write a survey with so many questions of each kind for every category into `out`, and its key to the file `key`.

    All pictures are painted by all bundles, each as it routes by itself. A question *natural* shows these side by side; a question
    *real* is of another photograph, and shows a person one version of it, or the photograph itself, as the server draws it. A
    picture that two bundles paint alike is passed over, and the next one drawn. Returns the key.

    Raises:
        DataError: a category has too few pictures, the bundles cannot be compared, `out` has something else in it, or `key` would
            lie in it or is the key of another survey.
    """
    _check(bundles, natural, real, out, key)
    rng, draft = np.random.default_rng(seed), Draft()
    by_category: dict[str, list[Entry]] = {}
    for entry in sorted({entry.sha256: entry for entry in entries}.values(), key=lambda entry: entry.sha256):
        by_category.setdefault(entry.category, []).append(entry)
    for category in track(sorted(by_category), description="painting"):
        own = by_category[category]
        pictures = iter([own[place] for place in rng.permutation(len(own))])
        for wanted, kind in ((natural, "natural"), (real, "real")):
            while wanted:
                entry = next(pictures, None)
                if entry is None:
                    raise DataError(
                        f"{category!r} has only {len(own)} pictures, too few for {natural} and {real} questions "
                        f"({len(draft.alike)} were painted alike): ask fewer, or add pictures."
                    )
                features = _views(entry, bundles)
                if kind == "natural":
                    del features[TRUTH]
                wanted -= draft.add(kind, category, entry.name, features)
    questions = sorted(draft.questions, key=lambda question: question["id"])
    name = hashlib.sha256(json.dumps([title, questions]).encode()).hexdigest()[:16]
    card = {"format": 1, "id": name, "title": title, "questions": questions}
    sealed = {
        "survey": name, "seed": seed, "bundles": {each: ensemble.bundle.label for each, ensemble in bundles.items()},
        "painted_alike": draft.alike, "questions": draft.key,
    }  # fmt: skip
    if key.exists() and _survey_of(key) != name:
        raise DataError(
            f"{key} is the key of another survey, whose votes could not be counted without it: choose another --out or --key."
        )
    replace_folder(out, {**dict(sorted(draft.files.items())), CARD: _json(card)}, check=lambda _: None)
    replace_file(key, _json(sealed))
    return sealed


def _check(bundles: Mapping[str, Ensemble], natural: int, real: int, out: Path, key: Path) -> None:
    if not 2 <= len(bundles) <= MOST and natural:
        raise DataError(
            f"{len(bundles)} bundles cannot be compared: give 2 to {MOST}, or ask only for real pictures (--natural 0)."
        )
    if TRUTH in bundles:
        raise DataError(f"a bundle cannot be called {TRUTH!r} in a survey: that is the photograph itself.")
    if natural + real < 1:
        raise DataError("the survey would have no question: give --natural or --real above 0.")
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and _survey_of(out / CARD) is None)):
        raise DataError(f"{out} is there and is no survey: choose a new or an empty folder with --out.")
    if out.resolve() in key.resolve().parents:
        raise DataError(f"the key {key} would lie in the folder that is served: choose another place with --key.")


def _survey_of(path: Path) -> str | None:
    """The id of the survey that a card or a key is of; None if it is neither."""
    try:
        found = json.loads(path.read_bytes())
        return str(found.get("survey") or found["id"])
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _views(entry: Entry, bundles: Mapping[str, Ensemble]) -> dict[str, bytes]:
    """The picture as each bundle paints it, and in truth, as files."""
    ((_, content),) = read_pictures([entry])
    image = Image.fromarray(decode_rgb(content))
    image.thumbnail((LONG_SIDE, LONG_SIDE))
    picture = Picture(np.array(image.convert("L")), None, "PNG")
    painted = {name: Image.fromarray(joined(picture, ensemble.paint(picture)[0])) for name, ensemble in bundles.items()}
    return {name: _encoded(each) for name, each in {**painted, TRUTH: image}.items()}


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **SHEET)
    return buffer.getvalue()
