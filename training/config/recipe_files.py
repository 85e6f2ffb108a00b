"""Reads recipes by name or path, with `extends`, `--set a.b=c` and `--smoke` applied."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from training.config.bundle_recipe import BundleRecipe
from training.config.recipe import Recipe
from training.config.renamed_keys import find_renamed
from training.config.section import RecipeError, describe_problems

Kind = TypeVar("Kind", bound=BaseModel)


def load_recipe(name: str, changes: tuple[str, ...] = (), smoke: bool = False) -> Recipe:
    """The recipe of that name in `training/recipes`, or the TOML file at that path.

    Args:
        name: of the recipe, or the path of a TOML file.
        changes: `a.b=value` with a TOML value.
        smoke: shrink the run to seconds.

    Raises:
        RecipeError: there is no such recipe, it is not valid TOML, or one of its keys or values is not valid.
    """
    return _load(Recipe, name, changes, _SMOKE if smoke else {})


def load_bundle_recipe(name: str, changes: tuple[str, ...] = (), smoke: bool = False) -> BundleRecipe:
    """As `load_recipe`, for the recipe of a bundle."""
    return _load(BundleRecipe, name, changes, {"data": _SMOKE["data"]} if smoke else {})


def recipe_names() -> list[str]:
    """The recipes of the project."""
    folder = resources.files("training") / "recipes"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


_SMOKE: dict[str, dict[str, Any]] = {
    "schedule": {"steps": 4, "batch": 4, "validate_every": 2, "snapshot_every": 2, "warmup": 1},
    "data": {"limit": 48},
}


def _load(kind: type[Kind], name: str, changes: tuple[str, ...], overrides: dict[str, dict[str, Any]]) -> Kind:
    values = _read(name)
    values.setdefault("name", Path(name).stem)
    for section, entries in overrides.items():
        if isinstance(given := values.get(section, {}), dict):  # anything else is not valid, which the validation says
            values[section] = given | entries
    for change in changes:
        _apply(values, change)
    if renamed := list(find_renamed(values)):
        raise RecipeError(f"the recipe {name!r} uses names that have changed: {'; '.join(renamed)}.")
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RecipeError(f"the recipe {name!r} is not valid: {describe_problems(error, kind)}.") from error


def _read(name: str, extending: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of a recipe, merged with those of the recipe that it extends; `extending` are the recipes that extend it."""
    path = Path(name)
    shipped = resources.files("training") / "recipes" / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text() if path.suffix == ".toml" else shipped.read_text())
    except FileNotFoundError as error:
        raise RecipeError(f"there is no recipe {name!r}: give a .toml file or one of {', '.join(recipe_names())}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe {name!r} is not valid TOML: {error}.") from error
    extends = values.pop("extends", None)
    if extends is None:
        return values
    if extends in (*extending, name):
        raise RecipeError(f"the recipes {', '.join((*extending, name))} extend one another in a circle: remove one `extends`.")
    return _merge(_read(str(extends), (*extending, name)), values)


def _merge(base: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """`values` over `base`, table by table; a task of another kind, or an empty table, replaces the whole table."""
    merged = dict(base)
    for key, value in values.items():
        same = isinstance(value, dict) and isinstance(merged.get(key), dict) and "kind" not in value and value
        merged[key] = _merge(merged[key], value) if same else value
    return merged


def _apply(values: dict[str, Any], change: str) -> None:
    keys, separator, value = change.partition("=")
    *sections, last = keys.strip().split(".")
    if not separator or not last:
        raise RecipeError(f"--set {change!r} is not valid: write a.b=value.")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise RecipeError(f"--set {change!r} is not valid: {section!r} is a value, not a table.")
    try:
        values[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = value
