"""Datasets: preparing them, their index, packs, and batches."""

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.lab import luma_to_lightness
from training.config.recipe import DataOptions
from training.data.batches import plain_batches, training_batch
from training.data.dataset_index import UNSEEN, DataError, digest, read_index, read_pictures, split_by_content, write_index
from training.data.datasets import Datasets, select
from training.data.packs import Pack, lab_bytes, load_pack
from training.data.prepare import prepare

ROOT = Path(__file__).parents[2]


def test_folder_of_categories_becomes_a_dataset_index(category_folders: Path, tmp_path: Path) -> None:
    prepared = prepare(category_folders)
    write_index(prepared.entries, tmp_path / "manifest.csv")
    entries = read_index(tmp_path / "manifest.csv")
    assert entries == prepared.entries
    assert {entry.category for entry in entries} == {"cat", "food", "flower", "general"}
    assert all(entry.split == split_by_content(entry.sha256) for entry in entries)
    assert all((entry.width, entry.height) == (90, 90) for entry in entries)


def test_split_depends_only_on_the_content(category_folders: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    shutil.copytree(category_folders, renamed)
    for path in sorted(renamed.glob("cat/*.png")):
        path.rename(path.with_name(f"z{path.name}"))
    splits = [{entry.sha256: entry.split for entry in prepare(folder).entries} for folder in (category_folders, renamed)]
    assert splits[0] == splits[1]
    shares = [split_by_content(f"{number * 2654435761 % 2**32:08x}") for number in range(4000)]
    for split, share in (("train", 0.9), ("val", 0.05), ("test", 0.05)):
        assert shares.count(split) / 4000 == pytest.approx(share, abs=0.015)


def test_unusable_pictures_are_excluded_and_counted(category_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(category_folders, folder)
    picture = folder / "cat" / "00.png"
    shutil.copy(picture, folder / "cat" / "copy.png")
    (folder / "cat" / "cut.png").write_bytes(picture.read_bytes()[:500])
    Image.open(picture).convert("L").save(folder / "cat" / "gray.png")
    Image.open(picture).resize((20, 20)).save(folder / "cat" / "tiny.png")
    prepared = prepare(folder)
    assert {reason: [Path(path).name for path in paths] for reason, paths in prepared.excluded.items()} == {
        "duplicated": ["copy.png"], "unreadable": ["cut.png"], "gray": ["gray.png"], "tiny": ["tiny.png"],
    }  # fmt: skip
    assert "excluded, gray: 1" in prepared.summary()
    with pytest.raises(DataError, match="no split 'tset': give one of train, val, test"):
        prepare(folder, split="tset")


def test_classes_reserved_for_tests_are_never_trained_on(category_folders: Path, tmp_path: Path) -> None:
    wnid = sorted(UNSEEN)[0]
    shutil.copytree(category_folders / "cat", tmp_path / "set" / wnid)
    entries = prepare(tmp_path / "set", split="train").entries
    assert {entry.split for entry in entries} == {"unseen"}
    write_index([replace(entry, split="train") for entry in entries], tmp_path / "manifest.csv")
    with pytest.raises(DataError, match=f"{wnid} are reserved for tests"):
        _ = Datasets(DataOptions(sets=("set",)), tmp_path / "manifest.csv").train


def test_shards_define_their_splits_except_of_reserved_classes(category_folders: Path, tmp_path: Path) -> None:
    rows = ["shard,member,set,split,category,width,height"]
    wnid = sorted(UNSEEN)[0]
    with tarfile.open(tmp_path / "one.tar", "w") as tar:
        for index, (name, category, split) in enumerate(
            (("a.png", "cat", "val"), ("b.png", "cat", "train"), ("c.png", wnid, "train"))
        ):
            tar.add(category_folders / "cat" / f"{index:02}.png", arcname=f"{category}/{name}")
            rows.append(f"one.tar,{category}/{name},photos,{split},{category},90,90")
    rows.append("one.tar,cat/lost.png,photos,train,cat,90,90")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    assert prepare(tmp_path).excluded == {"empty or missing": [f"{tmp_path / 'one.tar'}::cat/lost.png"]}
    with pytest.raises(DataError, match="omit --split"):
        prepare(tmp_path, split="test")
    entries = prepare(tmp_path).entries
    assert {entry.category: entry.split for entry in entries if entry.category != "cat"} == {wnid: "unseen"}
    assert sorted(entry.split for entry in entries if entry.category == "cat") == ["train", "val"]
    contents = {entry.path.rpartition("/")[2]: content for entry, content in read_pictures(entries)}
    assert contents["a.png"] == (category_folders / "cat" / "00.png").read_bytes()


def test_dataset_with_its_own_splits_is_read_from_a_folder_or_an_archive(
    photographs: dict[str, Image.Image], tmp_path: Path
) -> None:
    for split, count in (("train", 3), ("test", 8)):
        for index in range(count):
            path = tmp_path / "cifar" / split / "cat" / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            photographs["cat"].crop((index, 0, index + 40, 40)).save(path)
    subprocess.run(["tar", "-cJf", str(tmp_path / "cifar.tar.xz"), "-C", str(tmp_path / "cifar"), "train", "test"], check=True)
    of_folder, of_archive = (prepare(tmp_path / name).entries for name in ("cifar", "cifar.tar.xz"))
    key = {entry.sha256: (entry.set, entry.split, entry.category) for entry in of_folder}
    assert key == {entry.sha256: (entry.set, entry.split, entry.category) for entry in of_archive}
    splits = [entry.split for entry in of_archive]
    assert splits.count("train") == 3
    assert {"val", "test"} <= set(splits)
    assert {entry.set for entry in of_archive} == {"cifar"}


def test_dataset_index_of_the_tests_has_every_split(manifest: Path) -> None:
    assert {entry.split for entry in read_index(manifest)} == {"train", "val", "test"}


def test_missing_data_raises_an_error_with_the_remedy(tmp_path: Path, category_folders: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        prepare(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no usable pictures"):
        prepare(tmp_path)
    with pytest.raises(DataError, match="chromaroute-train prepare"):
        read_index(tmp_path / "manifest.csv")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="columns"):
        read_index(tmp_path / "bad.csv")
    missing = replace(prepare(category_folders).entries[0], path="/nowhere.png")
    with pytest.raises(DataError, match="Run `prepare` again"):
        list(read_pictures([missing]))


def test_limit_takes_pictures_from_every_category_in_turn(category_folders: Path) -> None:
    entries = list(prepare(category_folders, split="train").entries)
    chosen = select(entries, (), "train", limit=8)
    assert sorted(entry.category for entry in chosen) == sorted(["cat", "food", "flower", "general"] * 2)


def test_packed_lightness_equals_that_of_the_gray_picture_at_inference(
    photographs: dict[str, Image.Image], encoded: Callable[..., bytes]
) -> None:
    square = photographs["person"].crop((0, 0, 160, 160))
    packed = lab_bytes(encoded(square), 160)
    gray = torch.from_numpy(np.array(square.convert("L"))).float() / 255
    assert np.abs(packed[0] / 2.55 - luma_to_lightness(gray).numpy()).max() < 0.8


def test_pack_is_written_once_and_ordered_by_content(category_folders: Path, tmp_path: Path) -> None:
    entries = prepare(category_folders).entries
    categories = ("cat", "flower", "food", "general")
    pack = load_pack(entries, categories, 64, tmp_path)
    made = next(tmp_path.glob("*.npy")).stat().st_mtime_ns
    again = load_pack(entries[::-1], categories, 64, tmp_path)
    assert next(tmp_path.glob("*.npy")).stat().st_mtime_ns == made
    assert np.array_equal(pack.pixels, again.pixels)
    assert np.array_equal(pack.labels, again.labels)
    assert digest(entries) == digest(entries[::-1])
    with pytest.raises(DataError, match=r"\['food'\]"):
        load_pack(entries, ("cat", "flower", "general"), 64, tmp_path)


def test_batch_depends_only_on_seed_and_step(category_folders: Path, tmp_path: Path) -> None:
    pack = load_pack(prepare(category_folders).entries, ("cat", "flower", "food", "general"), 80, tmp_path)
    first, again, later = (training_batch(pack, step, 16, 64, 3, DataOptions()) for step in (5, 5, 6))
    assert torch.equal(first.L, again.L)
    assert torch.equal(first.ab, again.ab)
    assert not torch.equal(first.L, later.L)
    assert first.L.shape == (16, 1, 64, 64)
    assert first.ab.shape == (16, 2, 64, 64)
    assert first.L.min() >= 0
    assert first.L.max() <= 100


def test_epoch_contains_every_picture_once(category_folders: Path, tmp_path: Path) -> None:
    pack = load_pack(prepare(category_folders).entries, ("cat", "flower", "food", "general"), 64, tmp_path)
    assert len(pack) == 48
    labels = torch.cat([training_batch(pack, step, 16, 32, 0, DataOptions()).labels for step in range(3)])
    assert sorted(labels.tolist()) == sorted(pack.labels.tolist())
    assert sum(len(batch.labels) for batch in plain_batches(pack, 10, 32)) == 48


MEASURE = """
import sys, numpy as np
from training.config.recipe import DataOptions
from training.data.batches import plain_batches, training_batch
from training.data.packs import Pack

def anonymous():  # MiB of memory of this process only; pages of the mapped file can be dropped by the system
    lines = open("/proc/self/status").read().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) / 1024

count = int(sys.argv[1])
pixels = np.memmap(sys.argv[2], np.uint8, "r", shape=(count, 3, 128, 128))
labels = np.zeros(count, np.int64)
pack = Pack(pixels, np.arange(count), labels, labels, ("cat",))
most, before = 0.0, anonymous()
for step in range(40):
    training_batch(pack, step, 16, 128, 1, DataOptions())
    most = max(most, anonymous() - before)
for batch, _ in zip(plain_batches(pack.pick(np.arange(0, count, 2)), 16, 128), range(40)):
    most = max(most, anonymous() - before)
print(most)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    used = {}
    for count in (1_000, 200_000):  # 47 MiB of pictures, and 9.2 GiB, in sparse files
        with (tmp_path / str(count)).open("wb") as file:
            file.truncate(count * 3 * 128 * 128)
        command = [sys.executable, "-c", MEASURE, str(count), str(tmp_path / str(count))]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, done.stderr
        used[count] = float(done.stdout)
    assert used[200_000] < used[1_000] + 16


def test_part_of_a_pack_reads_the_same_pictures_as_the_whole() -> None:
    pixels = np.arange(6 * 3 * 2 * 2, dtype=np.uint8).reshape(6, 3, 2, 2)
    labels = np.array([0, 1, 0, 1, 0, 1])
    pack = Pack(pixels, np.arange(6), labels, labels, ("a", "b"))
    own = pack.pick(np.array([1, 3, 5])).pick(np.array([2, 0]))
    assert np.array_equal(own.rows(np.array([0, 1])), pixels[[5, 1]])
    assert np.array_equal(own.row(1), pixels[1])
    assert own.labels.tolist() == [1, 1]


@pytest.mark.parametrize("augmentation", ["full", "old_prints", "flips"])
def test_pack_in_the_memory_of_a_device_has_the_same_pictures(augmentation: Any, category_folders: Path, tmp_path: Path) -> None:
    pack = load_pack(prepare(category_folders).entries, ("cat", "flower", "food", "general"), 80, tmp_path)
    data = DataOptions(augmentation=augmentation)
    one, other = (training_batch(each, 3, 16, 64, 1, data) for each in (pack, pack.copied_to(torch.device("cpu"))))
    torch.testing.assert_close(one.L, other.L)
    torch.testing.assert_close(one.ab, other.ab)
    assert torch.equal(one.labels, other.labels)


def test_pictures_are_drawn_by_weight(category_folders: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.csv"
    entries = [entry for entry in prepare(category_folders).entries if entry.split == "train"]
    cats = [entry for entry in entries if entry.category == "cat"]
    write_index([*cats, *[entry for entry in entries if entry.category == "food"][: len(cats) // 4]], index)

    def shares(**options: object) -> dict[str, float]:
        sets = tuple({entry.set for entry in entries})
        pack = Datasets(DataOptions(sets=sets, size=32, **options), index).train  # type: ignore[arg-type]
        labels = torch.cat([training_batch(pack, step, 100, 32, 0, DataOptions()).labels for step in range(20)])
        return {name: float((labels == number).float().mean()) for number, name in enumerate(pack.categories)}

    assert shares()["cat"] == pytest.approx(0.8, abs=0.05)
    assert shares(evenness=1.0)["cat"] == pytest.approx(0.5, abs=0.05)
    assert shares(evenness=1.0, weights={"cat": 3.0})["cat"] == pytest.approx(0.75, abs=0.05)
    with pytest.raises(DataError, match=r"no training pictures of boat, which data\.weights names"):
        shares(weights={"boat": 2.0})


def test_frequencies_are_those_with_which_categories_are_drawn(category_folders: Path, tmp_path: Path) -> None:
    entries = [entry for entry in prepare(category_folders).entries if entry.split == "train"]
    sets = tuple({entry.set for entry in entries})
    write_index(entries, tmp_path / "manifest.csv")
    options = DataOptions(sets=sets, size=32, weights={"cat": 3.0}, evenness=0.4)
    datasets = Datasets(options, tmp_path / "manifest.csv")
    labels = torch.cat([training_batch(datasets.train, step, 100, 32, 0, options).labels for step in range(30)])
    drawn = [float((labels == label).float().mean()) for label in range(len(datasets.categories))]
    np.testing.assert_allclose(datasets.frequencies, drawn, atol=0.04)


def test_several_sources_become_one_index(category_folders: Path, tmp_path: Path) -> None:
    shutil.copytree(category_folders, tmp_path / "copy")
    own, both = prepare(category_folders), prepare(category_folders, tmp_path / "copy")
    assert both.entries == own.entries
    assert len(both.excluded["duplicated"]) == len(own.entries)


def test_limit_bounds_the_pictures_of_each_set_split_and_category(category_folders: Path) -> None:
    entries = prepare(category_folders, split="train", limit=2).entries
    assert {name: sum(entry.category == name for entry in entries) for name in ("cat", "food")} == {"cat": 2, "food": 2}


def test_first_group_that_names_a_picture_has_it(manifest: Path) -> None:
    groups = {"unlabeled": ("photographs/f*",), "pet": ("cat",), "general": ("photographs/*",)}
    datasets = Datasets(DataOptions(sets=("photographs",), validation_sets=("photographs",), groups=groups), manifest)
    assert datasets.categories == ("pet", "general")
    train, kinds = datasets.train, np.array(datasets.kinds)
    labels = {kind: set(train.labels[train.kinds == number].tolist()) for number, kind in enumerate(kinds)}
    assert labels == {
        "photographs/cat": {0}, "photographs/flower": {-1}, "photographs/food": {-1}, "photographs/general": {1},
    }  # fmt: skip
    assert -1 not in datasets.labeled[0].labels


def test_group_without_pictures_is_rejected(manifest: Path) -> None:
    options = DataOptions(sets=("photographs",), groups={"pet": ("photographs/ferret",)})
    with pytest.raises(DataError, match="no pictures of photographs/ferret, which data.groups names"):
        _ = Datasets(options, manifest).train
