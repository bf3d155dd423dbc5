# SPDX-License-Identifier: Apache-2.0
"""The doctor's findings as text: one table of sequences, then one block for each."""

import math
import sys
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from depthkit.pipelines.inspect import (
        DensityFigures,
        GapFigures,
        ImuFigures,
        Inspection,
        PoseFigures,
    )

PLAIN_WIDTH = 140
"""Columns where stdout is no terminal."""
LISTED = 8
"""Frames or spans named in a line; --json holds them all."""


def print_report(found: list["Inspection"], *, frames_per_second: float) -> None:
    """Print all findings to stdout.

    Args:
        found: one record a sequence.
        frames_per_second: how fast they were looked at.
    """
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else PLAIN_WIDTH, highlight=False)
    if len(found) > 1:
        console.print(_overview(found))
    for inspection in found:
        _print_sequence(console, inspection)
    frames = sum(inspection.checked for inspection in found)
    console.print(f"{frames} frames inspected, {frames_per_second:.0f} frames/s")


def _overview(found: list["Inspection"]) -> Table:
    table = _table("sequence", "frames", "usable", "shifts", "parallax (128 lines)", "kept", "")
    for one in found:
        chosen = _chosen(one)
        table.add_row(
            escape(one.name),
            str(one.frames),
            str(sum(one.usable)),
            _shifts(one),
            _number(chosen.parallax_train if chosen else math.nan, 1),
            _percent(chosen.kept if chosen else math.nan),
            "[green]yes[/]" if one.can_teach else "[red]no[/]",
        )
    return table


def _print_sequence(console: Console, one: "Inspection") -> None:
    height, width = one.size
    colour = "green" if one.can_teach else "red"
    seen = "" if one.checked == one.frames else f", the first {one.checked} looked at"
    console.print(f"[bold]{escape(one.name)}[/]: {one.frames} frames {width}x{height}{seen}")
    console.print(f"  [{colour}]{escape(one.verdict)}[/]")
    for line in one.advice:
        console.print(f"  advice: {escape(line)}")
    console.print(_gap_table(one))
    for line in (*_fault_lines(one), *_camera_lines(one), *_imu_lines(one.imu)):
        console.print(f"  {escape(line)}", soft_wrap=True)
    console.print()


def _gap_table(one: "Inspection") -> Table:
    table = _table(
        "gap",
        "parallax px",
        "at 128 lines",
        "a quarter below",
        "flow px",
        "rotation deg",
        "kept",
        "moving",
    )
    for f in one.gaps:
        mark = " <" if f.gap in one.suggested_shifts else ""
        table.add_row(
            f"{f.gap}{mark}",
            _number(f.parallax_px, 1),
            _number(f.parallax_train, 1),
            _number(f.parallax_train_quartile, 1),
            _number(f.flow_px, 1),
            _number(f.rotation_deg, 2),
            _percent(f.kept),
            f"{f.moving}/{f.pairs}",
        )
    return table


def _fault_lines(one: "Inspection") -> list[str]:
    lines = []
    for name, frames in one.faults.items():
        if not frames:
            continue
        spans = {"static": one.static_spans, "rotation_only": one.rotation_spans}.get(name)
        where = _listed([f"{a}-{b}" for a, b in spans] if spans else [str(i) for i in frames])
        lines.append(f"{name.replace('_', '-')}: {len(frames)} frames ({where})")
    lines += [f"unreadable: {reason}" for reason in list(one.unreadable_reasons.values())[:3]]
    if one.brightness_jumps:
        jumps = [f"{i}|{i + 1} by {levels:+.0f}" for i, levels in one.brightness_jumps]
        lines.append(f"brightness jumps, grey levels: {len(jumps)} ({_listed(jumps)})")
    if one.breaks:
        cuts = [f"{i}|{i + 1}" for i in one.breaks]
        lines.append(f"cuts or motion too fast to follow: {len(cuts)} ({_listed(cuts)})")
    if one.time_gaps:
        gaps = [f"{i}|{i + 1} of {seconds:.3g} s" for i, seconds in one.time_gaps]
        lines.append(f"gaps in time: {len(gaps)} ({_listed(gaps)})")
    return lines or ["no faults in single frames"]


