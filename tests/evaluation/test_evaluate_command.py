# SPDX-License-Identifier: Apache-2.0
"""`depthkit evaluate` as a user meets it: figures on stdout, one line for every known fault."""

import json
from pathlib import Path

import numpy as np
import pytest

from depthkit.cli import main
from depthkit.evaluation.snippets import chain_relative
from depthkit.trajectory import Trajectory, exp_se3, save_kitti, save_tum

cv2 = pytest.importorskip("cv2")

Output = pytest.CaptureFixture[str]


def drive(frames: int, *, seed: int = 0, hz: float = 10.0) -> Trajectory:
    """A wandering drive of about a metre a frame, with times."""
    twists = np.random.default_rng(seed).normal(0, 0.05, (frames - 1, 6)) + [0, 0, 1, 0, 0, 0]
    return Trajectory(np.arange(frames) / hz, chain_relative(exp_se3(twists)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with a reference of 400 m."""
    monkeypatch.chdir(tmp_path)
    save_tum("ref.txt", drive(400))
    return tmp_path


def score_file(estimate: str, *options: str, reference: str = "ref.txt") -> int:
    """Run the program on an estimate."""
    return main(
        ["evaluate", "odometry", "--estimate", estimate, "--reference", reference, *options]
    )


def error_of(capsys: Output) -> str:
    """Return the only line on stderr; stdout must be empty."""
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == "" and line.startswith("depthkit: error: ")
    return line.removeprefix("depthkit: error: ")


UNIT = "0 0 0 0 0 0 1"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "bad.txt: holds no poses"),
        (f"0 {UNIT}\n0.1 0 0 0 0 0 1\n", "bad.txt: line 2 has 7 columns"),
        ("hello there\n", "bad.txt: line 1 has 2 columns"),
        (f"0 {UNIT}\nnan {UNIT}\n", "bad.txt: line 2 holds NaN"),
        (f"0 {UNIT}\n0.1 nan 0 0 0 0 0 1\n", "the estimate holds 1 pose"),
        (f"0 {UNIT}\n0.1 0 0 0 0 0 0 2\n", "bad.txt: line 2 has a quaternion of norm 2"),
        (f"0 {UNIT}\n0 {UNIT}\n", "bad.txt: line 2 has stamp 0.0, which repeats"),
        (f"0.1 {UNIT}\n0 {UNIT}\n", "bad.txt: line 2 has stamp 0.0, which falls behind"),
        (f"0 {UNIT}\n", "bad.txt against ref.txt: the estimate holds 1 pose"),
        (f"900 {UNIT}\n901 {UNIT}\n", "no pose of the estimate lies within 0.01 s"),
        ("1 0 0 0 0 1 0 0 0 0 1 0\n", "bad.txt is a kitti file and ref.txt a tum file"),
    ],
)
def test_bad_files_are_one_line_each(text: str, message: str, folder: Path, capsys: Output) -> None:
    """Exit 1, one line that names file and row, and no report folder is left behind."""
    (folder / "bad.txt").write_text(text)
    assert score_file("bad.txt", "--report", "out") == 1
    assert message in error_of(capsys)
    assert not (folder / "out").exists()


def test_random_walk_gets_no_drift_score(folder: Path, capsys: Output) -> None:
    """Under 100 m a random walk has null for t_rel and the length as the reason, never 0."""
    save_tum("ref.txt", drive(60))
    save_tum("walk.txt", drive(60, seed=5))
    assert score_file("walk.txt", "--align", "7dof", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["t_rel_percent"] is None and figures["r_rel_deg_per_100m"] is None
    assert "path too short: 5" in figures["reasons"]["t_rel_percent"]
    assert score_file("walk.txt", "--align", "7dof") == 0
    text = capsys.readouterr().out
    assert "not scored: path too short" in text and " 0.00" not in text.split("\n")[2]


def test_lost_tracking_is_said_in_text_json_and_on_stderr(folder: Path, capsys: Output) -> None:
    """Coverage 30 % stands in front of the figures and in a warning."""
    save_tum("lost.txt", drive(400).take(slice(0, 120)))
    assert score_file("lost.txt", "--align", "6dof") == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("coverage 30.")
    assert "warning: the estimate covers 30." in captured.err
    assert score_file("lost.txt", "--align", "6dof", "--json") == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["coverage"] == pytest.approx(0.3, abs=0.002) and figures["poses"] == 120
    assert "warning" in captured.err


def test_kitti_files_pair_by_index(folder: Path, capsys: Output) -> None:
    """13 columns keep their frame; the scale of 7dof is printed and in the JSON."""
    truth = drive(300)
    save_kitti("gt.txt", truth)
    late = truth.take(slice(40, None))
    late.T_world_cam[:, :3, 3] *= 0.1
    save_kitti("est.txt", late, indices=np.arange(40, 300))
    assert score_file("est.txt", "--align", "7dof", "--json", reference="gt.txt") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["scale"] == pytest.approx(10, rel=1e-9)
    assert figures["ate_m"] == pytest.approx(0, abs=1e-6)
    assert figures["coverage"] == pytest.approx(260 / 300)


def test_odometry_report_is_written_once(folder: Path, capsys: Output) -> None:
    """The report holds the figures, the baseline and three pictures; --force is needed twice."""
    save_tum("est.txt", drive(400, seed=1))
    assert score_file("est.txt", "--align", "7dof", "--report", "out") == 0
    assert "report: out/report.html" in capsys.readouterr().out
    page = (folder / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "mean motion (baseline)" in page
    assert score_file("est.txt", "--report", "out") == 1
    assert "holds files already" in error_of(capsys)
    assert score_file("est.txt", "--report", "out", "--force") == 0


def test_rows_without_a_pose_are_counted(folder: Path, capsys: Output) -> None:
    """NaN rows lower the coverage and are said; the rest scores as without them."""
    save_tum("est.txt", drive(400))
    rows = (folder / "est.txt").read_text().splitlines()
    rows[101:141] = [f"{row.split()[0]} nan nan nan nan nan nan nan" for row in rows[101:141]]
    (folder / "est.txt").write_text("\n".join(rows))
    assert score_file("est.txt", "--json") == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    assert figures["poses"] == 360 and figures["coverage"] == pytest.approx(0.9, abs=0.005)
    assert figures["ate_m"] == pytest.approx(0, abs=1e-6)
    assert "warning: est.txt: 40 of 400 rows hold no pose" in captured.err


def test_keyframes_without_an_index_are_not_paired_by_row(folder: Path, capsys: Output) -> None:
    """12 columns, fewer rows than the reference: which frames they are, nobody says."""
    save_kitti("gt.txt", drive(300))
    save_kitti("kf.txt", drive(300).take(slice(None, None, 7)))
    assert score_file("kf.txt", "--align", "7dof", reference="gt.txt") == 1
    line = error_of(capsys)
    assert "kf.txt holds 43 rows without a frame index and gt.txt 300" in line
    assert "13 columns" in line


def test_order_of_quaternions_is_decided_by_the_reference(folder: Path, capsys: Output) -> None:
    """Nanoseconds, commas, w last and no header: the reference shows the order, and it is said."""
    truth = drive(400)
    save_tum("t.txt", Trajectory(truth.stamps, exp_se3([0, 0, 0, 1, 0.5, 0.2]) @ truth.T_world_cam))
    rows = [row.split() for row in (folder / "t.txt").read_text().splitlines()[1:]]
    lines = [",".join([f"{round(float(row[0]) * 1e9 + 1.4e18)}", *row[1:]]) for row in rows]
    (folder / "est.csv").write_text("\n".join(lines))
    moved = [" ".join([f"{float(row[0]) + 1.4e9:.6f}", *row[1:]]) for row in rows]
    (folder / "gt.txt").write_text("\n".join(["# t x y z qx qy qz qw", *moved]))
    assert score_file("est.csv", "--json", reference="gt.txt") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rpe_rot_deg"] == pytest.approx(0, abs=1e-4)
    assert "quaternions read as x y z w, as the rotation of gt.txt shows" in captured.err
    assert "times taken as nanoseconds" in captured.err
    assert score_file("est.csv", "--quaternion", "xyzw", reference="gt.txt") == 0
    assert "quaternions" not in capsys.readouterr().err
    assert score_file("est.csv", "--quaternion", "xyz", reference="gt.txt") == 2


def test_several_estimates_are_one_table_and_one_list(folder: Path, capsys: Output) -> None:
    """Both ways of naming them score all; each figure is that of the estimate scored alone."""
    alone = {}
    for seed, name in ((1, "one"), (2, "two"), (3, "three")):
        save_tum(f"{name}.txt", drive(400, seed=seed))
        assert score_file(f"{name}.txt", "--align", "7dof", "--json") == 0
        alone[name] = json.loads(capsys.readouterr().out)
    several = ("--estimate", "two.txt", "three.txt", "--align", "7dof")
    assert score_file("one.txt", *several, "--json", "--report", "out", "--save", "s.json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["reference"] == "ref.txt" and record["align"] == "7dof"
    assert {one.pop("name"): one for one in record["estimates"]} == alone
    page = (folder / "out" / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and all(name in page for name in alone)
    assert score_file("one.txt", *several) == 0
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in table[2:5]] == ["one", "two", "three"]
    assert main(["evaluate", "compare", "s.json", "--json"]) == 0
    compared = json.loads(capsys.readouterr().out)["estimates"]
    assert [one["ate_m"] for one in compared] == [alone[name]["ate_m"] for name in alone]


def test_what_is_there_is_not_saved_over(folder: Path, capsys: Output) -> None:
    """A saved file is replaced with --force only, a file is not scored twice under two names."""
    save_tum("est.txt", drive(400, seed=1))
    assert score_file("est.txt", "--save", "s.json") == 0
    capsys.readouterr()
    assert score_file("est.txt", "--save", "s.json") == 1
    assert error_of(capsys) == "s.json: is there already; name another file or pass --force"
    assert score_file("est.txt", "--save", "none/s.json") == 1
    assert "--save needs a file in a folder that is there" in error_of(capsys)
    assert score_file("est.txt", "--estimate", "./est.txt") == 1
    assert "one file is named twice" in error_of(capsys)


def test_runs_are_compared_from_their_files(folder: Path, capsys: Output) -> None:
    """Saved and printed scores stand in one table; what may not be compared is said."""
    save_tum("est.txt", drive(400, seed=1))
    assert score_file("est.txt", "--align", "6dof", "--save", "a.json") == 0
    capsys.readouterr()
    assert score_file("est.txt", "--align", "7dof", "--json") == 0
    (folder / "b.json").write_text(capsys.readouterr().out)
    assert main(["evaluate", "compare", "a.json", "b.json"]) == 0
    captured = capsys.readouterr()
    assert [line.split()[0] for line in captured.out.splitlines()[1:]] == ["est", "b"]
    assert "not the same alignment: 6dof, 7dof" in captured.err
    assert main(["evaluate", "compare"]) == 2


def test_usage_errors_exit_two(folder: Path) -> None:
    """A missing kind, file or an unknown alignment is wrong usage."""
    assert main(["evaluate"]) == 2
    assert main(["evaluate", "odometry", "--estimate", "x"]) == 2
    assert score_file("x", "--align", "9dof") == 2
    assert main(["evaluate", "--help"]) == 0


def make_maps(folder: Path, frames: int = 4, *, scale: float = 1000.0) -> np.ndarray:
    """Write ramps of 1 to 3 m as PNG; return the ramp. (24, 32)"""
    folder.mkdir(parents=True)
    ramp = np.linspace(1, 3, 24 * 32).reshape(24, 32)
    for i in range(frames):
        cv2.imwrite(str(folder / f"{i:06d}.png"), np.rint(ramp * scale).astype(np.uint16))
    return ramp


def score_maps(*options: str, pred: str = "pred", gt: str = "gt") -> int:
    """Run the program on two folders."""
    return main(["evaluate", "depth", "--pred", pred, "--gt", gt, *options])


def test_depth_of_a_sequence_and_of_arrays(folder: Path, capsys: Output) -> None:
    """camera.yaml gives the truth's scale, .npy is metres; a missing map lowers coverage."""
    ramp = make_maps(folder / "gt" / "depth", scale=5000)
    (folder / "gt" / "camera.yaml").write_text("depth_scale: 5000\ndepth_kind: metric\n")
    (folder / "pred").mkdir()
    for i in range(3):
        np.save(folder / "pred" / f"{i:06d}.npy", (1.1 * ramp).astype(np.float32))
    assert score_maps("--json") == 0
    captured = capsys.readouterr()
    figures = json.loads(captured.out)
    contract = "abs_rel sq_rel rmse rmse_log a1 a2 a3 coverage frames align"
    assert " ".join(list(figures)[:10]) == contract
    assert figures["abs_rel"] == pytest.approx(0.1, abs=1e-4)
    assert (figures["coverage"], figures["frames"], figures["align"]) == (0.75, 3, "none")
    assert "1 of 4 frames with a truth have no prediction" in captured.err


@pytest.mark.parametrize("gt", ["gt", "gt/depth"])
def test_valid_mask_of_a_sequence_counts(gt: str, folder: Path, capsys: Output) -> None:
    """valid.png keeps pixels outside the image out of the score, however the truth is named."""
    make_maps(folder / "gt" / "depth")
    (folder / "gt" / "camera.yaml").write_text("depth_scale: 1000\ndepth_kind: metric\n")
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :16] = 255
    cv2.imwrite(str(folder / "gt" / "valid.png"), mask)
    ramp = make_maps(folder / "pred")
    ramp[:, 16:] = 50
    np.save(folder / "pred" / "000000.npy", ramp)
    (folder / "pred" / "000000.png").unlink()
    assert score_maps("--json", gt=gt) == 0
    assert json.loads(capsys.readouterr().out)["abs_rel"] == pytest.approx(0, abs=1e-3)


def test_millimetres_are_assumed_aloud(folder: Path, capsys: Output) -> None:
    """Without depth.yaml or camera.yaml a PNG value is a millimetre, and that is said."""
    make_maps(folder / "pred")
    make_maps(folder / "gt")
    assert score_maps() == 0
    captured = capsys.readouterr()
    assert captured.err.count("PNG values taken as millimetres") == 2
    assert "coverage 100.0 %: 4 of 4 frames" in captured.out


def test_relative_depth_is_never_read_as_metres(folder: Path, capsys: Output) -> None:
    """What infer marks as relative needs --align median, and then is scored."""
    make_maps(folder / "pred", scale=700)
    (folder / "pred" / "depth.yaml").write_text("depth_scale: 1000\nscale: relative\n")
    make_maps(folder / "gt")
    (folder / "gt" / "depth.yaml").write_text("depth_scale: 1000\nscale: metric\n")
    assert score_maps() == 1
    assert "relative, not metres; pass --align median" in error_of(capsys)
    assert score_maps("--align", "median", "--json", "--report", "out") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["abs_rel"] == pytest.approx(0, abs=1e-3)
    assert figures["ratio_median"] == pytest.approx(1 / 0.7, rel=1e-3)
    assert (folder / "out" / "report.html").read_text().count("data:image/png;base64,") == 3


def write_tiff(folder: Path, stem: str, values: np.ndarray) -> None:
    """Write one map as TIFF."""
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f"{stem}.tiff"), values)


