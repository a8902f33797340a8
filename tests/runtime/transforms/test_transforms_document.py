"""docs/transforms.md: its example is run, and its numbers are what comes out."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner

from vmruntime.cli.transform import main

DOCUMENT = Path(__file__).parents[3] / "docs" / "transforms.md"


def blocks(kind: str) -> list[tuple[str, str]]:
    """Fenced blocks of a language: the rest of the opening line, and the contents."""
    return re.findall(rf"^```{kind} ?(.*)\n((?:.*\n)*?)```", DOCUMENT.read_text(), re.MULTILINE)


def spot(path: Path, place: tuple[float, ...], origin: tuple[float, ...]) -> None:
    """A scan of 1 mm that is bright at one place."""
    affine = np.eye(4)
    affine[:3, 3] = origin
    data = np.zeros((60, 20, 20), np.float32)
    data[tuple(np.subtract(place, origin).astype(int))] = 100
    nib.save(nib.Nifti1Image(data, affine), path)


def test_the_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    texts = dict(blocks("text"))
    for name in ("affine.txt", "fixed.csv"):
        Path(name).write_text(texts[name])
    spot(Path("moving.nii.gz"), (32, -5, 40), (0, -15, 30))
    spot(Path("fixed.nii.gz"), (0, 0, 40), (-10, -15, 30))
    example = DOCUMENT.read_text().index("## Chains")
    commands = [text for _, text in blocks("sh") if DOCUMENT.read_text().index(text) < example]
    assert len(commands) == 3
    for command in commands:
        program, *arguments = shlex.split(command)
        assert program == "vm-transform"
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
    for name in ("moving.csv", "back.csv"):
        assert Path(name).read_text() == texts[name]
    moved = nib.load("moved.nii.gz")
    brightest = np.array(np.unravel_index(moved.get_fdata().argmax(), moved.shape))
    np.testing.assert_allclose(moved.affine[:3, :3] @ brightest + moved.affine[:3, 3], [20, -5, 40])


def test_the_other_commands_parse() -> None:
    from vmruntime.cli.transform import TransformPath

    for _, text in blocks("sh"):
        for line in text.splitlines():
            context = main.make_context("vm-transform", shlex.split(line)[1:])
            for path, _ in context.params["transforms"]:
                assert isinstance(path, Path)
    assert TransformPath().convert("[a b,1]", None, None) == (Path("a b"), True)
