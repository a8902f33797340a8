"""Markdown from results: every table of the documents is made here, from the JSON files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import real_pairs

__all__ = ["BLOCKS", "PARTS"]

Facts = Mapping[str, Any]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown table; bars in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def spread(figure: Mapping[str, float]) -> str:
    """Median and range, in seconds."""
    return f"{figure['median']:.2f} ({figure['min']:.2f}-{figure['max']:.2f})"


def machine(facts: Facts) -> str:
    """What it was measured on, in a sentence."""
    found = facts["machine"]
    extra = ", ".join(
        f"{name} {found[name]}"
        for name in ("numpy", "torch", "onnxruntime", "openvino", "voxelmorph")
        if name in found
    )
    load = facts.get("load_before")
    quiet = load is not None and load < 0.5 * found["cores"]
    noise = f"load {load:.1f} before" if load is not None else "load not recorded"
    noise = noise if quiet else f"**{noise}: other work was running, so that seconds mean little**"
    sets = ", ".join(found.get("instructions", [])) or "none of the ones looked for"
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB "
        f"(instruction sets: {sets}); {facts.get('threads', found['cores'])} threads, median of "
        f"{facts.get('rounds', 1)}, {noise}; {found['date']}; Python {found['python']}, {extra}."
    )


def engines(facts: Facts) -> str:
    """Every engine, warm."""
    rows = []
    for row in facts["rows"]:
        name = row["engine"] + (f" ({row['note']})" if row["note"] else "")
        if "unavailable" in row:
            rows.append([name, f"not available: {row['unavailable']}", *[""] * 7])
            continue
        away = row.get("difference")
        rows.append([
            name, spread(row["wall"]), f"{row['cpu']['median']:.2f}", f"{row['peak_gb']:.2f}",
            f"{row['share_of_floor']:.0%}", f"{row['dice']:.4f}", f"{row['ncc']:.4f}",
            f"{row['folding_percent']:.3g}",
            f"{away['mean']:.2g} / {away['max']:.2g}" if away else "",
        ])  # fmt: skip
    head = [
        "engine", "seconds (range)", "CPU s", "peak GB", "floor / seconds", "Dice", "NCC",
        "folding %", "away from torch, mean / max voxel",
    ]  # fmt: skip
    return table(head, rows)


def ceilings(facts: Facts) -> str:
    """What the floor is made of."""
    rates, work = facts["rates"], facts["work"]
    return (
        f"The machine in the same run: {rates['float32'] / 1e9:.0f} GFLOP/s in float32, "
        f"{rates['bfloat16'] / 1e9:.0f} in bfloat16, {rates['int8'] / 1e9:.0f} in int8 (matrix "
        f"products of 3072), {rates['triad'] / 1e9:.1f} GB/s (triad). The network: "
        f"{work['original']['flops'] / 1e9:.1f} GFLOP, {work['rewritten']['flops'] / 1e9:.1f} as "
        "the openvino engine computes it in float32 and bfloat16. The floor is the longer of its "
        "arithmetic and its memory traffic at these rates."
    )


def gates(*parts: Facts) -> str:
    """The project's own limits, and whether they hold."""
    rows = []
    for gate in (gate for facts in parts for gate in facts["gates"]):
        value = gate["why"] if gate["value"] is None else f"{gate['value']:.3g}"
        most = gate["most"]
        limit = f"at least {gate['least']:g}" if most is None else f"at most {most:g}"
        holds = {True: "yes", False: "**no**", None: ""}[gate["holds"]]
        rows.append([gate["what"], value, limit, holds])
    return table(["what", "measured", "limit", "holds"], rows)


def learn2reg(found: Facts, classical: Facts) -> str:
    """Learn2Reg's measures of every result."""
    rows = []
    named = [(row["engine"], row) for row in found["rows"]]
    named += [(f"ANTs {row['setting']}", row) for row in classical["rows"]]
    for name, row in named:
        if "learn2reg" in row:
            l2r = row["learn2reg"]
            cells = [f"{l2r['dice']:.4f}", f"{l2r['hd95']:.3f}", f"{l2r['sd_log_j']:.4f}"]
            rows.append([name, *cells, str(l2r["folding_voxels"])])
    return table(["", "Dice", "HD95, voxels", "SDlogJ", "voxels with det J <= 0"], rows)


def line(fit: Facts, unit: str, of: str) -> str:
    """A fitted line in words."""
    return (
        f"{fit['intercept']:+.2f} {unit} and {fit['slope']:.3f} {unit} {of}; largest residual "
        f"{fit['residual']:.2f} {unit} ({fit['residual_share']:.0%})"
    )


