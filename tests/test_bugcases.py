# SPDX-License-Identifier: Apache-2.0
"""Inputs from the real world that once came out wrong, each through the command a user types.

They lie beside the checkout, in ../shared/bugcases (or the folder `bugcases` beside
DEPTHKIT_TEST_DATA): where they are missing these tests are skipped. The kinds have tests of their
own, with inputs that the tests make.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from depthkit.cli import main
from depthkit.data.sequence import Sequence, open_sequence

K = (82.0, 81.5, 80.2, 58.9)
"""fx, fy, cx, cy of most of the made-up cameras, pixels."""


class Runner:
    """Runs depthkit on one case and keeps what it said."""

    def __init__(self, case: Path, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.case, self.out, self._capsys = case, out, capsys
        self.said = ""
        self.printed = ""

    def run(self, *words: str | Path) -> int:
        """Run the program; `said` is its stderr as one line."""
        code = main([str(word) for word in words])
        captured = self._capsys.readouterr()
        self.said, self.printed = " ".join(captured.err.split()), captured.out
        return code

    def prepare(self, source: str, *words: str | Path, out: str = "out") -> list[Sequence]:
        """Prepare a source of the case and open what came out, by name."""
        code = self.run("prepare", self.case / source, "--out", self.out / out, *words)
        assert code == 0, self.said
        return [open_sequence(path.parent) for path in sorted((self.out / out).glob("*/times.txt"))]

    def refused(self, *words: str | Path) -> str:
        """Run what must be refused in one line; return the line."""
        assert self.run(*words, "--out", self.out / "refused") == 1
        assert "Traceback" not in self.said and self.said.count("depthkit: error:") == 1
        return self.said

    def camera_file(self, sequence: Sequence) -> dict[str, Any]:
        """Return what camera.yaml holds of the source."""
        record: dict[str, Any] = yaml.safe_load((sequence.root / "camera.yaml").read_text())
        return record["source"]


@pytest.fixture
def case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Runner]:
    """Find a case by its number, or skip."""
    named = os.environ.get("DEPTHKIT_TEST_DATA")
    beside = Path(named).parent if named else Path(__file__).resolve().parents[2] / "shared"

    def find(number: str) -> Runner:
        folders = sorted((beside / "bugcases").glob(f"{number}_*"))
        if not folders:
            pytest.skip(f"no case {number} in {beside / 'bugcases'}; set DEPTHKIT_TEST_DATA")
        return Runner(folders[0], tmp_path, capsys)

    return find


def intrinsics(sequence: Sequence) -> tuple[float, float, float, float]:
    """Return fx, fy, cx, cy."""
    camera = sequence.camera
    return camera.fx, camera.fy, camera.cx, camera.cy


def source_intrinsics(runner: Runner, sequence: Sequence) -> tuple[float, ...]:
    """Return fx, fy, cx, cy of the camera as it was calibrated."""
    camera = runner.camera_file(sequence)["camera"]
    return tuple(camera[key] for key in ("fx", "fy", "cx", "cy"))


def test_01_quaternion_order_of_ns_stamps(case) -> None:
    """ATE, RPE as numpy and scipy compute them from x y z w."""
    one = case("01")
    words = ("--reference", one.case / "gt.txt", "--estimate", one.case / "est_ns.txt")
    assert one.run("evaluate", "odometry", *words, "--align", "6dof", "--json") == 0
    score = json.loads(one.printed)
    assert score["ate_m"] == pytest.approx(0.03611, abs=5e-5)
    assert score["rpe_rot_deg"] == pytest.approx(0.0453, abs=1e-4)
    assert score["rpe_trans_m"] == pytest.approx(0.00499, abs=1e-5)


def test_03_fisheye_by_the_key_camera_model(case) -> None:
    """The same camera as with distortion_model."""
    one = case("03")
    words = ("--fps", "20", "--camera")
    (found,) = one.prepare("clip", *words, one.case / "cam.yaml", out="a")
    (wanted,) = one.prepare("clip", *words, one.case / "same_as.yaml", out="b")
    assert one.camera_file(found)["camera"]["model"] == "kannala_brandt"
    assert found.camera == wanted.camera and found.camera.fx == pytest.approx(67.4, abs=0.05)


def test_05_millimetres_in_the_tum_layout(case) -> None:
    """The median depth is 16.31 m, the unit is said, and an option sets it."""
    one = case("05")
    (found,) = one.prepare("office_walk")
    depth = found.read_depth(0)
    assert np.median(depth[depth > 0]) == pytest.approx(16.31, abs=0.01)
    assert "--depth-scale" in one.said
    (other,) = one.prepare("office_walk", "--depth-scale", "5000", out="b")
    depth = other.read_depth(0)
    assert np.median(depth[depth > 0]) == pytest.approx(3.26, abs=0.01)


@pytest.mark.parametrize("words", [(), ("--fov", "90")])
def test_06_scannet_export(case, words) -> None:
    """One sequence of colour with K, poses but one, and depth."""
    one = case("06")
    (found,) = one.prepare("scene0000_00", *words)
    assert len(found) == 6 and intrinsics(found) == pytest.approx((80, 80, 79.5, 59.5))
    assert np.isfinite(found.poses).all(axis=(1, 2)).tolist() == [True] * 3 + [False] + [True] * 2
    assert all((found.read_depth(i) > 0).any() for i in range(6))


@pytest.mark.parametrize("clip", ["clip", "clip_ms"])
def test_08_times_in_other_units(case, clip) -> None:
    """Frames are 0.05 s apart, and the unit is said."""
    one = case("08")
    (found,) = one.prepare(clip, "--fov", "90")
    assert np.diff(found.times) == pytest.approx(0.05, abs=1e-6)
    assert "seconds" in one.said and "--time-unit" in one.said


@pytest.mark.parametrize(("clip", "ratio"), [("pal.mpg", 384 / 360), ("hdv.mp4", 960 / 720)])
def test_10_anamorphic_video(case, clip, ratio) -> None:
    """Pixels that are not square have two focal lengths."""
    one = case("10")
    (found,) = one.prepare(clip, "--fov", "90")
    camera = found.camera
    square = camera.fx == pytest.approx(camera.fy) and camera.width / camera.height > 4 / 3 - 0.01
    assert camera.fy / camera.fx == pytest.approx(ratio, rel=0.01) or square
    assert "pixel" in one.said


def test_13_camera_info_binned_twice(case) -> None:
    """K is that of the pictures, and that is said."""
    one = case("13")
    (found,) = one.prepare("bag")
    fx, fy, cx, cy = source_intrinsics(one, found)
    assert (fx, cx, cy) == pytest.approx((82, 80.2, 58.9), abs=0.3) and fy == pytest.approx(
        81.5, abs=0.3
    )
    assert "K" in one.said


def test_14_normalised_K(case) -> None:
    """Fractions of the size become pixels, said."""
    one = case("14")
    (found,) = one.prepare("clip", "--camera", one.case / "camera.yaml", "--fps", "20")
    assert found.camera.fx == pytest.approx(80) and found.camera.cx == pytest.approx(79.5, abs=0.5)
    assert "fractions" in one.said


def test_15_thermal_pictures(case) -> None:
    """The range is used, said once, and the doctor finds no duplicates."""
    one = case("15")
    (found,) = one.prepare("clip", "--fov", "90", "--fps", "20")
    assert found.read_frame(0).std() > 15
    assert "16-bit" in one.said or "16 bit" in one.said
    assert one.run("inspect", one.out / "out") == 0
    assert "duplicate" not in one.printed + one.said


def test_17_clock_since_boot(case) -> None:
    """Both spans are named before frames are stored without poses."""
    one = case("17")
    one.prepare("bag")
    assert "12.0" in one.said and "1700000000.0" in one.said
    one.run("infer", "depthnet-stillbox", one.case / "bag", "--out", one.out / "inferred")
    assert "12.0" in one.said and "1700000000.0" in one.said


def test_20_kitti_calibration_of_nine_numbers(case) -> None:
    """K of nine numbers is read."""
    one = case("20")
    (found,) = one.prepare("mykitti")
    assert intrinsics(found) == pytest.approx((80, 80, 79.5, 59.5))


def test_21_camera_and_times_beside_pictures(case) -> None:
    """Both files are read, and the folder is no prepared sequence."""
    one = case("21")
    (found,) = one.prepare("clip")
    assert len(found) == 6 and np.diff(found.times) == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize("words", [(), ("--format", "video")])
@pytest.mark.parametrize("clip", ["rec.ts", "phone.3gp", "noext"])
def test_22_video_by_its_content(case, clip, words) -> None:
    """Whatever the suffix: 16 frames of 160x120."""
    one = case("22")
    (found,) = one.prepare(clip, "--fov", "90", *words)
    assert len(found) == 16 and found.camera.size == (120, 160)


def test_22_video_by_its_content_infers(case) -> None:
    """The same in infer."""
    one = case("22")
    words = ("shading-colon", one.case / "rec.ts", "--out", one.out / "inferred", "--json")
    assert one.run("infer", *words) == 0, one.said
    assert json.loads(one.printed)["frames"] == 16


def test_23_one_picture(case) -> None:
    """A single picture has depth."""
    one = case("23")
    words = ("shading-colon", one.case / "000000.jpg", "--out", one.out / "out", "--json")
    assert one.run("infer", *words) == 0, one.said
    assert json.loads(one.printed)["frames"] == 1


def test_24_picture_of_108_megapixels(case) -> None:
    """A frame of the wanted size, or one line with the number of pixels."""
    one = case("24")
    code = one.run(
        "prepare", one.case / "survey", "--out", one.out / "out", "--fov", "60", "--size", "90x120"
    )
    if code == 0:
        (path,) = (one.out / "out").glob("*/times.txt")
        assert open_sequence(path.parent).camera.size == (90, 120)
    else:
        assert code == 1 and "12000x9000" in one.said


def test_25_heic_photos(case) -> None:
    """The files are read, or named with what to do."""
    one = case("25")
    code = one.run("prepare", one.case / "photos", "--out", one.out / "out", "--fov", "60")
    assert code == 0 or ("3 .HEIC" in one.said.replace(".heic", ".HEIC") and "JPEG" in one.said)


@pytest.mark.parametrize("source", ["clip", "bag"])
def test_27_equidistant_with_a_fifth_zero(case, source) -> None:
    """A fifth coefficient of 0 means nothing."""
    one = case("27")
    words = ("--camera", one.case / "camera_info.yaml", "--fps", "20") if source == "clip" else ()
    (found,) = one.prepare(source, *words)
    record = one.camera_file(found)["camera"]
    assert record["model"] == "kannala_brandt" and len(record["distortion"]) == 4


@pytest.mark.parametrize("whole", [True, False])
def test_29_euroc_folder(case, whole) -> None:
    """Camera, times of the names, and poses of the body moved to the camera."""
    one = case("29")
    cam0, truth = one.case / "MH_01/mav0/cam0", "state_groundtruth_estimate0/data.csv"
    words = ("--camera", cam0 / "sensor.yaml", "--poses", one.case / "MH_01/mav0" / truth)
    source = "MH_01" if whole else "MH_01/mav0/cam0/data"
    (found,) = one.prepare(source, *(() if whole else words))
    assert len(found) == 8 and np.diff(found.times) == pytest.approx(0.05, abs=1e-5)
    assert found.times[0] == pytest.approx(1403636579.763556, abs=1e-5)
    assert source_intrinsics(one, found) == pytest.approx(K)
    assert found.poses[0, :3, 3] == pytest.approx([0.3508, -0.0847, 0.2688], abs=1e-4)


FILES = (
    "camodocal.yaml colmap_cameras.txt euroc_sensor.yaml kalibr_camchain.yaml opencv.xml "
    "opencv_fs_mtx.yml orbslam.yaml ros.ini transforms.json"
)


@pytest.mark.parametrize("name", FILES.split())
def test_30_calibration_files_of_others(case, name) -> None:
    """Each program's file is the same camera."""
    one = case("30")
    (found,) = one.prepare("clip", "--camera", one.case / name, "--fps", "20")
    assert source_intrinsics(one, found) == pytest.approx(K, abs=1e-3)
    assert any(one.camera_file(found)["camera"]["distortion"])


