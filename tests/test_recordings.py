# SPDX-License-Identifier: Apache-2.0
"""Many recordings: which ones, side by side, killed workers, restarts, the overview, the words."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recording_jobs import (
    always_die,
    die_after_writing,
    job,
    refuse,
    stumble,
    write,
    write_at_second,
)

import depthkit
from depthkit.cli import main
from depthkit.errors import ConfigError, DataError, EngineError
from depthkit.installation import install_line
from depthkit.pipelines.recordings.crew import run_all
from depthkit.pipelines.recordings.find import find_recordings
from depthkit.pipelines.recordings.job import Job, Outcome, attempt
from depthkit.pipelines.recordings.overview import RecordingsSummary, write_page
from depthkit.pipelines.recordings.run import names_several
from depthkit.synth.boxes import write_box_sequence

WORDS = ["--fov", "65", "--fps", "10"]


def have_ray() -> bool:
    """Whether the extra cluster is installed."""
    try:
        import ray  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


needs_ray = pytest.mark.skipif(not have_ray(), reason="needs Ray (extra cluster)")


def pictures(folder: Path, seed: int = 3) -> Path:
    """Write four frames as a folder of pictures."""
    made = folder.with_name(f".{folder.name}")
    write_box_sequence(made, 4, (48, 64), seed=seed)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made / "frames", folder)
    shutil.rmtree(made)
    return folder


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two recordings, each a folder of pictures."""
    folder = tmp_path_factory.mktemp("source") / "walks"
    for name, seed in (("garden", 1), ("house", 2)):
        pictures(folder / name, seed)
    return folder


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run jobs one after the other in this process; returns the names of those that ran."""
    ran: list[str] = []

    def run(jobs: list[Job], **_: Any) -> Iterator[Outcome]:
        for one in jobs:
            ran.append(one.name)
            yield attempt(one)

    monkeypatch.setattr("depthkit.pipelines.recordings.run.run_all", run)
    return ran


def contents(folder: Path, *but: str) -> dict[str, bytes]:
    """Return all files of a folder by their paths, but those of some names."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in but)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


# --- which recordings ----------------------------------------------------------------------------


def test_folders_and_lists_name_recordings(walks: Path, tmp_path: Path) -> None:
    """A folder of recordings, a list with comments and paths of its own, and single ones."""
    found = find_recordings([walks], "odometry")
    assert [(one.name, one.sequence) for one in found] == [("garden",) * 2, ("house",) * 2]
    assert [one.source for one in found] == [walks / "garden", walks / "house"]
    assert {one.whole for one in found} == {walks}
    write_box_sequence(tmp_path / "room", 2, (24, 32), seed=1)
    (tmp_path / "clip.mp4").touch()
    (tmp_path / "list.txt").write_text(f"# of June\n\nroom\n  clip.mp4\n{walks}\n")
    found = find_recordings([f"@{tmp_path / 'list.txt'}"], "odometry")
    assert [one.name for one in found] == ["room", "clip", "garden", "house"]
    assert found[0].source == found[0].whole == tmp_path / "room" and not found[0].sequence


def test_a_data_set_is_its_sequences(tmp_path: Path) -> None:
    """Those of split.yaml where there is one, else all sequence folders."""
    for name in ("a", "b", "c"):
        write_box_sequence(tmp_path / "data" / name, 2, (24, 32), seed=1)
    assert [one.name for one in find_recordings([tmp_path / "data"], "infer")] == ["a", "b", "c"]
    (tmp_path / "data" / "split.yaml").write_text("train: [c]\nval: [a]\n")
    assert [one.name for one in find_recordings([tmp_path / "data"], "infer")] == ["c", "a"]


def test_a_recording_of_a_data_set_is_named_so_that_it_opens_alone(tmp_path: Path) -> None:
    """A EuRoC recording is its folder, not that of its camera."""
    for name in ("MH_01", "V1_01"):
        frames = tmp_path / "euroc" / name / "mav0" / "cam0" / "data"
        frames.parent.mkdir(parents=True)
        pictures(frames)
        rows = [f"{1000 * i},{one.name}" for i, one in enumerate(sorted(frames.iterdir()))]
        (frames.parent / "data.csv").write_text("#timestamp [ns],filename\n" + "\n".join(rows))
        (frames.parent / "sensor.yaml").write_text("sensor_type: camera\n")
    found = find_recordings([tmp_path / "euroc"], "infer")
    assert {one.name: one.source for one in found} == {
        name: tmp_path / "euroc" / name for name in ("MH_01", "V1_01")
    }


