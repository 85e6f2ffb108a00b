"""The walls between the packages, and the order of the layers within models."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS = [  # each may import those before it, and its own line
    {"errors", "files", "torchvision_parts", "grays", "metadata"},
    {"lab"},
    {"vgg", "ab_bins", "imaging", "encoding", "chroma"},
    {"colorizers", "classifiers"},
    {"router", "manifest", "residents", "runtime"},
    {"bundle"},
    {"ensemble"},
]


def imports(path: Path) -> set[str]:
    """The dotted names of our own modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("app", "models", "training")}


@pytest.mark.parametrize(
    ("package", "allowed"), [("models", {"models"}), ("app", {"app", "models"}), ("training", {"training", "models"})]
)
def test_packages_import_only_what_they_may(package: str, allowed: set[str]) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path


def test_the_layers_of_models_only_look_down() -> None:
    level = {name: height for height, names in enumerate(LAYERS) for name in names}
    for path in (ROOT / "models").rglob("*.py"):
        own = path.relative_to(ROOT / "models").parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for name in imports(path):
            assert level[name.split(".")[1]] <= level[own], f"{path} imports {name}"


def test_only_one_module_imports_torchvision() -> None:
    users = [path.name for package in ("app", "models", "training") for path in (ROOT / package).rglob("*.py")
             if "import torchvision" in (text := path.read_text()) or "from torchvision" in text]  # fmt: skip
    assert users == ["torchvision_parts.py"]


def test_models_know_no_web_environment_or_threads() -> None:
    for path in (ROOT / "models").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            module = node.module if isinstance(node, ast.ImportFrom) else ""
            for banned in ("fastapi", "starlette", "uvicorn", "threading", "concurrent", "asyncio", "pydantic_settings"):
                assert banned not in {name.split(".")[0] for name in {*names, module or ""}}, path
        assert "os.environ" not in path.read_text(), path


def test_serving_needs_none_of_the_training_extras() -> None:
    script = (
        "import sys, app.cli\n"
        "extras = {'skimage', 'scipy', 'sklearn', 'matplotlib', 'training', 'hypothesis', 'pytest'} & set(sys.modules)\n"
        "sys.exit(f'serving imported {extras}' if extras else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
