# SPDX-License-Identifier: Apache-2.0
"""`depthkit synth`: data sets of scenes, seeded, parallel, restartable; what the camera spoils."""

import json
import shutil

import numpy as np
import pytest

from depthkit.cli import main
from depthkit.data.sequence import open_dataset, open_sequence
from depthkit.errors import ConfigError
from depthkit.synth.render import open_renderer
from depthkit.synth.stillbox import StillboxOptions, make_stillbox_scene
from depthkit.synth.write import CameraFaults, exposure_gains, round_scale, spoilt

SMALL = ["--scenes", "2", "--frames", "3", "--size", "32x48", "--workers", "1", "--backend", "ray"]


def synth(out, *words, world="stillbox"):
    return main(["synth", world, "--out", str(out), *SMALL, *words])


@pytest.mark.parametrize("world", ["stillbox", "street", "colon"])
def test_every_world_becomes_a_data_set(tmp_path, world, capsys):
    """Frames, metric depth, poses and all truth of each world can be opened."""
    assert synth(tmp_path, "--json", world=world) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["sequences"] == 2 and summary["frames"] == 3
    dataset = open_dataset(tmp_path)
    assert dataset.train == (f"{world}_00000", f"{world}_00001")
    sequence = dataset.open(dataset.train[1])
    assert len(sequence) == 3 and sequence.camera.size == (32, 48)
    assert sequence.depth_kind == "metric" and np.isfinite(sequence.poses).all()
    depth, truth = sequence.read_depth(0), sequence.read_truth(0)
    assert (depth > 0).mean() > 0.5
    assert truth.flow.shape == (32, 48, 2) and np.isfinite(truth.flow).mean() > 0.5
    assert truth.ids.max() > 0 and truth.occluded.dtype == bool
    assert sequence.read_truth(2).flow is None


def test_stored_depth_is_the_rendered_one(tmp_path):
    """Depth is kept to half a unit of depth_scale, frame by frame."""
    assert synth(tmp_path) == 0
    sequence = open_sequence(tmp_path / "stillbox_00001")
    renderer = open_renderer("ray")
    renderer.load(make_stillbox_scene(StillboxOptions(), 1, frames=3, size=(32, 48)))
    for i in range(3):
        error = np.abs(sequence.read_depth(i) - renderer.render(i).depth)
        assert error.max() <= 0.51 / sequence.depth_scale
    np.testing.assert_array_equal(sequence.read_frame(2), renderer.render(2).rgb)


def test_a_killed_run_continues(tmp_path):
    """Scenes that are there stay; the missing one is made again, equal to what it was."""
    assert synth(tmp_path) == 0
    before = open_sequence(tmp_path / "stillbox_00001").read_frame(0)
    kept = (tmp_path / "stillbox_00000/camera.yaml").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "stillbox_00001")
    assert synth(tmp_path) == 0
    np.testing.assert_array_equal(open_sequence(tmp_path / "stillbox_00001").read_frame(0), before)
    assert (tmp_path / "stillbox_00000/camera.yaml").stat().st_mtime_ns == kept


def test_two_processes_make_the_same_scenes(tmp_path):
    """The number of workers changes nothing but time."""
    assert synth(tmp_path / "one") == 0
    assert synth(tmp_path / "two", "--workers", "2") == 0
    for name in ("stillbox_00000", "stillbox_00001"):
        one, two = (open_sequence(tmp_path / part / name) for part in ("one", "two"))
        np.testing.assert_array_equal(one.read_depth(1), two.read_depth(1))
        np.testing.assert_array_equal(one.read_frame(1), two.read_frame(1))


def test_splits_grow_side_by_side(tmp_path):
    """A second command adds its sequences to the part it names; nothing is listed twice."""
    assert synth(tmp_path) == 0
    assert synth(tmp_path, "--name", "unseen", "--seed", "7", "--split", "test") == 0
    assert synth(tmp_path) == 0
    dataset = open_dataset(tmp_path)
    assert dataset.train == ("stillbox_00000", "stillbox_00001")
    assert dataset.test == ("unseen_00000", "unseen_00001")


