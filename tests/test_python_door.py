# SPDX-License-Identifier: Apache-2.0
"""What `import depthkit` offers: true, typed, documented, silent, and what the program says too."""

import dataclasses
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runtime.onnx_makers import write_flow, write_mono, write_pair, write_pose

import depthkit
from depthkit.cli import main
from depthkit.data.prepare import PrepareOptions
from depthkit.errors import DepthkitError
from depthkit.pipelines.infer.options import InferOptions
from depthkit.pipelines.localise.options import LocaliseOptions
from depthkit.pipelines.match import MatchOptions
from depthkit.pipelines.models import EngineOptions
from depthkit.pipelines.odometry.options import OdometryOptions
from depthkit.pipelines.reconstruct.options import ReconstructOptions
from depthkit.synth.boxes import write_box_sequence

Output = pytest.CaptureFixture[str]
JOBS: dict[str, Callable[..., Any]] = {
    "prepare": depthkit.prepare,
    "inspect": depthkit.inspect,
    "infer": depthkit.infer,
    "odometry": depthkit.odometry,
    "reconstruct": depthkit.reconstruct,
    "localise": depthkit.localise,
    "match": depthkit.match,
    "recordings": depthkit.recordings,
    "open_model": depthkit.open_model,
    "open_sequence": depthkit.open_sequence,
    "save_record": depthkit.save_record,
    "load_record": depthkit.load_record,
} | {f"evaluate.{kind}": getattr(depthkit.evaluate, kind) for kind in depthkit.evaluate.__all__}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of a room with depth and poses."""
    path = tmp_path_factory.mktemp("world") / "room"
    write_box_sequence(path, 6, (48, 64), seed=3)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair network that learnt nothing."""
    return write_pair(tmp_path_factory.mktemp("model") / "pair.onnx", size=(48, 64))


def test_public_list_is_true() -> None:
    """Every name that is offered is there, sorted, and found by tab completion."""
    assert depthkit.__all__ == sorted(depthkit.__all__)
    assert set(depthkit.__all__) <= set(dir(depthkit))
    assert all(getattr(depthkit, name) is not None for name in depthkit.__all__)
    wanted = {"prepare", "inspect", "infer", "odometry", "evaluate", "open_model", "open_sequence"}
    assert wanted <= set(depthkit.__all__)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        depthkit.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import depthkit", ("torch", "cv2", "numpy", "yaml", "rich")),
        ("import depthkit.pipelines, depthkit.pipelines.door", ("torch", "cv2", "numpy")),
        ("import depthkit; depthkit.infer, depthkit.open_model", ("torch", "cv2", "numpy")),
        ("import depthkit; depthkit.evaluate.depth, depthkit.InferSummary", ("torch", "cv2")),
        ("import depthkit.pipelines.infer.run, depthkit.pipelines.score.model", ("torch",)),
    ],
)
def test_import_is_light(code: str, absent: tuple[str, ...]) -> None:
    """A notebook pays for a library when it uses what needs it, not before."""
    code += f"; import sys; print(*[name for name in {absent} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")


@pytest.mark.parametrize("name", JOBS)
def test_signature_is_typed_and_documented(name: str) -> None:
    """Each argument has a type and its line under Args, and options are named in calls."""
    job = JOBS[name]
    signature, text = inspect.signature(job), inspect.getdoc(job) or ""
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty, parameter
        assert f"    {parameter.name}: " in text, f"{name}: {parameter.name} is not documented"
        if parameter.default is not inspect.Parameter.empty:
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY, parameter


