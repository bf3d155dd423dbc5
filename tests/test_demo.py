# SPDX-License-Identifier: Apache-2.0
"""`depthkit demo`: two films and the shipped networks; in small, with stand-ins for the latter."""

import json
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from runtime.onnx_makers import write_mono, write_pair

from depthkit.cli import main
from depthkit.data.calibrated_stream import open_calibrated
from depthkit.data.folder import read_settings
from depthkit.data.sequence import open_dataset
from depthkit.installation import install_line
from depthkit.pipelines.demo import scores as demo_scores
from depthkit.pipelines.demo import shipped
from depthkit.pipelines.demo.films import Film, FilmPlan, film_room, film_street
from depthkit.pipelines.demo.folder import ABOUT, MARKER
from depthkit.pipelines.demo.report import write_demo_report
from depthkit.pipelines.demo.scores import FRAME_WEIGHTS, PAIR_WEIGHTS, Flights
from depthkit.pipelines.demo.worlds import _Judge, _score, film_and_reconstruct
from depthkit.runtime.network import manifest
from depthkit.synth import render_gl
from depthkit.watcher import SILENT


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of both kinds, small, that learnt nothing."""
    folder = tmp_path_factory.mktemp("weights")
    write_pair(folder / f"{PAIR_WEIGHTS}.onnx", size=(64, 64), focal=32.0, weights=(0.1, 0.1))
    write_mono(folder / f"{FRAME_WEIGHTS}.onnx", size=(64, 64), scale="metric")
    return folder


@pytest.fixture
def small(monkeypatch, weights):
    """Stand-ins in place of the shipped weights, one short flight of each world."""
    monkeypatch.setattr(manifest, "SHIPPED", weights)
    flights = {"stillbox": Flights(1, 11), "colon": Flights(1, 2)}
    monkeypatch.setattr(demo_scores, "FLIGHTS", flights)
    monkeypatch.setattr(shipped, "film_and_reconstruct", lambda out, **words: [])


def test_demo_shows_both_networks(tmp_path, small, capsys):
    """A table on stdout, a row of pictures for each network, a report that needs no other file."""
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "classical  best constant" in captured.out and str(out / "report.html") in captured.out
    assert f"{PAIR_WEIGHTS}: 11 pairs of frames, 0.3 m apart" in captured.out
    assert f"{FRAME_WEIGHTS}: 2 single frames" in captured.out
    assert "Nothing is scaled" in captured.out and " s in all" in captured.out
    assert "1/4" in captured.err and "4/4" in captured.err
    names = {path.name for path in (out / "pictures").iterdir()}
    assert names == {"stillbox_00000_000010.png", "colon_00000_000001.png"}
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and "src='http" not in page
    assert "Nothing is scaled" in page


def test_demo_needs_no_torch(tmp_path, weights):
    """Shipped files run without torch: it may be missing altogether."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from depthkit.cli import main\nfrom depthkit.pipelines.demo import scores as demo_scores\n"
        "from depthkit.runtime.network import manifest\n"
        f"manifest.SHIPPED = Path({str(weights)!r})\n"
        "demo_scores.FLIGHTS = {n: demo_scores.Flights(1, 11) for n in ('stillbox', 'colon')}\n"
        "from depthkit.pipelines.demo import shipped\n"
        "shipped.film_and_reconstruct = lambda out, **words: []\n"
        f"sys.exit(main(['demo', '--out', {str(tmp_path / 'demo')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "torch" not in done.stderr


def test_demo_prints_one_json_object(tmp_path, small, capsys):
    """--json gives the figures: those of the constants by hand, and the seed's own flights."""
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--json", "--seed", "2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["seed"], found["align"]) == (2, "none")
    solids = open_dataset(out / "stillbox").open("stillbox_00000")
    truths = np.stack([np.minimum(solids.read_depth(i), 100) for i in range(11)])
    # Each frame is a target once, 0.3 m from its source: nothing is left to scale.
    mae = found["stillbox"]["mae_m_at_d0"]
    assert mae["constant"] == pytest.approx(np.abs(truths - np.median(truths)).mean(), rel=1e-3)
    assert mae["classical"] > 0 and mae["network"] > 0
    colon = open_dataset(out / "colon").open("colon_00000")
    depths = np.stack([colon.read_depth(i) for i in range(2)]).astype(float)
    known = [d[(d > 0) & (d < 0.25)] for d in depths]
    mean = np.mean([d.mean() for d in known])
    rmse = np.mean([np.sqrt(np.mean((d - mean) ** 2)) for d in known])
    assert found["colon"]["rmse_cm"]["constant"] == pytest.approx(100 * rmse, rel=1e-3)
    assert found["colon"]["a1"]["classical"] is None
    seeds = [read_settings(f.root / "camera.yaml")["source"]["seed"] for f in (solids, colon)]
    assert seeds == [902_000_000, 902_000_000]


def test_demo_replaces_only_its_own_folder(tmp_path, small, capsys):
    """Without --force nothing is replaced; with it, no folder that the demo did not write."""
    out = tmp_path / "demo"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    assert main(["demo", "--out", str(out)]) == 1
    assert "use --force" in capsys.readouterr().err
    assert main(["demo", "--out", str(out), "--force"]) == 1
    assert "holds something else" in capsys.readouterr().err
    assert (out / "thesis.tex").read_text() == "years of work"
    (out / MARKER).write_text(ABOUT)
    assert main(["demo", "--out", str(out), "--force"]) == 0
    assert not (out / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--set", "optimizer.steps=3"], "--set goes with --train"),
        (["--train", "--seed", "1"], "--seed is of the flights without --train"),
    ],
)
def test_demo_refuses_words_of_the_other_kind(tmp_path, capsys, words, line):
    """What would be ignored is one line and no folder."""
    assert main(["demo", "--out", str(tmp_path / "d"), *words]) == 2
    assert line in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_demo_refuses_a_negative_seed(capsys):
    """A seed below 0 could reach flights that were trained on: wrong usage."""
    assert main(["demo", "--seed", "-1"]) == 2
    assert "expected 0 or more, got -1" in capsys.readouterr().err


