"""The report from end to end, on crops of packaged photographs: ways, numbers, files, and what is refused."""

import csv
import hashlib
import io
import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.bundle import EVERYDAY
from models.colorizers import Colorizer
from models.ensemble import Ensemble
from models.errors import CheckpointError
from models.imaging import Picture
from models.options import Options
from models.runtime import Runtime
from models.torchvision_compat import AlexNet_Weights, get_model
from tests.cli_runner import run
from training.cli.bundles import _command
from training.data.dataset_index import DataError, Entry, digest, read_index, read_pictures, write_index
from training.data.packs import decode_rgb
from training.evaluation import perceptual
from training.evaluation.document import Figure, Heading, Points, Table, Text, html, markdown
from training.evaluation.evaluate import Evaluation, bundles_by_name, evaluate, plain
from training.evaluation.image_result import joined
from training.evaluation.results import numbers
from training.evaluation.semantic import semantic_judge, shared_pictures, trained_on
from training.metrics.color import ciede2000
from training.publishing.base import load_base
from training.report.render import blocks

CHANGES = ('data.sets=["photographs"]', 'data.validation_sets=["photographs"]', "data.size=32")


@pytest.fixture(scope="module")
def judge(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that names colorized crops; beside it one that names gray ones."""
    runs = tmp_path_factory.mktemp("runs")
    changes = [part for change in CHANGES for part in ("--set", change)]
    for recipe in ("li-judge", "li-classifier"):
        run("train", recipe, "--smoke", "--data", manifest, "--runs", runs, *changes)
    return runs / "li-judge"


@pytest.fixture(scope="module")
def vivid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle like the embedded one, far too loud and in the opposite colors."""
    folder = tmp_path_factory.mktemp("bundles") / "vivid"
    shutil.copytree(EVERYDAY, folder)
    content = json.loads((folder / "manifest.json").read_text())
    content["name"] = "vivid"
    for card in content["experts"].values():
        card["arguments"]["saturation"] = -2.5
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def entries(manifest: Path) -> list[Entry]:
    return [entry for entry in read_index(manifest) if entry.split == "test"]


@pytest.fixture(scope="module")
def found(entries: list[Entry], manifest: Path, vivid: Path, judge: Path) -> Evaluation:
    bundles = bundles_by_name([EVERYDAY, vivid], Runtime())
    judging = semantic_judge(str(judge), torch.device("cpu"))
    return evaluate(bundles.pop("everyday"), bundles, entries, read_index(manifest), judging)


@pytest.fixture(scope="module")
def report(manifest: Path, vivid: Path, judge: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report by the command, with everything that it can be asked for."""
    out = tmp_path_factory.mktemp("report") / "box"
    arguments = ("--against", vivid, "--judge", judge, "--classifier", judge.parent / "li-classifier", "--out", out)
    told = run("evaluate", EVERYDAY, "--data", manifest, *arguments)
    assert "best route" in told
    return out


def test_ways_are_what_they_are_called(found: Evaluation, entries: list[Entry], ensemble: Ensemble) -> None:
    errors = {way: each["delta_e"] for way, each in found.scored.values.items()}
    assert (errors["best"] <= np.minimum.reduce([errors[way] for way in ("routed", "general", "oracle", "forced")]) + 1e-9).all()
    assert (errors["worst"] >= np.maximum.reduce([errors[way] for way in ("routed", "general", "oracle", "forced")]) - 1e-9).all()
    assert (errors["truth"] == 0).all()
    assert found.scored.values["gray"]["colorfulness"].max() < 1e-3
    by_name = dict(zip(found.names, range(len(found.names)), strict=True))
    for entry, content in read_pictures(entries[:3]):
        rgb = decode_rgb(content)
        picture = Picture(np.array(Image.fromarray(rgb).convert("L")), None, "PNG")
        for way, options in (("routed", Options()), ("soft", Options(routing="soft")), ("general", Options(category="general")),
                             ("oracle", Options(category=entry.category))):  # fmt: skip
            served = joined(picture, ensemble.predict(picture, options)[0])
            assert errors[way][by_name[entry.name]] == pytest.approx(ciede2000(served, rgb), abs=1e-4), way


def test_a_worse_bundle_is_found_out_and_equal_ways_have_no_difference(found: Evaluation) -> None:
    told = numbers(found)
    value, low, high = told["against"]["vivid: routed"]["routed"]
    assert 0 < low < value < high
    assert told["against"]["routed"]["vivid: routed"] == pytest.approx([-value, -high, -low], abs=1e-4)
    assert told["differences"]["vivid: routed - gray"][1] > 0
    assert told["ways"]["vivid: routed"]["colorfulness_ratio"][0] > 1.5 * told["ways"]["routed"]["colorfulness_ratio"][0]
    assert plain(found.scored.difference("routed", "routed")) == [0, 0, 0]
    conclusions = next(block for block in blocks({**told, "classifiers": {}, "made": {}}, []) if isinstance(block, Points)).items
    assert any(line.startswith("Is vivid closer to the truth than this bundle? No. ΔE00 +") for line in conclusions)
    assert any("Where does it fail?" in line for line in conclusions)


def test_routing_is_counted_from_the_served_probabilities(found: Evaluation, entries: list[Entry], ensemble: Ensemble) -> None:
    routing = numbers(found)["routing"]["routed"]
    right, wrong_category = 0, 0
    for entry, content in read_pictures(entries):
        picture = Picture(np.array(Image.fromarray(decode_rgb(content)).convert("L")), None, "PNG")
        given = ensemble.probabilities(picture)
        right += max(given, key=given.__getitem__) == entry.category
        wrong_category += ensemble.route(picture).category != entry.category
    assert routing["top1"][0] == pytest.approx(right / len(entries), abs=1e-4)
    counts = np.array(routing["confusion"]["counts"])
    assert counts.sum() - np.trace(counts) == wrong_category
    assert set(routing["errors"]) == {"cat", "food", "flower", "general"}
    assert set(found.crossing["cat"]) == set(ensemble.bundle.manifest.experts)


def test_the_judge_sees_every_candidate_and_says_what_it_learned_from(found: Evaluation) -> None:
    semantic = numbers(found)["semantic"]
    ways = semantic["ways"]
    assert {"gray", "routed", "vivid: routed", "routed, T = 1", "routed, T = 0.38", "truth"} <= set(ways)
    assert ways["gray"]["gain"] == [0, 0, 0]
    assert sum(row.get("best", 0) for row in ways.values()) >= semantic["pictures"] == 16
    assert set(semantic["by_class"]) == {"cat", "food", "flower", "general"}
    assert semantic["judge_sets"] == ["photographs"]
    assert semantic["pictures_that_the_judge_knows"] == 0
    assert semantic["painters"]["routed"] == {"trained_on": None, "shared_with_judge": None}  # by another manifest


def test_shared_training_pictures_are_recognized_by_the_digest(manifest: Path) -> None:
    entries = read_index(manifest)
    for sets in (("photographs",), ("tiny",), ("photographs", "tiny")):
        data = digest([entry for entry in entries if entry.split == "train" and entry.set in sets])
        assert trained_on(data, entries) == sets
    assert trained_on("0" * 64, entries) is None
    assert shared_pictures(entries, ("photographs",), ("tiny",)) == sum(
        entry.set == "tiny"
        and entry.sha256 in {each.sha256 for each in entries if each.set == "photographs" and each.split == "train"}
        for entry in entries
    )


def test_the_report_is_whole_and_stands_alone(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    text = (report / "report.md").read_text()
    for path in re.findall(r"\]\((plots/[^)]+)\)", text):
        with Image.open(report / path) as image:
            image.verify()
    told = json.loads((report / "report.json").read_text())
    assert told["pictures"] == 16
    assert told["classifiers"]["li-classifier"]["backbone"] == "zhang"
    assert str(report.parent) not in page + text + json.dumps(told)
    rows = list(csv.DictReader(io.StringIO((report / "pictures.csv").read_text())))
    assert {row["way"] for row in rows} == {*told["ways"], "truth"}
    assert len(rows) == 16 * len({row["way"] for row in rows})
    mean = np.mean([float(row["delta_e"]) for row in rows if row["way"] == "routed"])
    assert mean == pytest.approx(told["ways"]["routed"]["delta_e"][0], abs=1e-3)
    for heading in (
        "# everyday@",
        "## Color",
        "## Routing",
        "## Semantic score",
        "## Distribution of colors",
        "## How it was measured",
    ):
        assert heading in text


def test_a_report_replaces_a_report_and_nothing_else(report: Path, manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("letters")
    with pytest.raises(DataError, match="has precious.txt in it"):
        run("evaluate", EVERYDAY, "--data", manifest, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]
    shutil.copytree(report, tmp_path / "box")
    pictures = tmp_path / "mine"
    pictures.mkdir()
    Image.fromarray(np.full((40, 30, 3), (90, 60, 200), np.uint8)).save(pictures / "door.png")
    run("evaluate", EVERYDAY, "--data", manifest, "--limit", 4, "--out", tmp_path / "box", "--pictures", pictures)
    assert (tmp_path / "box" / "plots" / "sample-1.jpeg").is_file()
    assert not (tmp_path / "box" / "plots" / "semantic.png").exists()


def test_pictures_of_categories_that_the_bundle_lacks_count_for_the_colors_alone(manifest: Path, tmp_path: Path) -> None:
    names = {"cat": "ship", "food": "frog"}
    entries = [replace(entry, category=names.get(entry.category, entry.category)) for entry in read_index(manifest)]
    write_index(entries, tmp_path / "manifest.csv")
    arguments = ("--data", tmp_path / "manifest.csv", "--limit", 3, "--out", tmp_path / "box")
    run("evaluate", EVERYDAY, "--category", "ship", *arguments)
    told = json.loads((tmp_path / "box" / "report.json").read_text())
    assert told["routing"] == {}
    assert "nothing can be said of its router" in (tmp_path / "box" / "report.md").read_text()
    assert told["differences"]["routed - oracle"] is not None
    assert told["differences"]["no category: general - forced"] is not None
    assert list(told["categories"]) == ["ship"]
    with pytest.raises(DataError, match="has no category cat; it has flower, frog, general, .*ship"):
        run("evaluate", EVERYDAY, "--category", "cat", *arguments)


def test_judges_and_namers_that_are_of_no_use_are_refused_before_anything_is_painted(
    judge: Path, manifest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.evaluation.evaluate.study", None)
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    entries = [replace(entry, category="ship") for entry in read_index(manifest) if entry.split == "test"]
    write_index(entries, tmp_path / "ships.csv")
    for arguments, error, message in (
        (("--judge", tmp_path), CheckpointError, "train the recipe that makes it first"),
        (("--judge", f"resnet18={tmp_path / 'weights.pth'}"), CheckpointError, "cannot be used"),
        (("--judge", "palette=weights.pth"), CheckpointError, "give a classifier of torchvision"),
        (("--judge", judge, "--data", tmp_path / "ships.csv"), DataError, "none of the pictures is of these"),
        (("--classifier", judge), CheckpointError, "does not name gray pictures"),
        (("--pictures", tmp_path), DataError, "has no pictures to show"),
        (("--against", EVERYDAY), DataError, "given twice"),
    ):
        with pytest.raises(error, match=message):
            run("evaluate", EVERYDAY, "--data", manifest, *arguments)


def test_the_report_says_nothing_of_where_the_machine_keeps_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["x", "evaluate", "/home/me/bundles/mine", "--data=/home/me/m.csv", "--judge", "resnet18=/home/me/w.pth"]
    )
    assert _command() == "chromaroute-train evaluate bundles/mine --data=me/m.csv --judge resnet18=me/w.pth"


def test_one_picture_is_reported_without_differences(manifest: Path, judge: Path, tmp_path: Path) -> None:
    run("evaluate", EVERYDAY, "--data", manifest, "--limit", 1, "--judge", judge, "--out", tmp_path / "box")
    text = (tmp_path / "box" / "report.md").read_text()
    assert "not known of one picture" in text
    assert "Yes." not in text
    assert "| ab of another picture" not in text
    json.loads((tmp_path / "box" / "report.json").read_text(), parse_constant=pytest.fail)  # NaN is no JSON


def test_pictures_without_color_and_names_with_bars_do_not_break_the_report(manifest: Path, tmp_path: Path) -> None:
    grays, entries = tmp_path / "grays", [entry for entry in read_index(manifest) if entry.split == "test"][:3]
    (grays / "old").mkdir(parents=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 50), dtype=np.uint8)).convert("RGB").save(
        grays / "old" / "a.png"
    )
    content = (grays / "old" / "a.png").read_bytes()
    gray = replace(entries[0], path=str(grays / "old" / "a.png"), category="old|new", sha256=hashlib.sha256(content).hexdigest())
    write_index([*entries, gray], tmp_path / "manifest.csv")
    run("evaluate", EVERYDAY, "--data", tmp_path / "manifest.csv", "--out", tmp_path / "box")
    text = (tmp_path / "box" / "report.md").read_text()
    assert r"| old\|new | 1 |" in text
    json.loads((tmp_path / "box" / "report.json").read_text(), parse_constant=pytest.fail)


def test_any_classifier_of_torchvision_judges_by_the_likeliest_label_of_the_class(tmp_path: Path) -> None:
    network = get_model("squeezenet1_1", weights=None)
    torch.save(network.state_dict(), tmp_path / "squeezenet.pth")
    judge = semantic_judge(f"squeezenet1_1={tmp_path / 'squeezenet.pth'}", torch.device("cpu"))
    assert {"cat", "dog", "bus"} <= set(judge.categories)
    scores = judge.see(np.random.default_rng(0).integers(0, 255, (2, 40, 50, 3), dtype=np.uint8))
    assert scores.shape == (2, len(judge.categories))
    assert ((scores > 0) & (scores < 0.1)).all()  # of a thousand labels that are about as likely as one another


def test_perceptual_scores_are_left_out_without_their_weights_and_named_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photographs: dict[str, Image.Image]
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert perceptual.lpips() is None
    assert perceptual.inception() is None
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(0)
    weights = tmp_path / "checkpoints" / AlexNet_Weights.DEFAULT.url.rpartition("/")[2]
    torch.save(get_model("alexnet", weights=None).state_dict(), weights)
    named = perceptual.lpips()
    weights.unlink()  # 230 MiB
    assert named is not None
    name, see = named
    pairs = [np.random.default_rng(seed).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8) for seed in range(6)]
    with ThreadPoolExecutor(2) as pool:  # as pictures are judged
        assert [each.tolist() for each in pool.map(see, pairs)] == [see(each).tolist() for each in pairs]
    assert re.fullmatch(r"LPIPS \(AlexNet, torchmetrics [\d.]+, 160 px\)", name)
    cat = np.array(photographs["cat"])
    found = see(np.stack([np.array(photographs["cat"].convert("L").convert("RGB")), cat]))
    assert found.shape == (2, 1)
    assert found[1, 0] == pytest.approx(0, abs=1e-6)
    assert found[0, 0] > 0.001


def test_blocks_are_read_alike_as_markdown_and_as_html() -> None:
    written = [
        Heading("A < B"), Text("why & how"), Points(["one"]), Table(("way", "value"), [("a", "1"), ("b", "2")], ("b",)),
        Figure("plot", b"png", 'it shows "it"'),
    ]  # fmt: skip
    assert markdown(written) == (
        "## A < B\n\nwhy & how\n\n- one\n\n| way | value |\n| --- | --- |\n| a | 1 |\n| **b** | **2** |\n\n"
        '![it shows "it"](plots/plot.png)\n\nit shows "it"\n'
    )
    page = html("A < B", written)
    assert "<h2>A &lt; B</h2>" in page
    assert '<tr class="strong"><td>b</td>' in page
    assert 'src="data:image/png;base64,cG5n" alt="it shows &quot;it&quot;"' in page


def test_the_embedded_bundle_may_be_the_base_of_another(manifest: Path, ensemble: Ensemble, tmp_path: Path) -> None:
    recipe = ("publish", "bundle-photos64", "--data", manifest, "--runs", tmp_path, "--out", tmp_path / "out")
    changes = [part for change in CHANGES[:2] for part in ("--set", change)]
    with pytest.raises(DataError, match="everyday was trained on the categories"):
        run(*recipe, *changes)
    base = load_base(tmp_path, "everyday", (*ensemble.bundle.router.categories, "general"), torch.device("cpu"))
    served = ensemble.bundle.trunks[ensemble.bundle.manifest.router.trunk]
    L = torch.linspace(0, 100, 64 * 64).view(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(base.trunk(L)[32], served(L)[32])
        general = base.general(128)
        vivid = replace_read_out(general.network, ensemble.bundle.experts["general"])
        colors = vivid.decode(base.trunk(L), L), ensemble.bundle.experts["general"].decode(served(L), L)
        torch.testing.assert_close(*colors, rtol=1e-3, atol=1e-3)


def replace_read_out(network: Colorizer, served: Colorizer) -> Colorizer:
    """The network, read out as the served one is."""
    for name in ("temperature", "mute", "saturation"):
        setattr(network, name, getattr(served, name))
    return network
