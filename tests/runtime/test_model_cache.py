"""The cache of compiled models: what was stored comes back, or nothing does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vmruntime.model_cache import ENTRIES, ModelCache


def test_what_was_stored_comes_back(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path / "a" / "b")
    assert cache.get("key") is None
    assert cache.put("key", b"body")
    assert cache.put("key", b"another body")
    assert ModelCache(tmp_path / "a" / "b").get("key") == b"another body"
    assert cache.get("other") is None
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["key.model"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o077 == 0


def test_keys_tell_their_parts_apart() -> None:
    parts = [("a", "b"), ("ab",), ("a", b"b", ""), ("", "a", "b"), ("b", "a"), ()]
    assert len({ModelCache.key(*given) for given in parts}) == len(parts)
    assert ModelCache.key("a", b"b") == ModelCache.key(b"a", "b")


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 40])
def test_damaged(tmp_path: Path, damage: bytes) -> None:
    cache = ModelCache(tmp_path)
    cache.put("key", b"body" * 100)
    (tmp_path / "key.model").write_bytes(damage)
    assert cache.get("key") is None


@pytest.mark.parametrize("cut", [1, 33, 100])
def test_cut_short(tmp_path: Path, cut: int) -> None:
    cache = ModelCache(tmp_path)
    cache.put("key", b"body" * 100)
    file = tmp_path / "key.model"
    file.write_bytes(file.read_bytes()[:-cut])
    assert cache.get("key") is None


def test_the_oldest_make_room(tmp_path: Path) -> None:
    cache = ModelCache(tmp_path)
    for i in range(ENTRIES + 5):
        assert cache.put(f"key{i}", b"body")
        os.utime(tmp_path / f"key{i}.model", (i, i))
    kept = {path.stem for path in tmp_path.iterdir()}
    assert kept == {f"key{i}" for i in range(5, ENTRIES + 5)}


def test_where_nothing_can_be_stored(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = ModelCache(tmp_path / "file" / "folder")
    assert not cache.put("key", b"body")
    assert cache.get("key") is None


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"VM_CACHE": "/given", "XDG_CACHE_HOME": "/caches"}, Path("/given")),
        ({"XDG_CACHE_HOME": "/caches"}, Path("/caches/voxelmorph-deploy")),
        ({"HOME": "/home/me"}, Path("/home/me/.cache/voxelmorph-deploy")),
        ({"HOME": "relative"}, None),
        ({"VM_CACHE": "relative"}, None),
    ],
)
def test_folder(
    environment: dict[str, str], expected: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VM_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert ModelCache().folder == expected


def test_a_relative_folder_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VM_CACHE", "relative")
    assert not ModelCache().put("key", b"body")
    assert not list(tmp_path.iterdir())