def _camera_lines(one: "Inspection") -> list[str]:
    camera = one.camera
    x, y = camera.principal_point
    lines = [
        f"K: field of view {camera.hfov_deg:.0f} x {camera.vfov_deg:.0f} deg, fx/fy "
        f"{camera.fx_over_fy:.3f}, principal point at {x:.2f}, {y:.2f} of the image"
    ]
    lines += [f"K: WARNING: {finding}" for finding in camera.findings]
    if one.poses is None:
        return [*lines, "poses: none"]
    return lines + _pose_lines(one.poses)


def _imu_lines(imu: "ImuFigures | None") -> list[str]:
    if imu is None:
        return []
    lines = [f"IMU: {imu.samples} samples at {imu.rate_hz:.4g} Hz{_rest(imu)}"]
    if imu.uncovered:
        lines.append(f"IMU: {imu.uncovered} frames lie before or behind its samples")
    lines.append(f"IMU against the frames: {imu.untold or _against(imu)}")
    lines += [f"IMU noise, {_density(one)}" for one in imu.densities]
    return lines + [f"IMU: WARNING: {finding}" for finding in imu.findings]


def _rest(imu: "ImuFigures") -> str:
    if not imu.rest_seconds:
        return ", never at rest for a second"
    return f", {imu.rest_seconds:.0f} s at rest (|a| {imu.gravity:.3f} m/s2)"


def _against(imu: "ImuFigures") -> str:
    axes = f"axes {imu.axes_deg:.2f} deg off T_cam_imu (sigma {imu.axes_sigma_deg:.2f})"
    if not math.isfinite(imu.axes_deg):
        axes = f"axes with a sigma of {imu.axes_sigma_deg:.2f} deg"
    bias = ", ".join(f"{value:.4f}" for value in imu.gyro_bias)
    return (
        f"{imu.pairs} pairs: {axes}, stamps {1e3 * imu.time_offset:+.2f} ms (sigma "
        f"{1e3 * imu.time_offset_sigma:.2f}), rates x{imu.rate_ratio:.3f}, bias {bias} rad/s"
    )


def _density(one: "DensityFigures") -> str:
    unit = {"gyro": "rad/s", "accel": "m/s2", "gyro_walk": "rad/s2", "accel_walk": "m/s3"}[one.name]
    parts = {"given": one.given, "at rest": one.rest, "95 % of seconds": one.motion}
    known = [f"{name} {value:.2g}" for name, value in parts.items() if math.isfinite(value)]
    advice = f"recommended {one.recommended:.2g}" if math.isfinite(one.recommended) else "unknown"
    return f"{one.name} in {unit}/sqrt(Hz): {', '.join([*known, advice])}"


def _pose_lines(poses: "PoseFigures") -> list[str]:
    unit = poses.unit
    lines = [
        f"poses: {poses.known} known, {poses.step_median:.3g} {unit} a frame (largest "
        f"{poses.step_max:.3g}), {poses.speed_median:.3g} {unit}/s (largest {poses.speed_max:.3g})"
    ]
    if math.isfinite(poses.epipolar_px):
        lines.append(
            f"poses against {poses.pairs} tracked pairs: rotation within "
            f"{poses.rotation_error_deg:.2f} deg, direction {poses.direction_error_deg:.1f} deg, "
            f"tracks {poses.epipolar_px:.2f} px off their epipolar lines, {_focal(poses)}"
        )
    return lines + [f"poses: WARNING: {finding}" for finding in poses.findings]


def _focal(poses: "PoseFigures") -> str:
    if not math.isfinite(poses.focal_ratio):
        return "focal length cannot be determined from this motion"
    return f"best focal length x{poses.focal_ratio:.2f}"


def _chosen(one: "Inspection") -> "GapFigures | None":
    return next((f for f in one.gaps if f.gap in one.suggested_shifts), None)


def _shifts(one: "Inspection") -> str:
    return escape(f"[{', '.join(map(str, one.suggested_shifts))}]" if one.suggested_shifts else "-")


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE, pad_edge=True)
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i == 0 else "right", no_wrap=True)
    return table


def _listed(items: list[str]) -> str:
    more = f", and {len(items) - LISTED} more" if len(items) > LISTED else ""
    return ", ".join(items[:LISTED]) + more


def _number(value: float, digits: int) -> str:
    return "-" if not math.isfinite(value) else f"{value:.{digits}f}"


def _percent(value: float) -> str:
    return "-" if not math.isfinite(value) else f"{100 * value:.0f} %"