@pytest.mark.parametrize(
    ("job", "record", "others"),
    [
        (
            depthkit.infer,
            InferOptions,
            {"engine": {field.name for field in dataclasses.fields(EngineOptions)}},
        ),
        (
            depthkit.prepare,
            PrepareOptions,
            {"start": {"frames"}, "stop": set(), "motion": {"camera_height", "speed"}},
        ),
        (
            depthkit.match,
            MatchOptions,
            {"engine": {field.name for field in dataclasses.fields(EngineOptions)}},
        ),
        (
            depthkit.localise,
            LocaliseOptions,
            {"engine": {field.name for field in dataclasses.fields(EngineOptions)}},
        ),
        (depthkit.odometry, OdometryOptions, {"scale": {"camera_height", "speed", "imu"}}),
        (depthkit.reconstruct, ReconstructOptions, {"scale": {"camera_height", "speed", "imu"}}),
    ],
)
def test_every_option_is_offered(
    job: Callable[..., Any], record: Any, others: dict[str, set[str]]
) -> None:
    """An option of a job that the function does not take could be set by the program alone."""
    fields = {one.name for one in dataclasses.fields(record)}
    wanted = (fields - others.keys()).union(*others.values())
    assert inspect.signature(job).parameters.keys() - {"watcher"} == wanted