def test_demo_names_missing_weights(tmp_path, monkeypatch, capsys):
    """Weights that are not installed are one line with a remedy, and no folder."""
    monkeypatch.setattr(manifest, "SHIPPED", tmp_path)
    assert main(["demo", "--out", str(tmp_path / "d")]) == 1
    error = capsys.readouterr().err
    assert f"{PAIR_WEIGHTS}.onnx: no such weights; install depthkit again" in error
    assert error.count("\n") == 1 and not (tmp_path / "d").exists()


def test_demo_names_the_extra_that_renders(tmp_path, small, monkeypatch, capsys):
    """Without moderngl and embreex one line says what to install, and no folder is made."""
    monkeypatch.setattr(render_gl, "_contexts", {})
    for module in ("moderngl", "embreex"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["demo", "--out", str(tmp_path / "d")]) == 1
    error = capsys.readouterr().err
    assert install_line("synth") in error and error.count("\n") == 1
    assert not (tmp_path / "d").exists()


def test_films_are_plain_video_files(tmp_path):
    """A film is a video of the planned size with a calibration; the truth is not beside it."""
    plan = FilmPlan(room_frames=6, street_frames=6, room_size=(48, 64), street_size=(48, 96))
    for make, size in ((film_room, (48, 64)), (film_street, (48, 96))):
        film = make(tmp_path / make.__name__, plan, seed=3, watcher=SILENT)
        names = {path.name for path in film.video.parent.iterdir()}
        assert names == {film.video.name, "camera.yaml"}
        stream = open_calibrated(film.video)
        assert len(stream) == 6 and stream.camera.size == size and stream.poses is None
        assert sorted(film.depth) == [0, 5] and film.T_world_cam.shape == (6, 4, 4)
        rgb = next(iter(stream.frames())).rgb
        assert rgb.std() > 20  # something is to be seen


def test_films_are_scored_by_hand(tmp_path):
    """Depth twice the truth: no error times one factor, 1 in metres; the constant is the median."""
    truth = np.array([[1.0, 2.0, 4.0]], np.float32)
    film = Film("x", tmp_path, tmp_path, None, np.stack([np.eye(4)] * 2), {0: truth})
    film.T_world_cam[1, 0, 3] = 3.0
    for unit, scale, expected in ((2.0, "relative", 0.0), (2.0, "metric", 1.0)):
        judge = _Judge(film)
        for i in range(2):
            T = film.T_world_cam[i].copy()
            T[:3, 3] *= unit if scale == "relative" else 1.0
            result = SimpleNamespace(depth=unit * truth, sigma=np.array([[0.01, 0.01, 0.5]]))
            judge.see(SimpleNamespace(index=i), SimpleNamespace(T_world_cam=T), result)
        score = _score(judge, SimpleNamespace(scale=scale, seconds=1.0))
        assert score.abs_rel == pytest.approx(expected, abs=1e-6)
        assert score.measured == pytest.approx(2 / 3) and score.frames == 1
        # of 1, 2 and 4 the constant 1 is best: (0 + 1/2 + 3/4) / 3
        assert score.abs_rel_constant == pytest.approx(1.25 / 3)
        assert score.path_percent == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_films_become_rooms_and_streets(tmp_path):
    """The room is right to 4 % times one factor, the street's measured pixels to 15 % in metres."""
    worlds = film_and_reconstruct(tmp_path, seed=0, watcher=SILENT)
    room, street = (world.score for world in worlds)
    assert room.scale == "relative" and room.abs_rel < 0.04 and room.measured > 0.8
    assert street.scale == "metric" and street.abs_rel_measured < 0.15
    assert all(world.summary.main.faces > 5000 for world in worlds)
    assert all(world.score.path_percent < 2 for world in worlds)
    page = write_demo_report(_with_pictures(tmp_path), worlds, []).read_text()
    assert page.count("class='scene-view'") == 2 and "https://" not in page


def _with_pictures(out):
    (out / "demo").mkdir()
    return out / "demo"


@pytest.mark.slow
def test_shipped_networks_beat_what_sees_nothing(tmp_path, capsys):
    """Both shipped networks beat the best constant, the pair network classical flow, in time."""
    for name in (PAIR_WEIGHTS, FRAME_WEIGHTS):
        if not (manifest.SHIPPED / f"{name}.onnx").is_file():
            pytest.skip(f"{name}.onnx is not in {manifest.SHIPPED}; it is yet to be trained")
    begin = time.process_time()
    assert main(["demo", "--out", str(tmp_path / "d"), "--json"]) == 0
    assert time.process_time() - begin < 60  # seconds of one core
    found = json.loads(capsys.readouterr().out)
    mae, a1 = found["stillbox"]["mae_m_at_d0"], found["colon"]["a1"]
    assert mae["network"] < min(mae["constant"], mae["classical"])
    assert a1["network"] > a1["constant"] + 0.2
    assert found["colon"]["rmse_cm"]["network"] < found["colon"]["rmse_cm"]["constant"]