def test_equal_names_get_the_folder_above_or_are_refused(tmp_path: Path) -> None:
    """Two clip.mp4 of two days are told apart; a.mp4 beside a.mov is for the user to say."""
    for place in ("mon/clip.mp4", "tue/clip.mp4", "mon/clip.mov"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    two = [tmp_path / "mon/clip.mp4", tmp_path / "tue/clip.mp4"]
    assert [one.name for one in find_recordings(two, "infer")] == ["mon_clip", "tue_clip"]
    with pytest.raises(DataError, match="clip.mov would both be written as mon_clip; rename"):
        find_recordings([*two, tmp_path / "mon/clip.mov"], "infer")
    with pytest.raises(DataError, match="none.txt: cannot read the list"):
        find_recordings([f"@{tmp_path}/none.txt"], "infer")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(DataError, match="no recording is named"):
        find_recordings([f"@{tmp_path}/empty.txt"], "infer")
    with pytest.raises(DataError, match="can be called index.html"):
        find_recordings([tmp_path / "index.html.mp4"], "infer")


def test_one_recording_stays_one(walks: Path, tmp_path: Path) -> None:
    """A single source is the verb's own business, unless workers or a cluster are asked for."""
    one = walks / "garden"
    assert not names_several("odometry", [one])
    assert names_several("odometry", [one], workers=1)
    assert names_several("odometry", [one], ray="local")
    assert names_several("odometry", [one, one])
    assert names_several("odometry", [walks])
    assert not names_several("prepare", [walks], workers=4)  # its threads, as ever
    assert names_several("prepare", [walks], ray="local")
    assert names_several("prepare", ["@list.txt"])


# --- workers -------------------------------------------------------------------------------------


def test_a_killed_worker_costs_one_retry(tmp_path: Path) -> None:
    """kill -9 in the middle: that recording is tried again, the other is not touched."""
    jobs = [job(tmp_path, "good", write), job(tmp_path, "hit", write_at_second)]
    outcomes = {one.name: one for one in run_all(jobs, workers=2)}
    assert {name: (one.state, one.attempts) for name, one in outcomes.items()} == {
        "good": ("done", 1),
        "hit": ("done", 2),
    }
    assert outcomes["good"].notes == ("wrote abc",) and outcomes["good"].figures == {"frames": 3}
    for one in jobs:
        assert contents(one.out) == {"words.txt": b"abc", "recording.json": b"asked for abc"}
        assert one.is_done() and not replace(one, stamp="asked for more").is_done()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["good", "hit", "hit.killed"]


@pytest.mark.slow
def test_what_else_can_happen_to_a_worker(tmp_path: Path) -> None:
    """Killed after its last file: done. Killed each time: failed, with the signal."""
    jobs = [job(tmp_path, "late", die_after_writing), job(tmp_path, "never", always_die)]
    late, never = sorted(run_all(jobs, workers=2), key=lambda one: one.name)
    assert (late.state, late.attempts) == ("done", 1)
    assert (never.state, never.attempts) == ("failed", 2)
    assert never.error == "its process was killed by SIGKILL (out of memory?), 2 times"


def test_errors_stay_with_their_recording(tmp_path: Path) -> None:
    """A known error is its line; a bug is one line too, and keeps where it arose."""
    known, bug = attempt(job(tmp_path, "a", refuse)), attempt(job(tmp_path, "b", stumble))
    assert (known.state, known.error, known.traceback) == ("failed", "abc: no frames", "")
    assert (bug.state, bug.error) == ("failed", "ZeroDivisionError: abc")
    assert "in stumble" in bug.traceback
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    """kill -9 of the program ends its workers, which would write beside those of the next run."""
    code = (
        "import sys; from pathlib import Path; from recording_jobs import job, tell_and_sleep\n"
        "from depthkit.pipelines.recordings.crew import run_all\n"
        "if __name__ == '__main__':\n"
        "    list(run_all([job(Path(sys.argv[1]), 'long', tell_and_sleep)]))\n"
    )
    (tmp_path / "script.py").write_text(code)
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path)]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": paths}) as program:
        pid = tmp_path / "long.pid"
        wait_until(lambda: pid.exists() and pid.read_text() != "")
        program.kill()
    wait_until(lambda: not Path(f"/proc/{pid.read_text()}/cmdline").exists())