def test_infer_is_silent_and_says_what_the_program_says(
    room: Path, pair: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nothing is printed; the record equals --json but for place and time, and summary.json."""
    done = depthkit.infer(pair, str(room), tmp_path / "mine", threads=1, shift=2, rule="fixed")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    words = ["--threads", "1", "--shift", "2", "--rule", "fixed", "--json"]
    assert main(["infer", str(pair), str(room), "--out", str(tmp_path / "its"), *words]) == 0
    theirs = json.loads(capfd.readouterr().out)
    mine = json.loads(json.dumps(dataclasses.asdict(done)))
    for record in (mine, theirs):
        del record["out"], record["seconds"]
    assert mine == theirs and mine["frames"] == 6
    assert depthkit.load_record(depthkit.InferSummary, tmp_path / "mine/summary.json") == done
    for name in ("depth/000004.png", "depth/depth.yaml", "decisions.jsonl"):
        assert (tmp_path / "mine" / name).read_bytes() == (tmp_path / "its" / name).read_bytes()


def test_evaluate_says_what_the_program_says(
    room: Path, pair: Path, tmp_path: Path, capsys: Output
) -> None:
    """Depth, odometry and model: the same JSON object from both doors."""
    depthkit.infer(pair, room, tmp_path / "out", threads=1)
    poses = room / "poses.txt"
    cases: list[tuple[Any, list[Any]]] = [
        (
            depthkit.evaluate.depth(tmp_path / "out", room, align="median", max_depth=20),
            ["depth", "--pred", tmp_path / "out", "--gt", room]
            + ["--align", "median", "--max-depth", "20"],
        ),
        (
            depthkit.evaluate.odometry(poses, str(poses), align="7dof"),
            ["odometry", "--estimate", poses, "--reference", poses, "--align", "7dof"],
        ),
        (
            depthkit.evaluate.model(pair, room, shifts=[-2], every=2, threads=1),
            ["model", pair, room, "--shift", "-2", "--every", "2", "--threads", "1"],
        ),
    ]
    capsys.readouterr()
    for found, words in cases:
        assert main(["evaluate", *map(str, words), "--json"]) == 0
        mine = json.loads(json.dumps(depthkit.pipelines.records.plain(found.as_json())))
        assert json.loads(capsys.readouterr().out) == mine


def test_inspect_says_what_the_program_says(room: Path, capsys: Output) -> None:
    """The same findings, but for how fast they came."""
    found = depthkit.inspect(room, max_frames=4)
    assert main(["inspect", str(room), "--max-frames", "4", "--json"]) == 0
    theirs, mine = json.loads(capsys.readouterr().out), found.as_json()
    del theirs["frames_per_second"], mine["frames_per_second"]
    assert json.loads(json.dumps(mine)) == theirs
    assert list(found.sequences) == ["room"] and found.sequences["room"].checked == 4


def test_inspect_goes_on_after_a_damaged_sequence(room: Path, tmp_path: Path) -> None:
    """What fails is named in the record beside the findings of the others."""
    data = tmp_path / "data"
    write_box_sequence(data / "good", 4, (48, 64), seed=1)
    write_box_sequence(data / "bad", 4, (48, 64), seed=2)
    (data / "bad" / "times.txt").write_text("0 later\n")
    (data / "split.yaml").write_text("train: [good, bad]\n")
    found = depthkit.inspect(data)
    assert list(found.sequences) == ["good"] and list(found.errors) == ["bad"]
    assert "times.txt" in found.errors["bad"]


def test_prepare_tells_the_watcher(room: Path, tmp_path: Path, capfd: Output) -> None:
    """Progress and notes go to the callbacks and nowhere else."""
    begun: list[tuple[str, int]] = []
    steps: list[int] = []
    watcher = depthkit.Watcher(begin=lambda *stage: begun.append(stage), advance=steps.append)
    made = depthkit.prepare(
        room / "frames",
        tmp_path / "data",
        fov=65,
        fps=5,
        frames=(1, 5),
        name="mine",
        watcher=watcher,
    )
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert begun == [("mine", 4)] and sum(steps) == 4
    (one,) = made.sequences
    assert (one.name, one.frames, one.size) == ("mine", 4, (48, 64))
    sequence = depthkit.open_sequence(one.path)
    # Half the width over the tangent of half the angle.
    assert sequence.camera.K[0, 0] == pytest.approx(32 / np.tan(np.radians(65 / 2)))
    np.testing.assert_allclose(sequence.times, [0.2, 0.4, 0.6, 0.8])


def test_infer_tells_the_watcher(room: Path, tmp_path: Path) -> None:
    """Each frame is a step; that times and the focal length are assumed is a note each."""
    blind, notes, steps = tmp_path / "frames", list[str](), list[int]()
    blind.mkdir()
    for frame in sorted((room / "frames").iterdir()):
        (blind / frame.name).write_bytes(frame.read_bytes())
    model = write_mono(tmp_path / "mono.onnx", size=(48, 64), scale="metric", focal=40.0)
    watcher = depthkit.Watcher(advance=steps.append, note=notes.append)
    depthkit.infer(model, blind, tmp_path / "out", threads=1, watcher=watcher)
    assert sum(steps) == 6
    assert [note.split(":")[0] for note in notes] == ["no times in the source", "no calibration"]


def test_models_open_by_their_kind(tmp_path: Path) -> None:
    """Depth, flow and motion each get their engine; it closes at the end of the block."""
    makers = {
        "DepthEngine": (write_mono, write_pair),
        "FlowEngine": (write_flow,),
        "OdometryEngine": (write_pose,),
    }
    for engine, writers in makers.items():
        for number, write in enumerate(writers):
            file = write(tmp_path / f"{engine}{number}.onnx")
            with depthkit.open_model(str(file), threads=2) as opened:
                assert type(opened).__name__ == engine and opened.threads == 2
    with pytest.raises(depthkit.DepthkitError, match="no such model"):
        depthkit.open_model("no-such-net")
    with pytest.raises(depthkit.DepthkitError, match="pose"):
        depthkit.open_model(tmp_path / "FlowEngine0.onnx", part="pose")


def test_errors_are_of_one_family(room: Path, pair: Path, tmp_path: Path) -> None:
    """Each job refuses in one line; nothing is left behind."""
    calls: list[Callable[[], Any]] = [
        lambda: depthkit.prepare(tmp_path / "none", tmp_path / "data"),
        lambda: depthkit.inspect(tmp_path / "none"),
        lambda: depthkit.infer(tmp_path / "none.onnx", room, tmp_path / "out"),
        lambda: depthkit.infer(pair, tmp_path / "none", tmp_path / "out"),
        lambda: depthkit.evaluate.depth(tmp_path / "none", room),
        lambda: depthkit.evaluate.odometry(tmp_path / "none", room / "poses.txt"),
        lambda: depthkit.evaluate.flow(tmp_path / "none", room),
        lambda: depthkit.evaluate.model(pair, tmp_path / "none"),
        lambda: depthkit.open_sequence(tmp_path / "none"),
    ]
    for call in calls:
        with pytest.raises(depthkit.DepthkitError) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "infer rule": ("rule: expected one of .*'nearst'; did you mean 'nearest'", {"rule": "nearst"}),
    "infer shift": ("shift: 1 or more, got 0", {"shift": 0}),
    "infer every": ("every: 1 or more, got -1", {"every": -1}),
    "infer speed": ("speed: above 0, got nan", {"speed": float("nan")}),
    "infer trajectory": ("trajectory: expected one of tum, kitti", {"trajectory": "csv"}),
    "infer bits": ("bits: expected one of 10, 12, 16, got 7", {"bits": 7}),
    "infer threads": ("threads: 1 or more, got 0", {"threads": 0}),
    "infer backend": ("unknown backend 'onnx'", {"backend": "onnx"}),
    "prepare format": ("format: expected one of auto", {"format": "tumm"}),
    "prepare every": ("every: 1 or more, got 0", {"every": 0}),
    "prepare fov": ("fov: degrees below 170, got 190", {"fov": 190}),
    "prepare no fov": ("fov: above 0, got 0", {"fov": 0}),
    "prepare levels": ("levels: expected two rising numbers", {"levels": (5.0, 5.0)}),
    "prepare crop": ("crop: expected one of mask, auto, none", {"crop": "masks"}),
    "prepare ext": ("ext: expected one of jpg, png, got 'bmp'", {"ext": "bmp"}),
    "prepare time_unit": ("time_unit: expected one of", {"time_unit": "h"}),
    "prepare workers": ("workers: 1 or more, got 0", {"workers": 0}),
    "inspect max_frames": ("max_frames: 2 or more, got 1", {"max_frames": 1}),
    "model rule": ("rule: expected one of", {"rule": "x"}),
    "model every": ("every: 1 or more, got 0", {"every": 0}),
    "model baselines": ("baselines: above 0, got -1", {"baselines": [-1]}),
    "model two ways": ("give one of the two", {"baselines": [1.0], "shifts": [1]}),
    "open part": ("part: expected one of depth, pose, flow", {"part": "depht"}),
    "odometry repeats": ("repeats: expected one of error, first", {"repeats": "last"}),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused(case: str, room: Path, pair: Path, tmp_path: Path) -> None:
    """What argparse refuses on the command line is one line here, and nothing is written."""
    message, options = WRONG[case]
    calls: dict[str, Callable[..., Any]] = {
        "infer": lambda **words: depthkit.infer(pair, room, tmp_path / "out", **words),
        "prepare": lambda **words: depthkit.prepare(room / "frames", tmp_path / "data", **words),
        "inspect": lambda **words: depthkit.inspect(room, **words),
        "model": lambda **words: depthkit.evaluate.model(pair, room, **words),
        "open": lambda **words: depthkit.open_model(pair, **words),
        "odometry": lambda **words: depthkit.evaluate.odometry(
            room / "poses.txt", room / "poses.txt", **words
        ),
    }
    with pytest.raises(depthkit.DepthkitError, match=message):
        calls[case.split()[0]](**options)
    assert list(tmp_path.iterdir()) == []


def test_a_size_as_the_command_line_spells_it_is_one_line(tmp_path: Path) -> None:
    """Python takes (H, W); a word, one number or a fraction is a known error that says so."""
    for size in ("128x224", (128,), (128.5, 224), (0, 10)):
        with pytest.raises(DepthkitError, match=r"size: expected \(height, width\)"):
            depthkit.prepare(tmp_path, tmp_path / "out", size=size)  # type: ignore[arg-type]
