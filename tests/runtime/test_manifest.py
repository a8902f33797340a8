"""Manifests: round trip, refusals, comparison with a scan's grid; fuzzed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthetic_scans import MODEL_SHAPE, ORIENTATIONS, affine_of
from vmruntime import Grid, Manifest, ManifestError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
SIZES = st.integers(1, 1 << 16)
COUNTS = st.integers(1, 1000)
LENGTHS = st.floats(1e-5, 1e5)


def whole(manifest: Manifest) -> Manifest:
    """Make the shape a multiple of the stride."""
    shape = manifest.shape and tuple(n * manifest.stride for n in manifest.shape)
    return replace(manifest, shape=shape)


MANIFESTS = st.builds(
    Manifest,
    shape=st.none(),
    stride=SIZES,
    orientation=st.sampled_from(ORIENTATIONS),
    voxel_size=st.tuples(LENGTHS, LENGTHS, LENGTHS),
    intensity=st.sampled_from(["none", "minmax", "divide:255", "percentile:1,99.5"]),
    diffeomorphic=st.booleans(),
    int_steps=st.integers(0, 20),
    precision=st.sampled_from(["fp32", "fp16"]),
    moving_channels=SIZES,
    fixed_channels=SIZES,
    source=st.dictionaries(TEXTS, TEXTS, max_size=3),
    versions=st.dictionaries(TEXTS, TEXTS, max_size=3),
    verification=st.dictionaries(TEXTS, JSON, max_size=3),
).map(whole)


@given(MANIFESTS)
def test_round_trip(manifest: Manifest) -> None:
    text = manifest.to_json()
    assert Manifest.from_json(text) == manifest
    assert Manifest.from_json(text.encode()) == manifest
    assert "\n" not in text


@pytest.fixture
def values(manifest: Manifest) -> dict[str, Any]:
    return json.loads(manifest.to_json())


def test_the_version_comes_first(manifest: Manifest) -> None:
    assert next(iter(manifest.to_dict().items())) == ("version", "1.0")


def test_unknown_fields_are_passed_over(values: dict[str, Any], manifest: Manifest) -> None:
    values |= {"version": "1.7", "affine_initialisation": True}
    assert Manifest.from_json(json.dumps(values)) == manifest


@pytest.mark.parametrize("version", ["2.0", "10.3", "99999.0"])
def test_newer_versions(values: dict[str, Any], version: str) -> None:
    with pytest.raises(ManifestError, match=rf"version {version}, this runtime reads up to 1\.x"):
        Manifest.from_json(json.dumps(values | {"version": version}))


@pytest.mark.parametrize(
    "version", [None, 1, 1.0, "1", "1.0.0", "", "x.y", "-1.0", "0.9", "1.", "\u0661.0", "1" * 5000]
)
def test_wrong_versions(values: dict[str, Any], version: Any) -> None:
    with pytest.raises(ManifestError, match=r"the manifest's version"):
        Manifest.from_json(json.dumps(values | {"version": version}))


def test_every_field_is_needed(values: dict[str, Any]) -> None:
    for key in set(values) - {"shape"}:
        without = {name: value for name, value in values.items() if name != key}
        with pytest.raises(ManifestError, match=key):
            Manifest.from_json(json.dumps(without))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("shape", [16, 32]), ("shape", [16, 32, 0]), ("shape", [16, 32, 48.0]), ("shape", "16"),
        ("shape", [True, 32, 48]), ("shape", [16, 32, 1 << 40]), ("shape", [16, 32, 40]),
        ("stride", 0), ("stride", 1.5), ("stride", True), ("stride", "16"), ("stride", None),
        ("orientation", "LIX"), ("orientation", "LRA"), ("orientation", "LI"),
        ("orientation", "LIAS"), ("orientation", ["L", "I", "A"]), ("orientation", "lia"),
        ("voxel_size", [2, 2]), ("voxel_size", [2, 2, 0]), ("voxel_size", [2, 2, -2]),
        ("voxel_size", [2, 2, "2"]), ("voxel_size", [2, 2, 1e300]), ("voxel_size", 2),
        ("intensity", "divide"), ("intensity", 255), ("diffeomorphic", 1), ("int_steps", -1),
        ("precision", "int4"), ("precision", ["fp32"]), ("moving_channels", 0),
        ("source", []), ("versions", None), ("verification", "good"),
    ],
)  # fmt: skip
def test_wrong_values(values: dict[str, Any], key: str, value: Any) -> None:
    with pytest.raises(ManifestError, match=r"manifest|rule") as found:
        Manifest.from_json(json.dumps(values | {key: value}))
    assert key in str(found.value) or "rule" in str(found.value)


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "3", "[]", '"text"', "{", "\0", b"\xff\xfe", "[" * 100_000, "1" * 5000,
        '{"version": "1.0", "version": NaN}', '{"a": 1e999}', '{"a": "\\ud800"}',
    ],
)  # fmt: skip
def test_no_json(text: str | bytes) -> None:
    with pytest.raises(ManifestError, match=r"manifest is not") as found:
        Manifest.from_json(text)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999", '"\\ud800"'])
def test_values_that_json_does_not_have(manifest: Manifest, value: str) -> None:
    """They would be read, and then fail the report that repeats them."""
    text = manifest.to_json().replace("1e-05", value)
    assert value in text
    with pytest.raises(ManifestError, match="not JSON"):
        Manifest.from_json(text)


@given(st.binary(max_size=200) | st.text(max_size=200) | JSON.map(json.dumps))
def test_fuzz_anything(text: str | bytes) -> None:
    with pytest.raises(ManifestError):
        Manifest.from_json(text)


@given(data=st.data())
def test_fuzz_changed_manifests(data: st.DataObject, manifest: Manifest) -> None:
    values = manifest.to_dict()
    key = data.draw(st.sampled_from(sorted(values)))
    values[key] = data.draw(JSON)
    try:
        found = Manifest.from_json(json.dumps(values))
    except ManifestError:
        return
    assert Manifest.from_json(found.to_json()) == found


@given(data=st.data())
def test_fuzz_changed_bytes(data: st.DataObject, manifest: Manifest) -> None:
    text = bytearray(manifest.to_json().encode())
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = Manifest.from_json(bytes(text))
    except ManifestError:
        return
    assert Manifest.from_json(found.to_json()) == found


# Against a scan's grid ---------------------------------------------------------------------------


def test_the_models_own_grid_fits(manifest: Manifest) -> None:
    assert manifest.grid_differences(Grid(MODEL_SHAPE, affine_of())) == []


@pytest.mark.parametrize("orientation", [o for o in ORIENTATIONS if o != "LIA"])
def test_every_other_orientation_is_named(manifest: Manifest, orientation: str) -> None:
    differences = manifest.grid_differences(Grid(MODEL_SHAPE, affine_of(orientation)))
    assert differences == [f"orientation {orientation} instead of LIA"]


def test_shape_is_named(manifest: Manifest) -> None:
    differences = manifest.grid_differences(Grid((16, 32, 47), affine_of()))
    assert differences == ["16 x 32 x 47 voxels instead of 16 x 32 x 48"]


def test_a_free_grid_needs_multiples(manifest: Manifest) -> None:
    free = replace(manifest, shape=None)
    assert free.grid_differences(Grid((32, 16, 160), affine_of())) == []
    differences = free.grid_differences(Grid((32, 17, 160), affine_of()))
    assert differences == ["32 x 17 x 160 voxels, not multiples of 16"]


@pytest.mark.parametrize(("factor", "fits"), [(1.005, True), (0.995, True), (1.02, False)])
def test_voxel_size_within_a_hundredth(manifest: Manifest, factor: float, fits: bool) -> None:
    differences = manifest.grid_differences(Grid(MODEL_SHAPE, affine_of("LIA", (2, 2 * factor, 2))))
    assert (differences == []) is fits
    if differences:
        assert differences == ["voxels of 2 x 2.04 x 2 mm instead of 2 x 2 x 2 mm"]


def test_all_differences_at_once(manifest: Manifest) -> None:
    differences = manifest.grid_differences(Grid((5, 7, 9), affine_of("RAS", (1, 1, 3))))
    assert len(differences) == 3


def test_an_oblique_scan_has_the_orientation_of_its_nearest_axes(manifest: Manifest) -> None:
    turned = affine_of()
    cos, sin = np.cos(0.3), np.sin(0.3)
    turned[:3, :3] = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ turned[:3, :3]
    assert manifest.grid_differences(Grid(MODEL_SHAPE, turned)) == []
