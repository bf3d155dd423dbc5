# SPDX-License-Identifier: Apache-2.0
"""The evo program (GPL, run and never imported) must agree with APE and RPE to 1e-6 relative."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from depthkit.evaluation.alignment import align
from depthkit.evaluation.association import associate
from depthkit.evaluation.relative import log_angle, relative_errors
from depthkit.trajectory import Trajectory, detect_format, load_trajectory, save_tum

PAIRS = {
    "kitti": ("kitti", "KITTI_00_gt.txt", "KITTI_00_ORB.txt"),
    "tum_fr1": ("tum", "freiburg1_xyz-groundtruth.txt", "freiburg1_xyz-rgbdslam.txt"),
    "tum_fr2": ("tum", "fr2_desk_groundtruth.txt", "fr2_desk_ORB.txt"),
    "euroc_v102": ("euroc", "V102_groundtruth.csv", "V102.txt"),
}

MAX_GAP = 0.01  # evo's own default

EVO_OPTIONS = {"6dof": "-a", "7dof": "-as"}


def find_evo(name: str) -> str:
    """Return the program beside this Python or on the path, or skip."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; pip install evo")
    return found


class Evo:
    """Runs the program in a home of its own, so that nobody's settings change."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, program: str, *words: str) -> dict[str, float]:
        """Return the statistics that the program saves."""
        archive = self.home / "result.zip"
        archive.unlink(missing_ok=True)
        command = [find_evo(program), *words, "--save_results", str(archive), "--no_warnings"]
        home = {"HOME": str(self.home), "MPLCONFIGDIR": str(self.home), "MPLBACKEND": "Agg"}
        done = subprocess.run(command, env=os.environ | home, capture_output=True, timeout=120)
        assert archive.exists(), (done.stdout + done.stderr).decode()
        return dict(json.loads(zipfile.ZipFile(archive).read("stats.json")))


@pytest.fixture(scope="session")
def evo(tmp_path_factory: pytest.TempPathFactory) -> Evo:
    """One home for all runs."""
    return Evo(tmp_path_factory.mktemp("evo_home"))


class Pair:
    """Two files that both programs can read, and their matched poses."""

    def __init__(self, name: str, data: Path, folder: Path) -> None:
        self.kind, reference, estimate = PAIRS[name]
        self.files = [data / reference, data / estimate]
        loaded = [load_trajectory(path, repeats="first") for path in self.files]
        if self.kind == "euroc":
            # The estimate repeats stamps: both programs get it without the repeats.
            self.files[1] = folder / "estimate.txt"
            save_tum(self.files[1], loaded[1])
            loaded[1] = load_trajectory(self.files[1])
        elif name == "tum_fr2":
            self.files[0] = folder / "reference.txt"
            save_tum(self.files[0], loaded[0])
            loaded[0] = load_trajectory(self.files[0])
        self.reference, self.estimate = self._match(*loaded)

    def _match(self, reference: Trajectory, estimate: Trajectory) -> tuple[np.ndarray, np.ndarray]:
        gap = None if self.kind == "kitti" else MAX_GAP
        matches = associate(reference, estimate, max_gap=gap)
        return (
            reference.T_world_cam[matches.reference],
            estimate.T_world_cam[matches.estimate],
        )

    @property
    def words(self) -> list[str]:
        """What evo is told."""
        return [self.kind, *map(str, self.files)]


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest, data_root: Path, tmp_path: Path) -> Pair:
    """Each of the public pairs."""
    return Pair(request.param, data_root / "trajectories" / "evo", tmp_path)


@pytest.mark.parametrize("mode", EVO_OPTIONS)
def test_ape_equals_evo(mode: str, pair: Pair, evo: Evo) -> None:
    """Root mean square, mean and largest position error after Umeyama alignment."""
    theirs = evo.run("evo_ape", *pair.words, EVO_OPTIONS[mode])
    aligned = align(pair.reference, pair.estimate, mode)
    error = np.linalg.norm(aligned.estimate[:, :3, 3] - aligned.reference[:, :3, 3], axis=1)
    assert np.sqrt(np.mean(error**2)) == pytest.approx(theirs["rmse"], rel=1e-6)
    assert error.mean() == pytest.approx(theirs["mean"], rel=1e-6)
    assert error.max() == pytest.approx(theirs["max"], rel=1e-6)


def test_rpe_equals_evo(pair: Pair, evo: Evo) -> None:
    """Translation of RPE over one frame, after the Sim(3) fit, whose scale it needs."""
    theirs = evo.run("evo_rpe", *pair.words, EVO_OPTIONS["7dof"])
    aligned = align(pair.reference, pair.estimate, "7dof")
    error, _ = relative_errors(aligned.reference, aligned.estimate)
    assert np.sqrt(np.mean(error**2)) == pytest.approx(theirs["rmse"], rel=1e-6)
    assert error.mean() == pytest.approx(theirs["mean"], rel=1e-6)


def test_rpe_rotation_equals_evo(pair: Pair, evo: Evo) -> None:
    """Rotation of RPE over one frame, by the rotation vector as evo takes it."""
    theirs = evo.run("evo_rpe", *pair.words, "-r", "angle_deg")
    _, error = relative_errors(pair.reference, pair.estimate, angle=log_angle)
    error = np.rad2deg(error)
    assert np.sqrt(np.mean(error**2)) == pytest.approx(theirs["rmse"], rel=1e-6)
    assert error.mean() == pytest.approx(theirs["mean"], rel=1e-6)


def test_pairs_are_of_three_formats(data_root: Path) -> None:
    """The pairs above cover KITTI, TUM and EuRoC."""
    folder = data_root / "trajectories" / "evo"
    formats = {detect_format(folder / reference) for _, reference, _ in PAIRS.values()}
    assert formats == {"kitti", "tum", "euroc"}