def test_depth_only_writes_no_other_truth(tmp_path):
    """--depth-only leaves frames, depth and poses."""
    assert synth(tmp_path, "--depth-only") == 0
    folders = {p.name for p in (tmp_path / "stillbox_00000").iterdir() if p.is_dir()}
    assert folders == {"frames", "depth"}


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--scenes", "0"], 1, "scenes and frames: 1 or more each, got 0 and 3"),
        (["--frames", "0"], 1, "got 2 and 0"),
        (["--size", "8x8"], 1, "16 pixels a side or more"),
        (["--size", "big"], 2, "expected HEIGHTxWIDTH"),
        (["--set", "romm=[3,4]"], 1, "did you mean 'room'"),
        (["--set", "room=[9,3]"], 1, "room: 0 < low <= high"),
        (["--blur", "3"], 1, "blur: at most 1"),
        (["--noise", "-1"], 1, "noise: 0 or more"),
        (["--workers", "0"], 1, "workers: 1 or more"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, words, code, message):
    """What cannot be made is said in one line, and nothing is written."""
    assert synth(tmp_path / "out", *words) == code
    err = capsys.readouterr().err
    assert message in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_other_scenes_of_that_name_are_not_replaced(tmp_path, capsys):
    """Another seed under the same names is refused."""
    assert synth(tmp_path) == 0
    for words in (["--seed", "1"], ["--size", "48x48"], ["--depth-only"], ["--noise", "1"]):
        assert synth(tmp_path, *words) == 1
        assert "holds another scene" in capsys.readouterr().err


def test_keys_lists_the_options(capsys):
    """--keys needs no folder and names each option with its meaning."""
    assert main(["synth", "stillbox", "--keys"]) == 0
    out = capsys.readouterr().out
    assert "rotation: " in out and "degrees a frame" in out


def test_noise_has_the_asked_deviation():
    """At mid grey the deviation is the asked one; gain is applied before."""
    rgb = np.full((100, 100, 3), 64, np.uint8)
    out = spoilt(np.random.default_rng(0), rgb, gain=2.0, noise=4.0)
    assert out.mean() == pytest.approx(128, abs=0.2) and out.std() == pytest.approx(4, abs=0.1)
    assert spoilt(np.random.default_rng(0), rgb, gain=1.0, noise=0.0) is rgb


def test_exposure_stays_within_its_stops():
    """One stop of change is a factor of two between darkest and brightest at most."""
    gains = exposure_gains(np.random.default_rng(1), 200, 1.0)
    assert gains.max() / gains.min() == pytest.approx(2.0, rel=0.05)
    assert np.abs(np.diff(gains)).max() < 0.3
    assert (exposure_gains(np.random.default_rng(1), 5, 0.0) == 1).all()


def test_blur_moves_colours_and_not_truth(tmp_path):
    """Motion blur changes pictures; depth stays that of the middle of the exposure."""
    assert synth(tmp_path / "sharp", "--set", "step=[2,2]", "room=[20,30]") == 0
    assert synth(tmp_path / "blurred", "--blur", "1", "--set", "step=[2,2]", "room=[20,30]") == 0
    sharp, blurred = (open_sequence(tmp_path / n / "stillbox_00000") for n in ("sharp", "blurred"))
    np.testing.assert_array_equal(sharp.read_depth(1), blurred.read_depth(1))
    assert blurred.read_frame(1).std() < sharp.read_frame(1).std()


@pytest.mark.parametrize(("depth", "scale"), [(200.0, 320.0), (0.25, 260000.0), (65.535, 1000.0)])
def test_depth_scale_fits_the_range(depth, scale):
    """65535 / range, two digits, rounded down: 327.6 -> 320."""
    assert round_scale(depth) == pytest.approx(scale)


def test_faults_are_checked():
    """Negative exposure is refused."""
    with pytest.raises(ConfigError, match="exposure"):
        CameraFaults(exposure=-1)


def test_without_opengl_the_fallback_is_named(tmp_path, capsys, monkeypatch):
    """Where no context opens, rays draw, and one line says so and why."""
    import moderngl

    from depthkit.synth import render_gl

    def refuse(*args, **kwargs):
        raise Exception("libEGL.so not loaded")

    monkeypatch.setattr(render_gl, "_contexts", {})
    monkeypatch.setattr(moderngl, "create_context", refuse)
    assert synth(tmp_path, "--backend", "auto") == 0
    err = capsys.readouterr().err
    assert "libEGL.so not loaded" in err and "drawing with rays" in err
    assert synth(tmp_path / "other", "--backend", "gl") == 1
    assert "use --backend ray" in capsys.readouterr().err