@pytest.mark.parametrize("name", ["K.txt", "K44.yaml"])
def test_31_K_as_a_camera_file(case, name) -> None:
    """A matrix is a calibration of the frames' size."""
    one = case("31")
    (found,) = one.prepare("clip", "--camera", one.case / name, "--fps", "20")
    assert intrinsics(found) == pytest.approx(K)


def test_34_mcap_cut_short(case) -> None:
    """The frames before the cut are read, and it is said."""
    one = case("34")
    (found,) = one.prepare("flight.mcap")
    assert 10 <= len(found) <= 12 and "mcap recover" in one.said


def test_35_black_border_of_an_endoscope(case) -> None:
    """Depth where the round view is, none in the corners."""
    one = case("35")
    words = ("shading-colon", one.case / "scope", "--out", one.out / "out")
    assert one.run("infer", *words) == 0
    depth = cv2.imread(str(next((one.out / "out/depth").glob("*.png"))), cv2.IMREAD_UNCHANGED)
    assert depth[0, 0] == 0 and (depth > 0).mean() == pytest.approx(0.379, abs=0.02)


def test_37_depth_in_tiff(case) -> None:
    """TIFF truth is scored, whatever its scale."""
    one = case("37")
    words = ("--pred", one.case / "pred", "--gt", one.case / "gt", "--align", "median", "--json")
    assert one.run("evaluate", "depth", *words) == 0
    assert json.loads(one.printed)["abs_rel"] == pytest.approx(0.080, abs=0.002)
    words = (
        "--pred",
        one.case / "pred",
        "--gt",
        one.case / "gt",
        "--gt-scale",
        "1092.25",
        "--json",
    )
    assert one.run("evaluate", "depth", *words) == 0
    assert json.loads(one.printed)["abs_rel"] == pytest.approx(0.080, abs=0.002)


