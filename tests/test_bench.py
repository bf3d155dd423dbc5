# SPDX-License-Identifier: Apache-2.0
"""`depthkit bench`: honest processes, every backend named, and nothing of torch on the way."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from runtime.onnx_makers import write_mono, write_pair, write_pose

from depthkit.cli import main
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError, EngineError
from depthkit.pipelines import bench as bench_measure
from depthkit.pipelines import bench_backends as bench
from depthkit.pipelines.bench import MIB, Task, measure, peak_resident, resident
from depthkit.synth.boxes import write_box_sequence

CHECKOUT = Path(__file__).resolve().parent.parent
Output = pytest.CaptureFixture[str]
WRITE = {"mono": write_mono, "pair": write_pair, "pose": write_pose}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames with poses and depth."""
    root = tmp_path_factory.mktemp("bench") / "room"
    write_box_sequence(root, 6, (48, 64), 0)
    return root


def task(file: Path, **changed: object) -> Task:
    """Describe a short measurement."""
    plain = {"backend": "onnxruntime", "precision": "default", "threads": 1, "size": (32, 48)}
    rest = {"batch": 2, "runs": 5, "warmup": 1}
    return Task(str(file), **plain | rest | changed)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", WRITE)
def test_every_kind_is_measured(tmp_path: Path, kind: str) -> None:
    """Latency in order, the network within the call, parity of the stored pair."""
    found = measure(task(WRITE[kind](tmp_path / "net.onnx", size=(32, 48))))
    assert 0 < found.network_ms <= found.median_ms <= found.p99_ms
    assert found.frames_per_second == pytest.approx(1e3 / found.median_ms)
    assert found.parity_measured <= found.parity_allowed == 1e-4
    assert (found.backend, found.precision, found.threads) == ("onnxruntime-cpu", "fp32", 1)
    assert found.abs_rel is None


def test_frames_are_random_and_go_round(tmp_path: Path) -> None:
    """A network may be faster on zeros: no frame is empty, and no two in a row are one."""
    from depthkit.runtime.network.backend import Backend, open_backend

    seen = []
    backend = open_backend(write_mono(tmp_path / "net.onnx", size=(32, 48)))
    run = backend.run

    class Watched(Backend):
        """Looks at what comes in."""

        def __init__(self) -> None:
            self.manifest = backend.manifest

        def run(self, inputs):
            seen.append(inputs["frame"].copy())
            return run(inputs)

    call = bench_measure.make_call(Watched(), task(tmp_path / "net.onnx"))
    for _ in range(3):
        call()
    assert all(frame.min() > 0 and frame.std() > 50 for frame in seen)
    assert not any(np.array_equal(a, b) for a, b in zip(seen, seen[1:], strict=False))


def test_depth_is_scored_beside_the_speed(tmp_path: Path, room: Path) -> None:
    """A pair network goes through the stream, a relative one of single frames by the median."""
    pair = write_pair(tmp_path / "pair.onnx", size=(48, 64), weights=(0, 0), bias=20, focal=51.2)
    found = measure(task(pair, size=(48, 64), sequences=(str(room),)))
    assert found.align == "none" and found.coverage == pytest.approx(5 / 6)
    mono = write_mono(tmp_path / "mono.onnx")
    found = measure(task(mono, sequences=(str(room),)))
    assert found.align == "median" and found.coverage == 1 and (found.abs_rel or 0) > 0
    depths = [open_sequence(room).read_depth(i) for i in range(6)]
    assert (found.abs_rel or 0) < 5 * np.concatenate(depths).std()


def test_memory_is_that_of_the_process_itself() -> None:
    """100 MB that the parent holds are none of the child's; what the child holds is counted."""
    held = np.ones(100 * MIB, np.uint8)
    code = (
        "from depthkit.pipelines.bench import *; import numpy as np\n"
        "a = resident(); x = np.ones(64 * MIB, np.uint8); print(a, peak_resident())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, peak = map(int, done.stdout.split())
    assert 60 * MIB < peak - before < 80 * MIB < resident() <= peak_resident()
    assert held.nbytes == 100 * MIB


def test_table_names_all_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output):
    """A row for each case of this machine, a reason for what is not here, threads and size said."""
    model = write_pair(tmp_path / "net.onnx")
    monkeypatch.setattr(bench, "measure_apart", lambda one: measure(one))
    assert main(["bench", str(model), "--runs", "3", "--threads", "1", "--size", "50x70"]) == 0
    text = capsys.readouterr().out
    assert "pair, 3 earlier frames at a time; random frames of 70x50" in text
    assert "3 calls after 10, 1 threads" in text and "onnxruntime-cpu fp32" in text
    assert "not measured: cuda" in text or "cuda" in text
    words = ["--json", "--backend", "onnxruntime", "--batch", "1", "--runs", "2"]
    assert main(["bench", str(model), *words]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["batch"], found["size"], len(found["rows"])) == (1, [48, 64], 1)
    assert found["left_out"] == {} and found["rows"][0]["memory_mb"] >= 0