def wait_until(there: Callable[[], bool]) -> None:
    """Wait up to a minute."""
    for _ in range(600):
        if there():
            return
        time.sleep(0.1)
    raise AssertionError("waited for a minute")


# --- all of it -----------------------------------------------------------------------------------


def prepare_all(walks: Path, out: Path, **words: Any) -> Any:
    """Prepare the two walks as one data set."""
    sources = [walks / "house", walks / "garden"]
    return depthkit.recordings("prepare", sources, out, fov=65.0, fps=10.0, **words)


def test_a_stopped_run_goes_on(walks: Path, tmp_path: Path, in_this_process: list[str]) -> None:
    """What is there and asks the same is kept; other options are refused, or replace it."""
    out = tmp_path / "data"
    first = prepare_all(walks, out)
    assert [one.state for one in first.recordings] == ["done", "done"]
    assert depthkit.load_record(depthkit.RecordingsSummary, out / "recordings.json") == first
    before = contents(out, "recordings.json", "index.html")
    shutil.rmtree(out / "house")
    in_this_process.clear()
    again = prepare_all(walks, out)
    assert in_this_process == ["house"]
    assert [(one.name, one.state) for one in again.recordings] == [
        ("house", "done"),
        ("garden", "kept"),
    ]
    assert again.recordings[1].figures == {"frames": 4, "poses": 0, "depth": 0}
    assert contents(out, "recordings.json", "index.html") == before
    other = prepare_all(walks, out, every=2)
    assert other.failed == ("house", "garden")
    assert "exists already; use --force" in other.recordings[0].error
    assert contents(out, "recordings.json", "index.html") == before
    forced = prepare_all(walks, out, every=2, force=True)
    assert [one.figures["frames"] for one in forced.recordings] == [2, 2]