def test_39_video_that_starts_late(case) -> None:
    """All 16 frames, and no complaint."""
    one = case("39")
    (found,) = one.prepare("cut.mkv", "--fov", "90")
    assert len(found) == 16 and "truncated" not in one.said and "of 80" not in one.said


def test_41_chapters_of_one_recording(case) -> None:
    """Two chapters are one sequence whose times go on."""
    one = case("41")
    (found,) = one.prepare("DCIM", "--fov", "90")
    assert len(found) == 16 and found.times[-1] == pytest.approx(0.75, abs=0.01)
    assert found.times[8] == pytest.approx(0.40, abs=0.01)


def test_43_order_of_photos(case) -> None:
    """The order in which they were taken, as EXIF has it."""
    one = case("43")
    for folder, names in (
        ("rollover", ["9996", "9997", "9998", "9999", "0001", "0002", "0003", "0004"]),
        ("paren", ["170430", "170431", "170431 (1)", "170432", "170433", "170433 (1)"]),
    ):
        (found,) = one.prepare(folder, "--fov", "73.7", out=folder)
        files = {p.stem: cv2.imread(str(p)).astype(int) for p in (one.case / folder).iterdir()}
        for i, name in enumerate(names):
            frame = found.read_frame(i)[..., ::-1].astype(int)
            stem = min(files, key=lambda s, f=frame: np.abs(files[s] - f).mean())
            assert stem.endswith(name), f"frame {i} is {stem}, expected {name}"


def test_45_video_in_compressed_image(case) -> None:
    """The frames, or the format by its name."""
    one = case("45")
    code = one.run("prepare", one.case / "bag", "--out", one.out / "out", "--fov", "60")
    assert code == 0 or "h264" in one.said


def test_46_focal_length_in_exif(case) -> None:
    """24 mm of 35 mm film on 160 pixels, said."""
    one = case("46")
    (found,) = one.prepare("photos")
    assert found.camera.fx == pytest.approx(106.7, abs=0.05) and "73.7" in one.said