def test_tiff_of_a_stated_scale(folder: Path, capsys: Output) -> None:
    """65535 stands for 60 m: with the scale nothing is assumed and the error is the made one."""
    depth = np.linspace(1, 50, 600).reshape(20, 30)
    write_tiff(folder / "gt", "0001", np.rint(depth * 65535 / 60).astype(np.uint16))
    write_tiff(folder / "pred", "0001", (1.1 * depth).astype(np.float32))
    assert score_maps("--gt-scale", "1092.25", "--pred-scale", "1", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["abs_rel"] == pytest.approx(0.1, abs=1e-3)
    assert captured.err == ""
    assert score_maps() == 0
    said = capsys.readouterr().err
    assert (
        "gt: no depth.yaml or camera.yaml; TIFF values taken as millimetres (--gt-scale N" in said
    )
    assert "pred: floats taken as metres (--pred-scale N" in said
    assert score_maps("--gt-scale", "0") == 2


def test_names_that_say_what_they_show_are_paired(folder: Path, capsys: Output) -> None:
    """C3VD calls truth 0001_depth.tiff: it pairs with 0001_color, and that is said."""
    depth = np.linspace(1, 5, 600, dtype=np.float32).reshape(20, 30)
    for i in range(2):
        write_tiff(folder / "gt", f"{i:04d}_depth", depth)
        write_tiff(folder / "pred", f"{i:04d}_color", depth)
    assert score_maps("--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["frames"] == 2
    assert "'0000_color' and '0000_depth'" in captured.err


def test_an_option_against_the_settings_is_said(folder: Path, capsys: Output) -> None:
    """The option wins over depth.yaml; a depth.yaml without a scale states none."""
    make_maps(folder / "pred")
    make_maps(folder / "gt", scale=500)
    (folder / "gt" / "depth.yaml").write_text("depth_scale: 1000\n")
    (folder / "pred" / "depth.yaml").write_text("scale: metric\n")
    assert score_maps("--gt-scale", "500", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["abs_rel"] == pytest.approx(0, abs=1e-3)
    assert "depth.yaml says depth_scale 1000, --gt-scale 500 is used" in captured.err
    assert "no depth_scale in depth.yaml; PNG values taken as millimetres" in captured.err


def test_the_largest_number_of_16_bits_is_no_depth(folder: Path, capsys: Output) -> None:
    """7-Scenes writes 65535 for unknown depth: it is left out, not scored as 65.5 m, and said."""
    make_maps(folder / "pred")
    make_maps(folder / "gt")
    for path in (folder / "gt").iterdir():
        values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        values[:3] = 65535
        cv2.imwrite(str(path), values)
    assert score_maps("--json") == 0
    captured = capsys.readouterr()
    assert "gt: 12.5 % of the first map is 65535" in captured.err
    assert "is taken as unknown" in captured.err
    assert json.loads(captured.out)["abs_rel"] == 0


def test_names_of_other_programs_are_paired_by_their_number(folder: Path, capsys: Output) -> None:
    """pred_0 is 000000, and that is said."""
    make_maps(folder / "pred")
    make_maps(folder / "gt")
    for i, path in enumerate(sorted((folder / "pred").iterdir())):
        path.rename(path.with_name(f"pred_{i}.png"))
    assert score_maps("--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["frames"] == 4
    assert "paired by number" in captured.err and "'pred_0' and '000000'" in captured.err


def test_maps_that_hold_nothing_or_lie_on_their_side_are_one_line(
    folder: Path, capsys: Output
) -> None:
    """All NaN, and (W, H) in place of (H, W)."""
    ramp = make_maps(folder / "gt")
    (folder / "pred").mkdir()
    for values, words in ((ramp * np.nan, "0, NaN, infinite"), (ramp.T, "columns are swapped")):
        for i in range(4):
            np.save(folder / "pred" / f"{i:06d}.npy", values.astype(np.float32))
        assert score_maps() == 1
        assert words in capsys.readouterr().err


def test_inverse_depth_is_named_on_stderr(folder: Path, capsys: Output) -> None:
    """The first warning says that near and far are swapped."""
    ramp = make_maps(folder / "gt")
    (folder / "pred").mkdir()
    for i in range(4):
        np.save(folder / "pred" / f"{i:06d}.npy", (1 / ramp).astype(np.float32))
    assert score_maps("--align", "median", "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rank_correlation"] == pytest.approx(-1)
    assert "near and far are swapped" in captured.err.splitlines()[0]


def break_maps(folder: Path, fault: str) -> None:
    """Put one fault into a good pair of folders."""
    make_maps(folder / "pred")
    make_maps(folder / "gt")
    victim = folder / "pred" / "000001.png"
    match fault:
        case "empty":
            for path in (folder / "pred").iterdir():
                path.unlink()
        case "names":
            for path in sorted((folder / "pred").iterdir()):
                path.rename(path.with_name("x" + path.name.replace("0", "7")))
        case "eight bits":
            cv2.imwrite(str(victim), np.zeros((24, 32), np.uint8))
        case "truncated":
            victim.write_bytes(victim.read_bytes()[:100])
        case "twice":
            np.save(victim.with_suffix(".npy"), np.ones((24, 32)))
        case "pickle":
            victim.unlink()
            np.save(victim.with_suffix(".npy"), np.array([{}], dtype=object))
        case "scale":
            (folder / "pred" / "depth.yaml").write_text("depth_scale: 0\n")
        case "zeros":
            for path in (folder / "gt").iterdir():
                cv2.imwrite(str(path), np.zeros((24, 32), np.uint16))


@pytest.mark.parametrize(
    "fault, message",
    [
        ("empty", "pred: holds no depth maps"),
        ("names", "no map of pred has the name of one of gt: 'x777771' against '000000'"),
        ("eight bits", "000001.png: expected a one-channel 16-bit picture"),
        ("truncated", "000001.png"),
        ("twice", "000001 is there twice, as .npy and as .png"),
        ("pickle", "000001.npy: holds Python objects (a dict?)"),
        ("scale", "depth_scale must be a number above 0, got 0"),
        ("zeros", "no frame has both a prediction and a truth"),
    ],
)
def test_bad_depth_folders_are_one_line_each(
    fault: str, message: str, folder: Path, capsys: Output
) -> None:
    """Exit 1 and one line that names what is wrong; zero images are no success."""
    break_maps(folder, fault)
    assert score_maps("--json") == 1
    line = [text for text in capsys.readouterr().err.splitlines() if "warning" not in text]
    assert len(line) == 1 and message in line[0]


def test_missing_depth_folder(folder: Path, capsys: Output) -> None:
    """A folder that is not there is named."""
    assert score_maps() == 1
    assert error_of(capsys) == "pred: no such folder"
