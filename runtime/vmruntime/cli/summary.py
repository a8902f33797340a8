"""The table that ``vm-infer`` prints."""

from __future__ import annotations

from typing import Any

__all__ = ["summary"]


def summary(facts: dict[str, Any]) -> str:
    """The figures a person wants to see, from the report."""
    before, after = facts["similarity"]["before"], facts["similarity"]["after"]
    rows = [("", "before", "after")]
    rows += [(name.upper(), f"{before[name]:.5f}", f"{after[name]:.5f}") for name in ("mse", "ncc")]
    if facts["dice"]:
        dice = facts["dice"]
        means = [dice[when]["mean"] for when in ("before", "after")]
        shown = ["-" if mean is None else f"{mean:.4f}" for mean in means]
        rows.append((f"Dice, {len(dice['after']['labels'])} labels", shown[0], shown[1]))
    folding = facts["regularity"]
    rows.append(
        ("folding", "", f"{folding['folding_voxels']} voxels ({folding['folding_percent']:.3g} %)")
    )
    if facts["inverse_consistency"]:
        error = facts["inverse_consistency"]
        rows.append(("inverse", "", f"{error['mean_mm']:.3f} mm, p99 {error['p99_mm']:.3f} mm off"))
    seconds = facts["seconds"]
    network = f"{seconds['network']:.{2 if seconds['network'] >= 0.1 else 4}f}"
    rows.append(("seconds", "", f"{facts['wall']:.2f} (network {network})"))
    table = "\n".join(f"{name:<18}{first:>10}  {second:>10}" for name, first, second in rows)
    engine = facts["engine"]
    unverified = "" if engine["verified"] else ", unverified"
    return (
        f"{engine['backend']} {engine['version']} on {engine['device']}, {engine['precision']}"
        f"{unverified}, {engine['threads']} threads, kernels {engine['kernels']}; "
        f"affine: {_affine(facts['affine'])}\n{table}"
    )


def _affine(affine: dict[str, Any]) -> str:
    if affine["correlation"] is None:
        return str(affine["source"])
    return (
        f"{affine['source']}, correlation {affine['correlation']:.3f}, "
        f"{affine['rotation_degrees']:.1f} degrees"
    )
