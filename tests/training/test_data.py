import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.lab import luma_to_lightness
from training.config import Data
from training.data.batches import plain_batches, training_batch
from training.data.dataset_index import UNSEEN, DataError, digest, read_index, read_pictures, split_by_content, write_index
from training.data.datasets import Datasets, select
from training.data.packs import lab_bytes, load_pack
from training.data.prepare import prepare


def test_a_folder_of_categories_becomes_a_manifest(category_folders: Path, tmp_path: Path) -> None:
    prepared = prepare(category_folders)
    write_index(prepared.entries, tmp_path / "manifest.csv")
    entries = read_index(tmp_path / "manifest.csv")
    assert entries == prepared.entries
    assert {entry.category for entry in entries} == {"cat", "food", "flower", "general"}
    assert all(entry.split == split_by_content(entry.sha256) for entry in entries)
    assert all((entry.width, entry.height) == (90, 90) for entry in entries)


def test_the_split_depends_on_the_content_alone(category_folders: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed"
    shutil.copytree(category_folders, renamed)
    for path in sorted(renamed.glob("cat/*.png")):
        path.rename(path.with_name(f"z{path.name}"))
    splits = [{entry.sha256: entry.split for entry in prepare(folder).entries} for folder in (category_folders, renamed)]
    assert splits[0] == splits[1]
    shares = [split_by_content(f"{number * 2654435761 % 2**32:08x}") for number in range(4000)]
    for split, share in (("train", 0.9), ("val", 0.05), ("test", 0.05)):
        assert shares.count(split) / 4000 == pytest.approx(share, abs=0.015)


def test_what_cannot_be_trained_on_is_set_aside_and_counted(category_folders: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    shutil.copytree(category_folders, folder)
    picture = folder / "cat" / "00.png"
    shutil.copy(picture, folder / "cat" / "copy.png")
    (folder / "cat" / "cut.png").write_bytes(picture.read_bytes()[:500])
    Image.open(picture).convert("L").save(folder / "cat" / "gray.png")
    Image.open(picture).resize((20, 20)).save(folder / "cat" / "tiny.png")
    prepared = prepare(folder)
    assert {reason: [Path(path).name for path in paths] for reason, paths in prepared.set_aside.items()} == {
        "duplicated": ["copy.png"], "unreadable": ["cut.png"], "gray": ["gray.png"], "tiny": ["tiny.png"],
    }  # fmt: skip
    assert "set aside, gray: 1" in prepared.summary()
    with pytest.raises(DataError, match="no split 'tset': give one of train, val, test"):
        prepare(folder, split="tset")


def test_the_unseen_classes_never_enter_training(category_folders: Path, tmp_path: Path) -> None:
    wnid = sorted(UNSEEN)[0]
    shutil.copytree(category_folders / "cat", tmp_path / "set" / wnid)
    entries = prepare(tmp_path / "set", split="train").entries
    assert {entry.split for entry in entries} == {"unseen"}
    write_index([entry.__class__(**{**entry.__dict__, "split": "train"}) for entry in entries], tmp_path / "manifest.csv")
    with pytest.raises(DataError, match=f"{wnid} stay out of all training"):
        _ = Datasets(Data(sets=("set",)), tmp_path / "manifest.csv").train


def test_shards_keep_their_own_splits_and_the_unseen_classes_apart(category_folders: Path, tmp_path: Path) -> None:
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
    assert prepare(tmp_path).set_aside == {"empty or missing": [f"{tmp_path / 'one.tar'}::cat/lost.png"]}
    with pytest.raises(DataError, match="leave --split away"):
        prepare(tmp_path, split="test")
    entries = prepare(tmp_path).entries
    assert {entry.category: entry.split for entry in entries if entry.category != "cat"} == {wnid: "unseen"}
    assert sorted(entry.split for entry in entries if entry.category == "cat") == ["train", "val"]
    contents = {entry.path.rpartition("/")[2]: content for entry, content in read_pictures(entries)}
    assert contents["a.png"] == (category_folders / "cat" / "00.png").read_bytes()


def test_missing_data_is_explained(tmp_path: Path, category_folders: Path) -> None:
    with pytest.raises(DataError, match="no folder"):
        prepare(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no usable picture"):
        prepare(tmp_path)
    with pytest.raises(DataError, match="chromaroute-train prepare"):
        read_index(tmp_path / "manifest.csv")
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="columns"):
        read_index(tmp_path / "bad.csv")
    gone = list(prepare(category_folders).entries)[:1]
    with pytest.raises(DataError, match="Run `prepare` again"):
        list(read_pictures([gone[0].__class__(**{**gone[0].__dict__, "path": "/nowhere.png"})]))


def test_a_limit_takes_from_every_category_in_turn(category_folders: Path) -> None:
    entries = list(prepare(category_folders, split="train").entries)
    chosen = select(entries, (), "train", limit=8)
    assert sorted(entry.category for entry in chosen) == sorted(["cat", "food", "flower", "general"] * 2)


def test_packed_lightness_is_that_of_the_gray_that_serving_sees(photographs: dict[str, Image.Image], encoded) -> None:  # type: ignore[no-untyped-def]
    square = photographs["person"].crop((0, 0, 160, 160))
    packed = lab_bytes(encoded(square), 160)
    gray = torch.from_numpy(np.array(square.convert("L"))).float() / 255
    assert np.abs(packed[0] / 2.55 - luma_to_lightness(gray).numpy()).max() < 0.8


def test_packs_are_made_once_and_ordered_by_content(category_folders: Path, tmp_path: Path) -> None:
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


def test_batches_are_a_function_of_seed_and_step(category_folders: Path, tmp_path: Path) -> None:
    pack = load_pack(prepare(category_folders).entries, ("cat", "flower", "food", "general"), 80, tmp_path)
    first, again, later = (training_batch(pack, step, 16, 64, 3, Data()) for step in (5, 5, 6))
    assert torch.equal(first.L, again.L)
    assert torch.equal(first.ab, again.ab)
    assert not torch.equal(first.L, later.L)
    assert first.L.shape == (16, 1, 64, 64)
    assert first.ab.shape == (16, 2, 64, 64)
    assert first.L.min() >= 0
    assert first.L.max() <= 100


def test_an_epoch_shows_every_picture_once(category_folders: Path, tmp_path: Path) -> None:
    pack = load_pack(prepare(category_folders).entries, ("cat", "flower", "food", "general"), 64, tmp_path)
    assert len(pack) == 48
    labels = torch.cat([training_batch(pack, step, 16, 32, 0, Data()).labels for step in range(3)])
    assert sorted(labels.tolist()) == sorted(pack.labels.tolist())
    assert sum(len(batch.labels) for batch in plain_batches(pack, 10, 32)) == 48
