"""The rows: odd and anisotropic shapes, borders, ties, NaN, and what else has gone wrong before."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conformance.material import (
    EXACT,
    ODD,
    across_border,
    between_voxels,
    broken,
    displacement,
    flipped,
    holed,
    labels,
    shifted,
    ties,
    turned,
    volume,
    waves,
)
from conformance.rows import (
    AffineRow,
    CarryRow,
    ComposeRow,
    IntegrateRow,
    JacobianRow,
    ResizeRow,
    Row,
    Trait,
    WarpRow,
)

__all__ = ["ROWS"]

Array = NDArray[Any]

INTEGERS = (np.uint8, np.int16, np.int32)


def warp(name: str, data: Array, field: Array, mode: str = "linear", *traits: Trait) -> WarpRow:
    """A row; what its volume and mode need is added to the traits."""
    found = set(traits)
    if data.dtype.kind in "iu":
        found.add(Trait.LABELS)
    if data.dtype == np.float16:
        found.add(Trait.FLOAT16)
    if mode == "label":
        found.add(Trait.VOTE)
    if len(data) != 1:
        found.add(Trait.CHANNELS)
    if 1 in data.shape[1:]:
        found.add(Trait.SIZE_ONE)
    if not np.isfinite(field).all():
        found.add(Trait.NOT_FINITE)
    return WarpRow(name, frozenset(found), np.ascontiguousarray(data), field, mode)


def warps() -> list[Row]:
    """Rows of `warp` in modes linear and nearest."""
    rows: list[Row] = []
    shapes = {
        "odd": ODD,
        "anisotropic": (3, 33, 17),
        "one wide": (2, 2, 129),
        "size 1 along d": (1, 7, 6),
        "size 1 along h": (7, 1, 6),
        "size 1 along w": (7, 6, 1),
        "one voxel": (1, 1, 1),
        "size 2": (2, 2, 2),
    }
    for mode in ("linear", "nearest"):
        for name, shape in shapes.items():
            rows.append(warp(f"{mode}, {name}", volume(shape), displacement(shape), mode))
        rows += [
            warp(f"{mode}, at rest", volume(ODD), np.zeros((3, *ODD), np.float32), mode),
            warp(f"{mode}, three channels", volume(ODD, 3), displacement(ODD), mode),
            warp(f"{mode}, far outside", volume(ODD), displacement(ODD, 50), mode),
            warp(f"{mode}, larger output", volume((5, 6, 7)), displacement((8, 9, 12)), mode),
            warp(f"{mode}, smaller output", volume((8, 9, 12)), displacement((5, 3, 2)), mode),
            warp(f"{mode}, long axis", volume((2, 3, 300)), displacement((2, 3, 300), 1), mode),
            warp(f"{mode}, float16", volume(ODD, 2).astype(np.float16), displacement(ODD), mode),
            warp(
                f"{mode}, float16 along 300 voxels",
                volume((2, 2, 301)).astype(np.float16),
                displacement((2, 2, 301), 0.3),
                mode,
            ),
            warp(f"{mode}, NaN in the volume", holed(), between_voxels(ODD), mode),
        ]
        rows += [
            warp(f"{mode}, displacement {value}", volume(ODD), broken(value), mode, *traits)
            for value, traits in {
                np.nan: (),
                np.inf: (),
                -np.inf: (),
                1e10: (),
                -1e10: (),
                3e38: (Trait.NOT_FINITE,),
                -3e38: (Trait.NOT_FINITE,),
            }.items()
        ]
    rows += [
        warp(f"linear, across the {end} of axis {axis}", volume(ODD), across_border(ODD, axis, end))
        for axis in range(3)
        for end in ("first", "last")
    ]
    rows += [
        warp("nearest, ties", volume(EXACT), ties(EXACT), "nearest", Trait.TIES),
        warp(
            "nearest, ties of float16",
            volume(EXACT).astype(np.float16),
            ties(EXACT, 5),
            "nearest",
            Trait.TIES,
        ),
    ]
    return rows


def label_warps() -> list[Row]:
    """Rows of `warp` on labels, nearest and by vote."""
    rows: list[Row] = []
    for dtype in INTEGERS:
        data = labels(ODD, dtype)[None]
        for mode in ("nearest", "label"):
            named = f"{mode}, {np.dtype(dtype)}"
            rows.append(warp(named, data, displacement(ODD), mode))
            tied = labels(EXACT, dtype, 2)[None]
            rows.append(warp(f"{named}, ties", tied, ties(EXACT), mode, Trait.TIES))
    data = labels(ODD)[None]
    noise = np.random.default_rng(6).integers(0, 9, (1, *ODD)).astype(np.int16)
    rows += [
        warp("label, eight different neighbours", noise, displacement(ODD, 1), "label"),
        warp("label, at rest", data, np.zeros((3, *ODD), np.float32), "label", Trait.TIES),
        warp("label, outside", data, displacement(ODD, 50), "label"),
        warp("label, size 1", labels((1, 7, 6))[None], displacement((1, 7, 6), 0.6), "label"),
        warp("label, larger output", data, displacement((9, 12, 8)), "label"),
        warp("label, displacement nan", data, broken(np.nan), "label"),
        warp("label, displacement inf", data, broken(np.inf), "label"),
    ]
    return rows


def fields() -> list[Row]:
    """Rows of what works on vector fields."""
    none: frozenset[Trait] = frozenset()
    one = frozenset({Trait.SIZE_ONE})
    half, double = Fraction(1, 2), Fraction(2)
    torn = waves(ODD, 4, 9)
    return [
        IntegrateRow("odd, 7 steps", none, waves((9, 13, 7), 3), 7),
        IntegrateRow("anisotropic, 5 steps", none, waves((3, 20, 11), 2, 2), 5),
        IntegrateRow("noise, 4 steps", none, displacement(ODD, 0.7), 4),
        IntegrateRow("leaves the grid", none, waves((5, 6, 7), 12, 4), 6),
        IntegrateRow("no steps", none, waves(ODD), 0),
        IntegrateRow("one step", none, waves(ODD), 1),
        IntegrateRow("size 1", one, waves((1, 9, 8), 1), 4),
        ResizeRow("twice, odd", none, waves((5, 3, 7)), double),
        ResizeRow("twice, noise", none, displacement((4, 9, 2)), double),
        ResizeRow("half", none, waves((6, 4, 10)), half),
        ResizeRow("half, noise", none, displacement((8, 12, 6)), half),
        ResizeRow("half, to size 1", one, waves((2, 4, 6)), half),
        ResizeRow("twice, from size 1", one, waves((1, 3, 4)), double),
        ResizeRow("three halves", none, waves((4, 2, 6)), Fraction(3, 2)),
        ResizeRow("same size", none, waves(ODD), Fraction(1)),
        ComposeRow("odd", none, waves(ODD, 2, 1), waves(ODD, 2, 2)),
        ComposeRow("noise", none, displacement(ODD, 2, 1), displacement(ODD, 2, 2)),
        ComposeRow("other grid of the first", none, waves((6, 9, 8)), waves(ODD, 2, 2)),
        ComposeRow("leaves the grid", none, waves(ODD, 2, 1), waves(ODD, 9, 2)),
        ComposeRow("size 1", one, waves((7, 1, 6), 1), waves((7, 1, 6), 1, 2)),
        JacobianRow("odd", none, waves((9, 13, 7), 2)),
        JacobianRow("folds", none, displacement(ODD, 2)),
        JacobianRow("size 2", none, displacement((2, 2, 2), 1)),
        JacobianRow("more planes than a slab", none, waves((19, 5, 6), 2)),
        JacobianRow("at rest", none, np.zeros((3, *ODD), np.float32)),
        JacobianRow("torn", none, np.where(np.indices(ODD) > 3, torn + 20, torn)),
    ]


def affines() -> list[Row]:
    """Rows of `affine_resample`."""
    none: frozenset[Trait] = frozenset()
    data, seg = volume((13, 9, 11))[0], labels((13, 9, 11))
    turn = turned((0.7, 1.4, 0.9), (1.3, -0.6, 2.2))[:3]
    rows: list[Row] = [
        AffineRow("linear, identity", none, data, np.eye(4)[:3], (13, 9, 11), "linear"),
        AffineRow("linear, turned", none, data, turn, (8, 12, 10), "linear"),
        AffineRow("linear, to a finer grid", none, data, turn * 0.4, (20, 15, 18), "linear"),
        AffineRow("linear, all outside", none, data, shifted(40, 0, 0)[:3], (5, 4, 3), "linear"),
        AffineRow("linear, flipped", none, data, flipped((13, 9, 11))[:3], (9, 11, 13), "linear"),
        AffineRow(
            "linear, half a voxel", none, data, shifted(0.5, -0.5, 0.5)[:3], (13, 9, 11), "linear"
        ),
        AffineRow("linear, one voxel", none, data, turn, (1, 1, 1), "linear"),
        AffineRow("nearest, turned", none, data, turn, (8, 12, 10), "nearest"),
    ]
    rows += [
        AffineRow(
            f"nearest, {np.dtype(dtype)}",
            frozenset({Trait.LABELS}),
            seg.astype(dtype),
            turn,
            (8, 12, 10),
            "nearest",
        )
        for dtype in INTEGERS
    ]
    return rows


def carries() -> list[Row]:
    """Rows of `carry`."""
    model = (10, 12, 9)
    field = waves(model, 1.5, 5)
    data, seg = volume((23, 12, 15))[0], labels((23, 12, 15))
    to_moving = turned((1.3, 0.8, 1.2), (2.4, 1.1, -0.7))
    to_model = turned((0.8, 0.6, 0.5), (-2.5, 1.7, 0.4))
    geometry = {
        "turned": ((11, 19, 13), to_model),
        "fades beyond the model grid": ((12, 14, 10), turned((3, 3, 4), (-14, -12, -15))),
        "wholly beyond the model grid": ((4, 5, 6), shifted(40, 0, 0) @ to_model),
        "on the model grid": (model, np.eye(4)),
        "a box of the model grid": ((4, 5, 6), shifted(2, 3, 1)),
        "half a voxel off the model grid": (model, shifted(0.5, 0.25, -0.5)),
        "flipped": ((12, 9, 10), flipped(model)),
        "one voxel": ((1, 1, 1), shifted(5, 5, 5)),
    }
    vote = frozenset({Trait.LABELS, Trait.VOTE})
    rows: list[Row] = []
    for name, (shape, start) in geometry.items():
        carried = (shape, start, field, to_moving)
        rows += [
            CarryRow(f"linear, {name}", frozenset(), data, *carried, "linear"),
            CarryRow(f"nearest, {name}", frozenset({Trait.LABELS}), seg, *carried, "nearest"),
            CarryRow(f"label, {name}", vote, seg, *carried, "label"),
        ]
    rest = ((11, 19, 13), to_model, field * 0, to_moving)
    rows += [
        CarryRow("linear, at rest", frozenset(), data, *rest, "linear"),
        CarryRow("nearest, of a scan", frozenset(), data, *rest, "nearest"),
    ]
    for dtype in INTEGERS:
        carried = ((11, 19, 13), to_model, field, to_moving)
        typed = labels((23, 12, 15), dtype, 8)
        rows.append(CarryRow(f"label, {np.dtype(dtype)}", vote, typed, *carried, "label"))
    return rows


ROWS: list[Row] = [*warps(), *label_warps(), *fields(), *affines(), *carries()]
