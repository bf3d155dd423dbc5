# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate depth`: prints the scores of depth maps."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from depthkit.cli.arguments import options_of
from depthkit.cli.evaluate_output import print_json, print_page, print_table, warn

if TYPE_CHECKING:
    from depthkit.pipelines.score.depth_maps import DepthEvaluation


def run_depth(args: argparse.Namespace) -> None:
    """Score `--pred` against `--gt`."""
    import depthkit

    found = depthkit.evaluate.depth(**options_of(args, "kind"))
    warn(found.notes)
    if args.json:
        print_json(found.as_json())
    else:
        _print_text(found)
        print_page(found.page)


def _print_text(found: DepthEvaluation) -> None:
    from depthkit.pipelines.score.depth_maps import ROWS, protocol_text

    report = found.report
    print(
        f"coverage {100 * report.coverage:.1f} %: {report.frames} of {report.frames_gt} frames "
        f"with a truth, {100 * report.pixel_coverage:.1f} % of their pixels"
    )
    print(protocol_text(report))
    print_table([(name, getattr(report, name), meaning) for name, meaning in ROWS])
    print(
        f"scale ratio truth / prediction: median {report.ratio_median:.4g}, "
        f"spread {report.ratio_spread:.4g} (standard deviation / median); rank correlation "
        f"{report.rank_correlation:.3f}"
    )
