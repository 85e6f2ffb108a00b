"""Deployment: parts of the container image without a container, manifests against their schemas, metrics of the dashboard."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from app.cluster.options import ClusterOptions
from app.metrics import Metrics
from app.settings import Settings
from tests.server_process import ROOT, free_port, serving

DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
MANIFESTS = [
    document
    for path in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    if path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(path.read_text())
]


def instruction(name: str) -> list[str]:
    """Every value of an instruction, continued lines joined."""
    return re.findall(rf"^{name}\s+(.*)$", DOCKERFILE, re.MULTILINE)


def test_dockerfile_has_no_lint_findings() -> None:
    done = subprocess.run([Path(sys.executable).with_name("hadolint"), ROOT / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_image_has_cpu_and_gpu_targets_and_defaults_to_cpu() -> None:
    assert instruction("FROM")[-1] == "runtime AS cpu"
    assert "runtime AS gpu" in instruction("FROM")
    runtime = DOCKERFILE[DOCKERFILE.index("AS runtime") :]
    assert "pip" not in runtime
    assert "training" not in re.sub(r"#.*", "", DOCKERFILE)
    assert [user for user in instruction("USER") if user.isdecimal() and user != "0"] == ["10001"]


def test_build_context_contains_only_copied_files() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[0] == "*"
    for copied in " ".join(instruction("COPY")).split():
        if (ROOT / copied).exists() and copied != "./":
            assert f"!{copied}" in lines, copied


def test_image_compose_and_manifests_use_existing_settings() -> None:
    known = {f"CHROMAROUTE_{name.upper()}" for name in Settings.model_fields}
    text = DOCKERFILE + json.dumps(COMPOSE) + json.dumps(MANIFESTS) + (ROOT / "deploy" / "kubernetes" / "README.md").read_text()
    used = set(re.findall(r"CHROMAROUTE_[A-Z_]+", text))
    assert used
    assert used <= known


@pytest.mark.server
@pytest.mark.slow
def test_health_check_detects_a_ready_server(tmp_path: Path) -> None:
    command = json.loads(re.search(r"HEALTHCHECK .*? CMD (\[.*\])", DOCKERFILE).group(1))  # type: ignore[union-attr]
    assert "curl" not in command[0]
    port = free_port()
    check = [sys.executable, *[part.replace(":8000", f":{port}") for part in command[1:]]]
    assert subprocess.run(check, capture_output=True).returncode != 0
    with serving(tmp_path, port=port):
        assert subprocess.run(check).returncode == 0


@pytest.mark.server
@pytest.mark.slow
def test_entry_point_requires_keys_or_explicit_anonymous_access(tmp_path: Path) -> None:
    assert json.loads(instruction("ENTRYPOINT")[0]) == ["chromaroute"]
    host = json.loads(instruction("CMD")[0])
    assert host == ["serve", "--host", "0.0.0.0", "--port", "8000"]
    command = [sys.executable, "-m", "app.cli", "serve", "--host", "0.0.0.0", "--port", str(free_port())]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    refused = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "CHROMAROUTE_ALLOW_ANONYMOUS=1" in refused.stderr
    with serving(tmp_path, "--host", "0.0.0.0", allow_anonymous=1, data_dir=tmp_path / "data"):
        assert (tmp_path / "data" / "jobs").is_dir()


@pytest.mark.server
@pytest.mark.slow
def test_server_writes_only_to_data_and_temporary_folders(tmp_path: Path) -> None:
    variables = dict(shlex.split(part)[0].split("=", 1) for part in " ".join(instruction("ENV")).split() if "=" in part)
    assert variables["CHROMAROUTE_DATA_DIR"] == "/data"
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"
    work = tmp_path / "work"
    work.mkdir()
    with serving(work, data_dir=tmp_path / "data"):
        pass
    assert [path.name for path in work.iterdir()] == ["log"]


def test_compose_has_api_monitoring_and_optional_postgresql() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"api", "prometheus", "grafana", "postgres", "ray-head", "ray-worker", "ray-api"}
    assert services["postgres"]["profiles"] == ["postgres"]
    assert all(services[name]["read_only"] for name in ("api", "ray-head", "ray-worker", "ray-api"))
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]
    assert all(re.search(r":v?\d", service.get("image", ":1")) for service in services.values())


def test_compose_has_a_ray_cluster_of_a_head_and_two_workers() -> None:
    services = {name: service for name, service in COMPOSE["services"].items() if service.get("profiles") == ["ray"]}
    assert {service["build"]["target"] for service in services.values()} == {"ray"}
    assert services["ray-worker"]["deploy"]["replicas"] == 2
    assert "ray-head:6379" in services["ray-worker"]["command"][1]
    assert f"{services['ray-api']['command'][-1]}:ro" in services["ray-api"]["volumes"][0]
    assert "FROM runtime AS ray" in DOCKERFILE


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: f"{manifest['kind']}")
def test_manifests_follow_the_schemas_of_kubernetes(manifest: dict[str, object]) -> None:
    version = kubernetes_validate.latest_version()
    kubernetes_validate.validate(manifest, version, strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):  # the schema is checked strictly
        kubernetes_validate.validate({**manifest, "specification": {}}, version, strict=True)


def test_deployment_uses_existing_probes_and_metrics() -> None:
    found = {manifest["kind"]: manifest for manifest in MANIFESTS}
    container = found["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert container["readinessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["resources"]["limits"]["memory"]
    metric = found["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert f"{metric} " in Metrics().text().decode()
    listed = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert {path.name for path in (ROOT / "deploy" / "kubernetes").glob("*.yaml")} == {*listed, "kustomization.yaml"}


@pytest.mark.slow
def test_configurations_for_ray_serve_have_valid_arguments() -> None:
    service = yaml.safe_load((ROOT / "deploy" / "kuberay" / "rayservice.yaml").read_text())
    texts = [(ROOT / "deploy" / "ray" / "serve.yaml").read_text(), service["spec"]["serveConfigV2"]]
    code = (
        "import sys, json; from ray.serve.schema import ServeDeploySchema; ServeDeploySchema.model_validate(json.load(sys.stdin))"
    )
    for text in texts:
        configuration = yaml.safe_load(text)
        done = subprocess.run([sys.executable, "-c", code], input=json.dumps(configuration), text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        (application,) = configuration["applications"]
        assert application["import_path"] == "app.cluster.application:application"
        ClusterOptions.parse(application["args"])


def test_pods_of_a_ray_service_follow_the_schemas_of_kubernetes() -> None:
    cluster = yaml.safe_load((ROOT / "deploy" / "kuberay" / "rayservice.yaml").read_text())["spec"]["rayClusterConfig"]
    (locked,) = re.findall(r"^ray==(\S+)", (ROOT / "requirements" / "scale.txt").read_text(), re.MULTILINE)
    assert cluster["rayVersion"] == locked
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "ray"}, "template": group["template"]}
        kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)
        (container,) = group["template"]["spec"]["containers"]
        variables = {variable["name"] for variable in container["env"]}
        assert variables <= {f"CHROMAROUTE_{name.upper()}" for name in Settings.model_fields}


def test_dashboard_uses_existing_metrics() -> None:
    exported = set(re.findall(r"^# TYPE (\S+)", Metrics().text().decode(), re.MULTILINE))
    exported |= {f"{name}_{part}" for name in set(exported) for part in ("bucket", "sum", "count")}
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "dashboards" / "chromaroute.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(expressions) >= 10
    for expression in expressions:
        used = set(re.findall(r"\b(?:chromaroute|process)_\w+", expression))
        assert used
        assert used <= exported, expression
    text = (ROOT / "deploy" / "prometheus.yml").read_text()
    assert yaml.safe_load(text)["scrape_configs"][0]["static_configs"][0]["targets"] == ["api:8000"]
