"""Which package, folder and module may import which. ARCHITECTURE.md shows the same order."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {  # and what each may import
    "models": {"models"},
    "chromaroute": {"chromaroute", "models"},
    "app": {"app", "models"},
    "training": {"training", "models"},
}
LAYERS = {  # folders and modules from the lowest layer up: each may import lower layers and itself, but not its neighbors
    "models": (
        "errors atomic_files exif luma libvips xmp imagenet expert_cache openvino_index openvino_runtime",
        "lab options engine_options",
        "network_input networks router manifest runtime tones",
        "ab_bins chroma vgg decision metadata samples bundle_header",
        "classifiers colorizers decoders encoding",
        "bundle imaging openvino_cache hints plausible",
        "picture_inputs",
        "ensemble traceable openvino_networks",
        "torch_networks pipeline openvino_export onnx_export",
        "loading published",
    ),
    "chromaroute": ("pipeline",),
    "app": (
        "policy schemas settings logs metrics rate_limit tracing",
        "errors api_keys",
        "inference",
        "middleware batches survey openapi ranges http_protocol",
        "server",
        "jobs",
        "dependencies",
        "routes",
        "main",
        "cluster",
        "cli",
    ),
    "training": (
        "config figures",
        "data networks",
        "collect metrics losses loop",
        "tasks",
        "runs",
        "publishing evaluation",
        "report survey",
        "cli",
        "__main__",
    ),
}


def modules(package: str) -> dict[str, Path]:
    """The files of a package by dotted name."""
    paths = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / package).rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in paths.items()}


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def module_graph() -> dict[str, set[str]]:
    """Every module of the project with the modules of the project that it imports."""
    known = {name: path for package in PACKAGES for name, path in modules(package).items()}
    return {
        module: {name if name in known else name.rpartition(".")[0] for name in imports(path)} & set(known) - {module}
        for module, path in known.items()
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_allowed_packages(package: str) -> None:
    for path in modules(package).values():
        ours = {name.split(".")[0] for name in imports(path)} & set(PACKAGES)
        assert ours <= PACKAGES[package], path


@pytest.mark.parametrize("package", LAYERS)
def test_folders_import_only_lower_floors(package: str) -> None:
    layer = {name: height for height, names in enumerate(LAYERS[package]) for name in names.split()}
    for module, path in modules(package).items():
        own = module.partition(".")[2].partition(".")[0]
        for name in sorted(imports(path)):
            other = name.partition(".")[2].partition(".")[0]
            if own and name.split(".")[0] == package and other != own:
                assert layer[other] < layer[own], f"{module} imports {name}, which is in the same or a higher layer"


def test_no_modules_import_each_other_in_a_ring() -> None:
    TopologicalSorter(module_graph()).prepare()
    with pytest.raises(CycleError):
        TopologicalSorter({**module_graph(), "models.lab": {"models.pipeline"}}).prepare()


def test_only_torchvision_compat_imports_torchvision() -> None:
    paths = [path for package in PACKAGES for path in modules(package).values()]
    users = [path.name for path in paths if any(name.split(".")[0] == "torchvision" for name in imports(path))]
    assert users == ["torchvision_compat.py"]


def test_modules_of_posix_are_not_imported_at_import_time() -> None:
    for path in (path for package in PACKAGES for path in modules(package).values()):
        tree = ast.parse(path.read_text())
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
        assert not names & {"fcntl", "grp", "pwd", "resource", "termios"}, path


def test_models_use_no_web_framework_environment_or_threads() -> None:
    forbidden = {"fastapi", "starlette", "uvicorn", "threading", "concurrent", "asyncio", "pydantic_settings"}
    for path in modules("models").values():
        assert not forbidden & {name.split(".")[0] for name in imports(path)}, path
        assert "os.environ" not in path.read_text(), path


@pytest.mark.slow
def test_serving_imports_neither_torch_nor_telemetry() -> None:
    script = (
        "import sys, app.main\n"
        "from models.loading import load_ensemble\n"
        "load_ensemble()\n"
        "extras = [name for name in ('torch', 'openvino_telemetry') if sys.modules.get(name)]\n"
        "sys.exit(f'serving imported {extras}' if extras else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_serving_needs_none_of_the_training_extras() -> None:
    script = (
        "import sys, app.cli, app.main\n"
        "extras = {'skimage', 'scipy', 'sklearn', 'matplotlib', 'training', 'hypothesis', 'pytest'} & set(sys.modules)\n"
        "sys.exit(f'serving imported {extras}' if extras else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
