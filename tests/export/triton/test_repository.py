"""Model folders that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from command_line import snapshot
from vmexport.triton import ModelRepository
from vmruntime.errors import OutputError


def _write(folder: Path, name: str = "m", content: str = "model", *, force: bool = False) -> None:
    with ModelRepository(folder, name, force=force) as repository:
        repository.file("model.onnx").write_text(content)
        repository.write_config(f"name: {name}")
        assert repository.path == folder / name
        assert not (folder / name / "1" / "model.onnx").exists() or force


def _names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


WHOLE = ["models", "models/m", "models/m/1", "models/m/1/model.onnx", "models/m/config.pbtxt"]


def test_a_new_repository(tmp_path: Path) -> None:
    _write(tmp_path / "models")
    assert _names(tmp_path) == WHOLE
    mask = os.umask(0)
    os.umask(mask)
    for folder in ("models", "models/m", "models/m/1"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o777 & ~mask


def test_a_model_more(tmp_path: Path) -> None:
    _write(tmp_path / "models")
    _write(tmp_path / "models", "other")
    assert _names(tmp_path / "models") == [
        "m", "m/1", "m/1/model.onnx", "m/config.pbtxt",
        "other", "other/1", "other/1/model.onnx", "other/config.pbtxt",
    ]  # fmt: skip


def test_nothing_lies_in_the_repository_while_it_is_written(tmp_path: Path) -> None:
    # A server that polls takes every folder for a model.
    (tmp_path / "models").mkdir()
    with ModelRepository(tmp_path / "models", "m") as repository:
        repository.file("model.onnx").write_text("half")
        assert _names(tmp_path / "models") == []
        assert repository.file("model.onnx").parent.name == "1"


def test_a_repository_whose_parent_cannot_be_written_is_written_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    _write(tmp_path / "models")
    assert _names(tmp_path) == WHOLE


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("exists", [False, True])
def test_an_error_leaves_nothing(tmp_path: Path, error: type[BaseException], exists: bool) -> None:
    if exists:
        _write(tmp_path / "models")
    before = snapshot(tmp_path)

    def fail() -> None:
        with ModelRepository(tmp_path / "models", "m", force=True) as repository:
            repository.file("model.onnx").write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert snapshot(tmp_path) == before
    assert (tmp_path / "models").exists() is exists


def test_an_error_of_the_writer_names_the_place_that_was_asked_for(tmp_path: Path) -> None:
    def fail() -> None:
        with ModelRepository(tmp_path / "models", "m") as repository:
            raise OutputError(f"{repository.file('model.onnx')}: cannot be written")

    with pytest.raises(OutputError) as caught:
        fail()
    assert str(caught.value) == f"{tmp_path}/models/m/1/model.onnx: cannot be written"


def test_an_existing_model_needs_force(tmp_path: Path) -> None:
    _write(tmp_path / "models")
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match=r"models/m: exists already; .* or pass --force"):
        _write(tmp_path / "models", content="new")
    assert snapshot(tmp_path) == before
    (tmp_path / "models" / "m" / "2").mkdir()
    _write(tmp_path / "models", content="new", force=True)
    assert (tmp_path / "models/m/1/model.onnx").read_text() == "new"
    assert _names(tmp_path) == WHOLE


def test_one_that_came_up_meanwhile_is_not_replaced(tmp_path: Path) -> None:

    def late() -> None:
        with ModelRepository(tmp_path / "models", "m") as repository:
            repository.file("model.onnx").write_text("mine")
            _write(tmp_path / "models", content="theirs")

    with pytest.raises(OutputError, match="exists already"):
        late()
    assert (tmp_path / "models/m/1/model.onnx").read_text() == "theirs"
    assert _names(tmp_path) == WHOLE


def test_where_replacing_fails_the_old_one_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "models")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if target == tmp_path / "models" / "m" and not path.name.endswith(".old"):
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="No space left on device"):
        _write(tmp_path / "models", content="new", force=True)
    assert (tmp_path / "models/m/1/model.onnx").read_text() == "model"
    assert _names(tmp_path) == WHOLE


def test_force_does_not_cost_a_folder_that_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "thesis").write_text("three years")
    with pytest.raises(OutputError, match="no model's folder"):
        _write(tmp_path, "documents", force=True)
    _write(tmp_path, "real")
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    with pytest.raises(OutputError, match="no model's folder"):
        _write(tmp_path, "linked", force=True)
    assert (tmp_path / "documents" / "thesis").read_text() == "three years"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../m", "-m", "a b", "ä", "m" * 101, "m\n"])
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="is no name for a model"):
        ModelRepository(tmp_path / "models", name)


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist; create it first"):
        _write(tmp_path / "missing" / "models")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="exists and is no folder"):
        _write(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone" / "far")
    with pytest.raises(OutputError, match="does not exist"):
        _write(tmp_path / "dangling")
    assert _names(tmp_path) == ["dangling", "file"]


def test_outside_of_the_block_there_is_nothing_to_write(tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path / "models", "m")
    with pytest.raises(OutputError, match="nothing is being written"):
        repository.file("model.onnx")
