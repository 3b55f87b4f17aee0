"""Datasets of Hugging Face, made here, without the network."""

import os
import sys

import numpy as np
import pytest
from PIL import Image

from ebbtide.data.hub import is_saved_dataset, load_hub, load_hub_path
from ebbtide.errors import EbbtideError

datasets = pytest.importorskip("datasets")
VALUES = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), dtype=np.uint8)


def table(labels=(0, 1, 2, 1, 0), feature=None, column="label"):
    rows = {"picture": [Image.fromarray(value) for value in VALUES], column: list(labels)}
    made = datasets.Dataset.from_dict(rows).cast_column("picture", datasets.Image())
    return made.cast_column(column, feature) if feature else made


@pytest.mark.parametrize("column", ["label", "labels", "fine_label"])
def test_save_to_disk(tmp_path, column):
    table(feature=datasets.ClassLabel(names=["ant", "bee", "cow"]), column=column).save_to_disk(tmp_path / "some")
    dataset = load_hub_path(tmp_path / "some", size=9)
    assert is_saved_dataset(tmp_path / "some")
    assert np.array_equal(dataset.values, VALUES)
    assert dataset.labels.tolist() == [0, 1, 2, 1, 0]
    assert dataset.classes == ("ant", "bee", "cow")
    assert dataset.batch([3]).names == ("some[3]",)


def test_parquet_and_plain_labels(tmp_path):
    table(labels=(0, 3, None, 1, 0)).to_parquet(tmp_path / "some.parquet")
    dataset = load_hub_path(tmp_path / "some.parquet", size=9, limit=3)
    index = [int(name[len("some[") : -1]) for name in dataset.names]
    assert len(index) == 3
    assert np.array_equal(dataset.values, VALUES[index])
    assert dataset.labels.tolist() == np.array([0, 3, -1, 1, 0])[index].tolist()
    assert dataset.classes == ("0", "1", "2", "3")


def test_parquet_that_datasets_did_not_write(tmp_path):
    import pyarrow
    import pyarrow.parquet

    made = table().cast_column("picture", datasets.Image(decode=False))
    rows = {"picture": made[:]["picture"], "label": ["a", "b", "c", "d", "e"]}
    pyarrow.parquet.write_table(pyarrow.table(rows), tmp_path / "some.parquet")
    dataset = load_hub_path(tmp_path / "some.parquet", size=9)
    assert np.array_equal(dataset.values, VALUES)
    assert dataset.labels is None


def test_splits(tmp_path):
    both = datasets.DatasetDict(train=table(), test=table().select([4, 0]))
    both.save_to_disk(tmp_path / "both")
    assert is_saved_dataset(tmp_path / "both")
    test = load_hub_path(tmp_path / "both", split="test", size=9)
    assert np.array_equal(test.values, VALUES[[4, 0]])
    assert test.batch([0]).names == ("both/test[0]",)
    table().save_to_disk(tmp_path / "one")
    with pytest.raises(EbbtideError, match=r"only train.*no test split"):
        load_hub_path(tmp_path / "one", split="test")


def test_a_broken_picture_is_skipped_and_named(tmp_path):
    cells = table().cast_column("picture", datasets.Image(decode=False))[:]["picture"]
    cells[1], cells[3] = {"bytes": cells[1]["bytes"][:40], "path": None}, None
    rows = datasets.Dataset.from_dict({"picture": cells, "label": [0, 1, 2, 3, 4]})
    rows.cast_column("picture", datasets.Image()).save_to_disk(tmp_path / "some")
    dataset = load_hub_path(tmp_path / "some", size=9)
    assert dataset.labels.tolist() == [0, 2, 4]
    assert [note.split(":")[0] for note in dataset.skipped] == ["some[1]", "some[3]"]


def test_no_images_is_an_error_that_names_the_columns(tmp_path):
    datasets.Dataset.from_dict({"text": ["a"], "label": [0]}).save_to_disk(tmp_path / "some")
    with pytest.raises(EbbtideError, match="no column of images, only text, label"):
        load_hub_path(tmp_path / "some")


def test_a_broken_file_is_an_error(tmp_path):
    (tmp_path / "some.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(EbbtideError, match=r"some\.parquet could not be loaded"):
        load_hub_path(tmp_path / "some.parquet")


@pytest.mark.parametrize(("name", "asked"), [("me/some", ("me/some", None)), ("some:small", ("some", "small"))])
def test_the_hub_is_asked_for_name_configuration_and_split(monkeypatch, name, asked):
    calls = []

    def load_dataset(path, config, *, split):
        calls.append((path, config, split))
        return table()

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert np.array_equal(load_hub(name, split="test", size=9).values, VALUES)
    assert calls == [(*asked, "test")]


def test_what_the_hub_says_is_one_line(monkeypatch):
    def load_dataset(*args, **options):
        raise ConnectionError("no\nnetwork")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(EbbtideError, match=r"^hf:some \(train\) could not be loaded: no network$"):
        load_hub("some")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(EbbtideError, match=r'pip install "ebbtide\[hf\]"'):
        load_hub("some")


@pytest.mark.parametrize("kind", ["parquet", "saved"])
def test_damaged_files_are_one_line_and_nothing_beside_it(tmp_path, capfd, kind):
    """Offsets that point anywhere, as some of these have them, end the process where they are followed."""
    path = tmp_path / kind
    table().to_parquet(path) if kind == "parquet" else table().save_to_disk(path)
    target = path if path.is_file() else next(path.glob("*.arrow"))
    whole, rng = target.read_bytes(), np.random.default_rng(2)
    capfd.readouterr()
    said = []
    for count in range(25):
        broken = np.frombuffer(whole, np.uint8).copy()
        broken[rng.integers(len(whole), size=1 + count)] = rng.integers(0, 256, 1 + count)
        target.write_bytes(broken.tobytes())
        try:
            load_hub_path(path, size=9)
        except EbbtideError as error:
            said.append(str(error))
    assert len(said) > 3
    assert "\n" not in "".join(said)
    assert max(map(len, said)) < 500
    assert capfd.readouterr() == ("", "")


def test_labels_that_count_no_classes_are_named_by_their_values(tmp_path):
    table(labels=(1_700_000_000, 7, None, 7, 1_700_000_000)).to_parquet(tmp_path / "some.parquet")
    dataset = load_hub_path(tmp_path / "some.parquet", size=9)
    assert dataset.classes == ("7", "1700000000")
    assert dataset.labels.tolist() == [1, 0, -1, 0, 1]
    assert load_hub_path(tmp_path / "some.parquet", size=9, labels=False).labels is None


def test_a_pipe_in_a_saved_folder_is_not_waited_for(tmp_path):
    table().save_to_disk(tmp_path / "some")
    os.mkfifo(tmp_path / "some" / "more.arrow")
    with pytest.raises(EbbtideError, match=r"more\.arrow: a pipe"):
        load_hub_path(tmp_path / "some")


def test_more_rows_than_a_file_can_hold_are_not_unpacked(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = pyarrow.chunked_array([pyarrow.nulls(2**16, pyarrow.int8())] * 20)
    pyarrow.parquet.write_table(pyarrow.table({"label": rows}), tmp_path / "some.parquet")
    with pytest.raises(EbbtideError, match="promises 1,310,720 rows"):
        load_hub_path(tmp_path / "some.parquet")
