# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate flow`: prints the scores of optical flow."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from depthkit.cli.arguments import options_of
from depthkit.cli.evaluate_output import print_json, print_page, print_table, warn

if TYPE_CHECKING:
    from depthkit.pipelines.score.flow_maps import FlowEvaluation


def run_flow(args: argparse.Namespace) -> None:
    """Score `--pred` against `--gt`."""
    import depthkit

    found = depthkit.evaluate.flow(**options_of(args, "kind"))
    warn(found.notes)
    if args.json:
        print_json(found.as_json())
    else:
        _print_text(found)
        print_page(found.page)


def _print_text(found: FlowEvaluation) -> None:
    from depthkit.pipelines.score.flow_maps import METHOD, flow_rows

    report = found.report
    print(
        f"coverage {100 * report.coverage:.1f} %: {report.frames} of {report.frames_gt} frames "
        f"with a truth, {100 * report.score.coverage:.1f} % of their pixels"
    )
    print(METHOD)
    print_table(flow_rows(report.score))
    print(f"mean over frames of each frame's epe: {report.epe_frame_mean:.4g} px")