def volumes(facts: Facts) -> str:
    """Seconds and memory against the grid."""
    found = facts["volumes"]
    rows = [
        [
            " x ".join(map(str, row["grid"])), f"{row['voxels'] / 1e6:.2f}", spread(row["wall"]),
            f"{1e6 * row['wall']['median'] / row['voxels']:.3f}", f"{row['peak_gb']:.2f}",
        ]
        for row in found["rows"]
    ]  # fmt: skip
    head = ["grid", "million voxels", "seconds (range)", "seconds a million", "peak GB"]
    fits = (
        f"Fitted lines: {line(found['seconds'], 's', 'a million voxels')}; "
        f"{line(found['gb'], 'GB', 'a million voxels')}."
    )
    return f"{table(head, rows)}\n\n{fits}"


def threads(facts: Facts) -> str:
    """Seconds against threads."""
    rows = facts["by_threads"]
    alone = rows[0]["wall"]["median"]
    return table(
        ["threads", "seconds (range)", "times as fast as one", "CPU s", "peak GB"],
        [
            [
                str(row["threads"]), spread(row["wall"]), f"{alone / row['wall']['median']:.2f}",
                f"{row['cpu']['median']:.2f}", f"{row['peak_gb']:.2f}",
            ]
            for row in rows
        ],
    )  # fmt: skip


def pairs(facts: Facts) -> str:
    """Seconds against pairs in one process."""
    found = facts["pairs"]
    rows = [
        [
            str(row["pairs"]), spread(row["wall"]), f"{row['wall']['median'] / row['pairs']:.2f}",
            f"{row['cpu']['median']:.2f}", f"{row['peak_gb']:.2f}",
        ]
        for row in found["rows"]
    ]  # fmt: skip
    head = ["pairs", "seconds (range)", "seconds a pair", "CPU s", "peak GB"]
    return f"{table(head, rows)}\n\nFitted line: {line(found['seconds'], 's', 'a pair')}."


def cold(facts: Facts) -> str:
    """Whole processes."""
    rows = []
    for row in facts["rows"]:
        stages = ", ".join(f"{name} {spent:.2f}" for name, spent in row["stages"].items())
        cells = [f"{row['cpu']['median']:.2f}", f"{row['peak_gb']:.2f}", stages]
        rows.append([row["command"], spread(row["wall"]), *cells])
    same = facts["same"]
    return (
        table(["command", "seconds (range)", "CPU s", "peak GB", "stages, s"], rows)
        + f"\n\nBoth do the same work: {same['labels_equal_percent']:.3f} % of the carried labels "
        f"are equal, Dice {same['ours']['dice']:.4f} and {same['peer']['dice']:.4f}, the moved "
        f"scans differ by at most {same['moved_max_difference']:.2g} of the range."
    )


def classical(facts: Facts) -> str:
    """ANTs here, and published figures."""
    rows = []
    for row in facts["rows"]:
        name = f"ANTs {row['setting']} ({facts['package']})"
        if "unavailable" in row:
            rows.append([name, f"not available: {row['unavailable']}", *[""] * 5])
            continue
        rows.append([
            name, f"{row['wall']:.1f}", f"{row['cpu']:.1f}", f"{row['peak_gb']:.2f}",
            f"{row['dice']:.4f}", f"{row['ncc']:.4f}", f"{row['folding_percent']:.3g}",
        ])  # fmt: skip
    for row in facts["published"]["rows"]:
        rows.append(
            [f"*published, other machine and scans:* {row['method']}", f"*{row['wall']:g}*", "", "",
             f"*{row['dice']:.3f}*", "", ""]
        )  # fmt: skip
    head = ["", "seconds", "CPU s", "peak GB", "Dice", "NCC", "folding %"]
    return f"{table(head, rows)}\n\nPublished: {facts['published']['source']}."


def pairs_of_models(facts: Facts) -> str:
    """The README's table of models and pairs."""
    return "\n".join([*real_pairs.HEAD, *map(real_pairs.row, facts["results"])])


def around(facts: Facts) -> str:
    """docs/registration.md's table of the work around the network."""
    names = list(facts["cpu"])
    rows = [[name, f"{facts['cpu'][name]:.2f}", f"{facts['wall'][name]:.2f}"] for name in names]
    sums = [f"{sum(facts[kind].values()):.2f}" for kind in ("cpu", "wall")]
    return table(["stage", "CPU s", "wall s"], [*rows, ["sum", *sums]])