def test_cases_follow_what_is_here() -> None:
    """All, one backend in all its precisions, one precision, and what is not installed."""
    here = [("onnxruntime", "default"), ("openvino", "default"), ("openvino", "bf16")]
    assert bench.choose_cases("all", None, here) == here
    assert bench.choose_cases("openvino", None, here) == here[1:]
    assert bench.choose_cases("openvino", "fp16", here) == [("openvino", "fp16")]
    assert bench.choose_cases("cuda", None, here) == [("cuda", "default")]


def test_bad_input_is_one_line(tmp_path: Path, room: Path, capsys: Output) -> None:
    """No model, a damaged one, a backend that is not here, a score of motion: exit 1."""
    model = write_mono(tmp_path / "net.onnx")
    pose = write_pose(tmp_path / "pose.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model.read_bytes()[:-1])
    cases = [
        ([tmp_path / "none"], "no such model"),
        ([damaged], "changed since its export"),
        ([pose, "--sequence", room], "this is a pose network"),
        ([model, "--sequence", tmp_path], "not a sequence folder"),
    ]
    for words, message in cases:
        assert main(["bench", *map(str, words)]) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert main(["bench", str(model), "--size", "big"]) == 2


def test_a_backend_that_cannot_is_an_error_of_its_own(tmp_path: Path) -> None:
    """The measuring process hands its known error back; one that dies is an error here."""
    model = write_mono(tmp_path / "net.onnx")
    found = bench.measure_apart(task(model, backend="tensorrt"))
    if isinstance(found, str):
        assert "onnxruntime-gpu" in found
    with pytest.raises(EngineError, match="the measuring process ended with 1"):
        bench.measure_apart(task(model, runs=0))


NO_TORCH = {
    "infer mono": ["infer", "MONO", "ROOM", "--out", "OUT"],
    "infer pair": [
        "infer",
        "PAIR",
        "ROOM",
        "--out",
        "OUT",
        "--pose",
        "POSE",
        "--trajectory",
        "tum",
    ],
    "evaluate model": ["evaluate", "model", "PAIR", "ROOM", "--json"],
    "evaluate stream": ["evaluate", "model", "PAIR", "ROOM", "--rule", "multi_range", "--json"],
    "bench": ["bench", "MONO", "--runs", "2", "--backend", "onnxruntime", "--sequence", "ROOM"],
}


@pytest.mark.parametrize("case", NO_TORCH)
def test_no_torch_on_the_way(tmp_path: Path, room: Path, case: str) -> None:
    """Verbs on exported files end without torch in the process, as on a robot that has none."""
    names = {"ROOM": str(room), "OUT": str(tmp_path / "out")}
    for name, write in WRITE.items():
        names[name.upper()] = str(write(tmp_path / f"{name}.onnx"))
    words = [names.get(word, word) for word in NO_TORCH[case]]
    code = (
        "import sys; sys.modules['torch'] = None\n"  # any import of it fails
        "from depthkit.cli import main\n"
        f"code = main({words!r})\n"
        "loaded = [m for m, v in sys.modules.items() if m.partition('.')[0] in "
        "('torch', 'torchvision', 'kornia') and v is not None]\n"
        "assert not loaded, loaded\n"
        "sys.exit(code)"
    )
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr


def test_metres_are_not_scored_against_depth_without(room: Path, tmp_path: Path) -> None:
    """A pair network says metres; a sequence whose depth has another unit is one line."""
    pair = write_pair(tmp_path / "pair.onnx", size=(48, 64), weights=(0, 0), bias=20, focal=51.2)
    other = tmp_path / "other"
    shutil.copytree(room, other)
    camera = other / "camera.yaml"
    text = camera.read_text().replace("depth_kind: metric", "depth_kind: up_to_scale")
    camera.write_text(text)
    with pytest.raises(DataError, match="up_to_scale, not metres"):
        measure(task(pair, size=(48, 64), sequences=(str(other),)))
