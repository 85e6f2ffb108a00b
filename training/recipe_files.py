"""Reading recipes: by name or path, on top of the one that a recipe is like, with `--set a.b=c` and `--smoke` applied."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from training.config import BundleRecipe, Recipe, RecipeError

Kind = TypeVar("Kind", bound=BaseModel)


def load_recipe(name: str, changes: tuple[str, ...] = (), smoke: bool = False) -> Recipe:
    """The recipe of that name in `training/recipes`, or the TOML file at that path.

    `changes` are `a.b=value` with a TOML value; `smoke` shrinks the run to seconds.

    Raises:
        RecipeError: there is no such recipe, it is no TOML, or a key or a value in it is not valid.
    """
    return _load(Recipe, name, changes, _SMOKE if smoke else {})


def load_bundle_recipe(name: str, changes: tuple[str, ...] = (), smoke: bool = False) -> BundleRecipe:
    """As `load_recipe`, for what `publish` takes."""
    return _load(BundleRecipe, name, changes, {"data": _SMOKE["data"]} if smoke else {})


_SMOKE: dict[str, Any] = {
    "schedule": {"steps": 4, "batch": 4, "validate_every": 2, "snapshot_every": 2, "warmup": 1},
    "data": {"limit": 48},
}


def _load(kind: type[Kind], name: str, changes: tuple[str, ...], shrink: dict[str, Any]) -> Kind:
    values = _read(name)
    values.setdefault("name", Path(name).stem)
    for section, entries in shrink.items():
        values[section] = values.get(section, {}) | entries if isinstance(entries, dict) else entries
    for change in changes:
        _apply(values, change)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise RecipeError(f"the recipe {name!r} is not valid: {problems}.") from error


def _read(name: str, readers: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of a recipe's file, on top of those of the one that it is like; `readers` are the recipes that led here."""
    path = Path(name)
    shipped = resources.files("training") / "recipes" / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text() if path.suffix == ".toml" else shipped.read_text())
    except FileNotFoundError as error:
        raise RecipeError(f"there is no recipe {name!r}: give a .toml file or one of {', '.join(recipe_names())}.") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe {name!r} is not valid TOML: {error}.") from error
    like = values.pop("like", None)
    if like is None:
        return values
    if like in (*readers, name):
        raise RecipeError(f"the recipes {', '.join((*readers, name))} are like one another in a circle: let one of them end it.")
    return _laid_over(_read(str(like), (*readers, name)), values)


def _laid_over(below: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`values` on top of those `below`, table by table; a task of another kind, or an empty table, replaces the whole one."""
    both = dict(below)
    for key, value in values.items():
        same = isinstance(value, dict) and isinstance(both.get(key), dict) and "kind" not in value and value
        both[key] = _laid_over(both[key], value) if same else value
    return both


def recipe_names() -> list[str]:
    """The recipes that come with the project."""
    folder = resources.files("training") / "recipes"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def _apply(values: dict[str, Any], change: str) -> None:
    keys, separator, value = change.partition("=")
    *sections, last = keys.strip().split(".")
    if not separator or not last:
        raise RecipeError(f"--set {change!r} is not understood: write a.b=value.")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f"--set {change!r} is not understood: {section!r} is a value and has nothing under it.")
    try:
        values[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = value
