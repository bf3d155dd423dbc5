# SPDX-License-Identifier: Apache-2.0
"""Errors of an odometry over the sigmas that it wrote: numbers by hand, and from its folder."""

import json
from pathlib import Path

import numpy as np
import pytest

from depthkit.cli import main
from depthkit.evaluation.sigmas import check_sigmas
from depthkit.rigid import exp_se3
from depthkit.trajectory import Trajectory, save_kitti, save_tum

N = 21
HEADER = (
    "stamp,frame,segment,sigma_position,sigma_rotation_deg,scale_state,scale_source,scale_sigma,"
    "tracks,reason\n"
)


def line() -> np.ndarray:
    """Straight forward, 0.5 m a frame."""
    poses = np.repeat(np.eye(4)[None], N, 0)
    poses[:, 2, 3] = 0.5 * np.arange(N)
    return poses


def off(poses: np.ndarray) -> np.ndarray:
    """The line, 0.3 m to the side and turned by 0.02 rad from its second pose on."""
    moved = poses @ exp_se3(np.array([0, 0, 0, 0, 0.02, 0]))
    moved[:, 0, 3] += 0.3
    moved[0] = poses[0]
    return moved


def sigmas(position: float, rotation: float) -> np.ndarray:
    return np.tile([position, rotation], (N, 1))


def test_errors_as_large_as_their_sigmas_score_one() -> None:
    """0.3 m at a sigma of 0.3 m, 0.02 rad at 0.01 rad: 1 and 4."""
    found = check_sigmas(line(), off(line()), sigmas(0.3, 0.01))
    assert found is not None and found.poses == N - 1
    assert found.position == pytest.approx(1) and found.rotation == pytest.approx(4)


def test_share_within_twice_the_sigma() -> None:
    """Half of the poses promise a quarter of the error."""
    sigma = sigmas(0.3, 0.02)
    sigma[1::2, 0] /= 4
    found = check_sigmas(line(), off(line()), sigma)
    assert found is not None
    assert found.position_within == pytest.approx(0.5) and found.rotation_within == 1


def test_world_of_the_estimate_does_not_matter_but_its_scale_does() -> None:
    """Another start, and sigmas in a unit of two metres."""
    world = exp_se3(np.array([4, 5, 6, 0.1, 0.2, 0.3]))
    found = check_sigmas(line(), world @ off(line()), sigmas(0.15, 0.02), scale=2.0)
    assert found is not None
    assert found.position == pytest.approx(1) and found.rotation == pytest.approx(1)


def test_poses_without_a_sigma_are_left_out() -> None:
    """NaN and 0 promise nothing; without any promise there is no figure."""
    sigma = sigmas(0.3, 0.02)
    sigma[5], sigma[6, 0] = np.nan, 0
    found = check_sigmas(line(), off(line()), sigma)
    assert found is not None and found.poses == N - 3
    assert check_sigmas(line(), line(), np.full((N, 2), np.nan)) is None


@pytest.mark.parametrize("kind", ["tum", "kitti"])
def test_evaluate_odometry_prints_the_check(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder of an odometry has its sigmas beside the path, by stamp or by frame."""
    folder, save = tmp_path / "path", save_tum if kind == "tum" else save_kitti
    folder.mkdir()
    stamps = np.arange(N) / 10
    save(folder / f"trajectory_{kind}.txt", Trajectory(stamps, off(line())))
    save(tmp_path / "truth.txt", Trajectory(stamps, line()))
    rows = [
        f"{stamps[i]:.9f},{i},0,0.3,{np.degrees(0.01):.9f},held,speed,0.02,90," for i in range(N)
    ]
    (folder / "poses.csv").write_text(HEADER + "\n".join(rows) + "\n")
    arguments = ["--estimate", str(folder), "--reference", str(tmp_path / "truth.txt")]
    main(["evaluate", "odometry", *arguments])
    assert "position 1, rotation 4; within twice the sigma: 100 %" in capsys.readouterr().out
    main(["evaluate", "odometry", *arguments, "--json"])
    found = json.loads(capsys.readouterr().out)["sigmas"]
    assert list(found.values())[0]["position"] == pytest.approx(1, rel=1e-5)


def test_a_path_without_sigmas_is_scored_as_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No table, or one without figures: no line, no key."""
    (tmp_path / "run").mkdir()
    path, stamps = tmp_path / "run" / "trajectory_tum.txt", np.arange(N) / 10
    save_tum(path, Trajectory(stamps, off(line())))
    rows = [f"{stamps[i]:.9f},{i},0,,,unknown,,,90," for i in range(N)]
    (tmp_path / "run" / "poses.csv").write_text(HEADER + "\n".join(rows) + "\n")
    main(["evaluate", "odometry", "--estimate", str(path), "--reference", str(path), "--json"])
    assert "sigmas" not in json.loads(capsys.readouterr().out)


def test_a_broken_table_is_one_line_and_a_foreign_one_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its columns tell whose it is."""
    path = tmp_path / "trajectory_tum.txt"
    save_tum(path, Trajectory(np.arange(N) / 10, line()))
    arguments = ["evaluate", "odometry", "--estimate", str(path), "--reference", str(path)]
    (tmp_path / "poses.csv").write_text("a,b\n1,2\n")
    assert main(arguments) == 0
    (tmp_path / "poses.csv").write_text(HEADER + "0.0,0,0,much,1,held,,,90,\n")
    assert main(arguments) != 0
    assert "table of sigmas" in capsys.readouterr().err