def test_overview_lists_links_and_reasons(
    walks: Path, tmp_path: Path, in_this_process: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """One that fails stops no other: it is named in the table, on the page, at the end; exit 1."""
    out, bad = tmp_path / "data", tmp_path / "bad <1>.mp4"
    bad.write_text("no video")
    words = ["prepare", str(bad), str(walks / "house"), str(walks / "garden"), *WORDS]
    assert main([*words, "--out", str(out), "--split", "val"]) == 1
    printed = capsys.readouterr()
    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[0] == ["recording", "state", "frames", "poses", "depth", "seconds"]
    assert [line[:2] for line in lines[2:4]] == [["house", "done"], ["garden", "done"]]
    assert "1 of 3 recordings failed: bad <1>; the same command" in printed.err
    page = (out / "index.html").read_text()
    assert "<a href='house/'>house</a>" in page and "bad &lt;1&gt;" in page and "<1>" not in page
    assert (out / "split.yaml").read_text() == "train: []\nval:\n- house\n- garden\ntest: []\n"
    assert main([*words, "--out", str(out), "--split", "val", "--json"]) == 1
    record = json.loads(capsys.readouterr().out)
    assert [one["state"] for one in record["recordings"]] == ["failed", "kept", "kept"]


def test_reports_are_linked(tmp_path: Path) -> None:
    """The page leads to a report where there is one, else to the folder."""
    (tmp_path / "a b" / "report").mkdir(parents=True)
    (tmp_path / "a b" / "report" / "index.html").touch()
    made = Outcome("a b", "x", "y", "done", {"frames": 3}, report="a b/report/index.html")
    bare = replace(made, name="c", report="c/report/index.html", figures={})
    write_page(RecordingsSummary("odometry", str(tmp_path), (made, bare)))
    page = (tmp_path / "index.html").read_text()
    assert "<a href='a%20b/report/index.html'>a b</a>" in page and "<a href='c/'>c</a>" in page


@pytest.mark.parametrize(
    ("verb", "words", "message"),
    [
        ("odometry", {"evry": 2}, "option: expected one of .*'evry'; did you mean 'every'"),
        ("odometry", {"write_poses": True}, "write_poses: is for one recording"),
        ("prepare", {"name": "x"}, "name: is for one recording"),
        ("infer", {}, "model: infer needs it"),
        ("infer", {"model": "m", "poses": "p.txt"}, "poses: p.txt is a file about one recording"),
        ("odometry", {"imu": "imu.csv"}, "imu: imu.csv is a file about one recording"),
        ("train", {}, "verb: expected one of prepare"),
    ],
)
def test_what_is_for_one_recording_is_refused(
    verb: Any, words: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Names and files of one recording, and words that the verb does not know, in one line."""
    with pytest.raises(ConfigError, match=message):
        depthkit.recordings(verb, [tmp_path], tmp_path / "out", **words)
    assert list(tmp_path.iterdir()) == []


def test_an_output_of_something_else_is_left_alone(walks: Path, tmp_path: Path) -> None:
    """Neither a single recording's output nor someone's page is written into."""
    for name in ("summary.json", "index.html"):
        out = tmp_path / name[:5]
        out.mkdir()
        (out / name).touch()
        with pytest.raises(DataError, match=f"holds {name} of something else"):
            prepare_all(walks, out)
        assert contents(out) == {name: b""}


# --- Ray -----------------------------------------------------------------------------------------


def test_without_ray_one_line_says_how_to_get_it(
    walks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The extra is named, nothing is left behind."""
    monkeypatch.setitem(sys.modules, "ray", None)
    words = ["prepare", str(walks), "--out", str(tmp_path / "out"), *WORDS, "--ray", "local"]
    assert main(words) == 1
    assert f"ray is not installed; run: {install_line('cluster')}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@needs_ray
@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_and_survives_kills(walks: Path, tmp_path: Path) -> None:
    """Real local clusters of two workers: recordings as by processes; kill -9 costs one retry."""
    by_one = prepare_all(walks, tmp_path / "one")
    by_two = prepare_all(walks, tmp_path / "two", workers=2)
    by_ray = prepare_all(walks, tmp_path / "ray", workers=2, ray="local")
    for found in (by_one, by_two, by_ray):
        assert [(one.name, one.state) for one in found.recordings] == [
            ("house", "done"),
            ("garden", "done"),
        ]
    # Times and the place of the output are in the overview alone.
    one, two, ray = (
        contents(tmp_path / name, "recordings.json", "index.html") for name in ("one", "two", "ray")
    )
    assert len(one) == 2 * (4 + 3) + 1 and one == two == ray
    works = {"good": write, "hit": write_at_second, "never": always_die, "no": refuse}
    jobs = [job(tmp_path, name, work) for name, work in works.items()]
    outcomes = {one.name: one for one in run_all(jobs, workers=2, ray="local")}
    assert {name: (one.state, one.attempts) for name, one in outcomes.items()} == {
        "good": ("done", 1),
        "hit": ("done", 2),
        "never": ("failed", 2),
        "no": ("failed", 1),
    }
    assert outcomes["never"].error == "its worker was killed (out of memory?), 2 times"
    assert contents(tmp_path / "hit") == contents(tmp_path / "good")


@needs_ray
@pytest.mark.parametrize(
    ("address", "why"), [("127.0.0.1:1", "refused"), ("somewhere", "expected HOST:PORT")]
)
def test_an_address_without_a_cluster_is_one_line(
    address: str, why: str, walks: Path, tmp_path: Path
) -> None:
    """Said at once, and nothing is started in its place."""
    with pytest.raises(EngineError, match=f"--ray {address}: no cluster: .*{why}"):
        prepare_all(walks, tmp_path / "out", ray=address)
    assert list(tmp_path.iterdir()) == []


@needs_ray
@pytest.mark.slow
def test_a_cluster_by_its_address_gives_the_same_odometry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two nodes of one core, found by their address, against two processes: the same paths."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    for name, seed in (("one", 3), ("two", 5)):
        write_box_sequence(tmp_path / "rooms" / name, 12, (96, 128), seed=seed)
    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        cluster.add_node(**small)
        for name, where in (("mine", ["--workers", "2"]), ("theirs", ["--ray", cluster.address])):
            words = ["odometry", str(tmp_path / "rooms"), "--out", str(tmp_path / name), *where]
            assert main(words) == 0
            assert capsys.readouterr().out.count("done") == 2
    finally:
        cluster.shutdown()
    # The place of the output, and times, which the summary, the report and the overview state.
    timed = ("summary.json", "recordings.json", "index.html")
    mine, theirs = (contents(tmp_path / name, *timed) for name in ("mine", "theirs"))
    assert mine == theirs and "two/trajectory_tum.txt" in mine
    for name in ("one", "two"):
        first, second = (
            json.loads((tmp_path / place / name / "summary.json").read_text())
            for place in ("mine", "theirs")
        )
        differs = {key for key in first if first[key] != second[key]}
        assert differs <= {"out", "seconds", "milliseconds"} and "out" in differs