def on_a_gpu(facts: Facts) -> str:
    """docs/gpu.md's tables: each group against its first row, which is the peer."""
    machine = facts["machine"]
    lines = [
        f"{facts['gpu']}, CUDA {'.'.join(map(str, facts['driver']))}; {machine['cpu']}, "
        f"{machine['cores']} cores; torch {machine['torch']}, onnxruntime "
        f"{machine['onnxruntime']}, Python {machine['python']}; {machine['date']}; model grid "
        f"{facts['model grid']}, moving {facts['moving']}, fixed {facts['fixed']}; median of "
        f"{facts['repeats']} (quartiles)."
    ]
    for group, peer in GPU_PEERS.items():
        rows = [row for row in facts["rows"] if row["group"] == group]
        measured = {row["name"]: row["ms"] for row in rows}
        body = []
        for row in rows:
            if row["ms"] is None:
                body.append([row["name"], f"*{row['note']}*", "", "", "", ""])
                continue
            low, high = row["spread_ms"]
            ratio = f"{measured[peer] / row['ms']:.2g}" if peer else ""
            floor = f"{row['ms'] / row['floor_ms']:.2g}" if row["floor_ms"] else ""
            body.append([
                row["name"], f"{row['ms']:.3g} ({low:.3g}-{high:.3g})", ratio, floor,
                f"{row['first_ms']:.0f}", f"{row['memory_mib'] or 0:.0f}",
            ])  # fmt: skip
        faster = f"times as fast as {peer}" if peer else ""
        head = [group, "ms", faster, "times the floor", "first time, ms", "MiB"]
        lines.append(table(head, body))
    return "\n\n".join(lines)


def calibrated(facts: Facts) -> str:
    """docs/calibration.md's tables of the official model."""
    machine = facts["machine"]
    seen = []
    for one in facts["candidates"]:
        timing, verdict = one["timing"] or {}, one["verdict"]
        seen.append([
            one["title"], f"{verdict['p99_mm']:.3g} / {verdict['max_mm']:.3g}",
            f"{timing['seconds']:.2f}" if timing else "", f"{timing['cpu_seconds']:.2f}"
            if timing else "", f"{timing['peak_mb'] / 1024:.2f}" if timing else "",
            f"{one['bytes'] / 1e6:.2f}" if one["bytes"] else "",
            "yes" if verdict["meets"] else verdict["reason"],
        ])  # fmt: skip
    error = "99 % / largest error, mm"
    head = ["", error, "seconds", "CPU s", "peak GB", "file MB", "within .1 mm"]
    unseen = [
        [row["precision"], f"{row['mean_mm']:.3g} / {row['p99_mm']:.3g} / {row['max_mm']:.3g}",
         f"{row['dice']:.4f}", f"{row['ncc']:.4f}", f"{row['folding_percent']:.3g}"]
        for row in facts["unseen"]
    ]  # fmt: skip
    other = ["", f"mean / {error}", "Dice, 30 labels", "NCC", "folding %"]
    return "\n\n".join([
        f"{machine['cpu']} ({', '.join(machine['instructions'])}), {facts['threads']} threads, "
        f"OpenVINO {machine['openvino']}, {machine['date']}. The calibration took "
        f"{facts['wall'] / 60:.1f} minutes, {facts['cpu']:.0f} CPU seconds and at most "
        f"{facts['peak_gb']:.1f} GB.",
        table(head, seen),
        f"Its words: *{facts['recommendation']}*",
        f"On subject_n -> test_scan, which it did not see (INT8: the file of a calibration with "
        f"`--budget-mm {facts['int8_budget_mm']}`; FP16: with every tensor rounded):",
        table(other, unseen),
    ])  # fmt: skip


GPU_PEERS = {"network": "torch eager FP32", "warp": "torch grid_sample", "pipeline": ""}
"""What each group is compared with."""


def duration(*parts: Facts) -> str:
    """How long the benchmark itself took."""
    taken = [facts["seconds_of_this_benchmark"] for facts in parts]
    names = [facts["part"] for facts in parts]
    each = ", ".join(f"{name} {spent:.0f}" for name, spent in zip(names, taken, strict=True))
    return f"The runs shown here took {sum(taken) / 60:.0f} minutes (seconds: {each})."


BLOCKS: dict[str, tuple[tuple[str, ...], Callable[..., str]]] = {
    "machine": (("engines",), machine),
    "engines": (("engines",), engines),
    "ceilings": (("engines",), ceilings),
    "gates": (("engines", "scaling", "cold"), gates),
    "learn2reg": (("engines", "classical"), learn2reg),
    "volumes": (("scaling",), volumes),
    "threads": (("scaling",), threads),
    "pairs": (("scaling",), pairs),
    "cold": (("cold",), cold),
    "classical": (("classical",), classical),
    "duration": (("engines", "scaling", "cold", "classical"), duration),
    "real-pairs": (("real_pairs",), pairs_of_models),
    "stages": (("stages",), around),
    "gpu": (("gpu",), on_a_gpu),
    "calibration": (("calibration",), calibrated),
}
"""What stands between the marks of a document: names of results, and what makes text of them."""

PARTS: dict[str, Callable[[Facts], list[str]]] = {
    "engines": lambda facts: [engines(facts), ceilings(facts), gates(facts)],
    "scaling": lambda facts: [volumes(facts), threads(facts), pairs(facts), gates(facts)],
    "cold": lambda facts: [cold(facts), gates(facts)],
    "classical": lambda facts: [classical(facts)],
    "real_pairs": lambda facts: [pairs_of_models(facts)],
}
"""What the page of each part holds, after the machine."""
