# SPDX-License-Identifier: Apache-2.0
"""Backends: real ONNX Runtime and OpenVINO on small graphs whose answers are known."""

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from onnx_makers import write_mono, write_pair

from depthkit.errors import EngineError, ShapeError
from depthkit.installation import install_line
from depthkit.runtime.network import backend_onnxruntime, backend_openvino
from depthkit.runtime.network.backend import (
    available_backends,
    check_parity,
    open_backend,
    open_checked,
    runnable,
)
from depthkit.runtime.network.manifest import Check, read_model, write_model
from depthkit.runtime.network.parity import (
    Parity,
    compare,
    decode_floats,
    encode_floats,
    encode_flow,
    encode_image,
    on_grid,
    relative_differences,
    stored_inputs,
    summarize,
)

BACKENDS = ("onnxruntime", "openvino")


@pytest.fixture
def mono(tmp_path):
    """depth = 1 / (0.1 + brightness / 255)."""
    return write_mono(tmp_path / "mono.onnx")


def frame(level: int) -> dict[str, np.ndarray]:
    """One grey frame."""
    return {"frame": np.full((1, 32, 48, 3), level, np.uint8)}


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_runtimes_give_the_number(mono, backend):
    """A frame of 51 is 51/255 = 0.2 bright, so depth is 1 / 0.3; a batch is answered row by row."""
    engine = open_backend(mono, backend=backend)
    assert (engine.name, engine.precision) == (f"{backend}-cpu", "fp32")
    assert engine.run(frame(51))["depth"] == pytest.approx(1 / 0.3, rel=1e-6)
    both = np.concatenate([frame(0)["frame"], frame(51)["frame"]])
    depth = engine.run({"frame": both})["depth"]
    assert depth.dtype == np.float32 and depth.shape == (2, 32, 48)
    assert depth[:, 0, 0] == pytest.approx([10, 1 / 0.3], rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_outputs_belong_to_the_caller(mono, backend):
    """A later call does not change what an earlier one returned."""
    engine = open_backend(mono, backend=backend)
    first = engine.run(frame(51))["depth"]
    engine.run(frame(0))
    assert first == pytest.approx(1 / 0.3, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_share_an_engine(mono, backend):
    """Eight threads, each with its own brightness, get their own answers."""
    engine, wrong = open_backend(mono, backend=backend), []

    def work(level: int) -> None:
        for _ in range(20):
            depth = engine.run(frame(level))["depth"]
            if not np.allclose(depth, 1 / (0.1 + level / 255), rtol=1e-5):
                wrong.append(level)

    threads = [threading.Thread(target=work, args=(20 * i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_closed_is_closed(mono):
    """close() twice is no error, run() after it is."""
    engine = open_backend(mono)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run(frame(0))


def test_a_runtime_that_fails_is_a_known_error(mono):
    """Runtimes raise their own, without a common base: a robot catches one kind, and goes on."""
    engine = open_backend(mono)
    compute, fail = engine._compute, Exception("out of memory\nat line 7")

    def broken(inputs):
        raise fail

    engine._compute = broken
    with pytest.raises(EngineError, match="^onnxruntime-cpu failed: out of memory$") as caught:
        engine.run(frame(0))
    assert caught.value.__cause__ is fail
    engine._compute = compute
    assert engine.run(frame(0))


def test_close_does_not_wait_for_ever(monkeypatch, mono):
    """A driver that hangs keeps no node from its end."""
    monkeypatch.setattr("depthkit.runtime.network.backend.CLOSING", 0.1)
    engine, hangs, go = open_backend(mono), threading.Event(), threading.Event()

    def compute(inputs):
        hangs.set()
        go.wait(20.0)
        return {}

    engine._compute = compute
    worker = threading.Thread(target=engine.run, args=(frame(0),))
    worker.start()
    assert hangs.wait(5.0)
    closer = threading.Thread(target=engine.close, daemon=True)
    closer.start()
    closer.join(5.0)
    assert not closer.is_alive() and worker.is_alive()
    go.set()
    worker.join(5.0)


def test_close_waits_for_the_running_call(mono):
    """What runs is not pulled away."""
    engine, order, inside, go = open_backend(mono), [], threading.Event(), threading.Event()
    compute = engine._compute

    def slow(inputs):
        inside.set()
        go.wait(5)
        order.append("ran")
        return compute(inputs)

    engine._compute = slow
    runner = threading.Thread(target=engine.run, args=(frame(0),))
    runner.start()
    inside.wait(5)
    closer = threading.Thread(target=lambda: (engine.close(), order.append("closed")))
    closer.start()
    go.set()
    runner.join()
    closer.join()
    assert order == ["ran", "closed"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"image": np.zeros((1, 32, 48, 3), np.uint8)}, "takes frame; got image"),
        ({"frame": np.zeros((1, 32, 48, 3), np.float32)}, "must be uint8"),
        ({"frame": np.zeros((1, 16, 48, 3), np.uint8)}, r"\(32, 48\) \(H, W\) alone"),
        ({"frame": np.zeros((1, 3, 32, 48), np.uint8)}, "frame must be uint8"),
    ],
)
def test_wrong_inputs_are_the_callers_bug(mono, inputs, words):
    """Names, types and sizes are checked before the runtime sees them."""
    with pytest.raises(ShapeError, match=words):
        open_backend(mono).run(inputs)


def test_pair_takes_any_size(tmp_path):
    """A pair network runs at sizes other than its own."""
    engine = open_backend(write_pair(tmp_path / "pair.onnx"))
    frames = np.full((1, 50, 70, 3), 100, np.uint8)
    assert engine.run({"previous": frames, "current": frames})["depth"].shape == (1, 50, 70)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"backend": "torch"}, "unknown backend 'torch'"),
        ({"precision": "int4"}, "unknown precision 'int4'"),
        ({"threads": 0}, "threads: 1 or more"),
        ({"backend": "onnxruntime", "precision": "bf16"}, "file's own precision"),
        ({"backend": "openvino", "precision": "fp16"}, "no fp16 on this processor"),
        ({"backend": "tensorrt"}, "onnxruntime-gpu"),
    ],
)
def test_what_cannot_be_had_is_one_line(mono, options, words):
    """No silent fall-back to another device or precision."""
    if words[:7] == "no fp16" and "fp16" in backend_openvino.precisions():
        pytest.skip("this processor multiplies fp16")
    if options == {"backend": "tensorrt"} and ("tensorrt", "default") in runnable():
        pytest.skip("TensorRT is here")
    with pytest.raises(EngineError, match=words) as caught:
        open_backend(mono, **options)
    assert "\n" not in str(caught.value)


def test_openvino_computes_in_32_bits_unless_asked(mono):
    """Its own default on processors with bf16 is bf16: the difference would be within per cents."""
    engine = open_backend(mono, backend="openvino")
    assert check_parity(engine).worst < 1e-5 and engine.precision == "fp32"
    if "bf16" in backend_openvino.precisions():
        coarse = check_parity(open_backend(mono, backend="openvino", precision="bf16"))
        assert (coarse.precision, coarse.statistic, coarse.tolerance) == ("bf16", "median", 2e-2)
        assert coarse.holds


def test_missing_packages_name_their_extra(mono, monkeypatch):
    """Without a package its backend is a reason that says how to install it."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "openvino", None)
    found = available_backends()
    assert install_line("runtime") in found["onnxruntime"]
    assert install_line("openvino") in found["openvino"]
    assert runnable() == []
    for backend in ("auto", "openvino"):
        with pytest.raises(EngineError, match="is not installed; run: pip install"):
            open_backend(mono, backend=backend)


def test_available_backends_say_version_or_reason():
    """Here: ONNX Runtime and OpenVINO with versions, and whatever GPU there is or not."""
    found = available_backends()
    assert set(found) == {"onnxruntime", "cuda", "tensorrt", "openvino"}
    assert found["onnxruntime"][0].isdigit() and found["openvino"][0].isdigit()
    assert ("onnxruntime", "default") in runnable()


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_provider_that_does_not_start_is_an_error(mono, monkeypatch):
    """ONNX Runtime falls back to the processor without a word: that is not taken for CUDA."""
    runtime = backend_onnxruntime._import()
    monkeypatch.setattr(
        runtime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    with pytest.raises(EngineError, match="cannot start it|cannot load"):
        open_backend(mono, backend="cuda")


# --- parity --------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_perturbed_engine_is_refused(mono, backend):
    """Weights changed and the hash made anew: only the stored output knows, and it tells."""
    file = read_model(mono)
    changed = file.model.replace(np.float32(0.1).tobytes(), np.float32(0.1001).tobytes())
    assert changed != file.model
    write_model(mono, file.manifest, changed)
    with pytest.raises(EngineError, match=r"relative difference .* allowed 0.0001; refused"):
        open_checked(mono, backend=backend)


def test_whole_engine_is_taken(mono):
    """The same file as it was written opens."""
    engine = open_checked(mono)
    assert check_parity(engine).holds and engine.manifest.kind == "mono"


def test_differences_by_hand():
    """Depths 1, 2, 4 against 1, 2, 5: relative 0, 0, 0.2; the grid takes step // 2 on."""
    stored = np.array([[1.0, 2.0, 5.0]])
    check = Check({}, 1, {"depth": encode_floats(stored)})
    now = {"depth": np.array([[[1.0, 2.0, 4.0]]])}
    assert relative_differences(check, now)["depth"] == pytest.approx([0, 0, 0.2])
    assert on_grid(np.arange(12.0).reshape(2, 6), 2).tolist() == [[7, 9, 11]]


def test_motions_are_judged_by_their_vectors():
    """A rotation component of 0 may differ by a share of the rotation's length, not of itself."""
    check = Check({}, 1, {"motion": encode_floats(np.array([0.3, 0, 0.4, 1, 0, 0]))})
    now = np.array([[0.3, 0.005, 0.4, 1.0, 0.0, 0.02]])
    found = relative_differences(check, {"motion": now})["motion"]
    assert found == pytest.approx([0.01, 0.02], rel=1e-6)


def test_small_log_odds_are_judged_as_one():
    """Odds of nearly one to one may not hold to a share of themselves; large ones must."""
    check = Check({}, 1, {"static_odds": encode_floats(np.array([[1e-6, -4.0]]))})
    now = {"static_odds": np.array([[[1e-3, -4.4]]])}
    found = relative_differences(check, now)["static_odds"]
    assert found == pytest.approx([1e-3, 0.1], rel=1e-2)


def test_each_output_must_hold_by_its_own_median(mono):
    """Flow that is right does not hide log odds that are wrong but at one pixel; NaN never does."""
    stored = {"flow": np.full((2, 3, 3), 2.0), "static_odds": np.full((3, 3), 2.0)}
    check = Check({}, 1, {name: encode_floats(each) for name, each in stored.items()})
    manifest = replace(read_model(mono).manifest, check=check, precision="fp16", tolerance=2e-2)
    now = {name: each[None].copy() for name, each in stored.items()}
    assert compare(manifest, now, "x", "fp16").holds
    now["static_odds"].flat[1:] = 3.0
    found = compare(manifest, now, "x", "fp16")
    assert (found.worst, found.median) == (0.5, 0.5) and not found.holds
    assert all(np.isnan(summarize({"a": np.ones(2), "b": np.array([np.nan, 1])})))


def test_nan_never_holds():
    """What is not finite differs by infinity, and NaN compares as failed."""
    check = Check({}, 1, {"depth": encode_floats(np.ones((2, 2)))})
    nan = {"depth": np.full((1, 2, 2), np.nan)}
    assert np.isinf(relative_differences(check, nan)["depth"]).all()
    assert not Parity(np.nan, np.nan, 1e-4, "x", "fp32").holds


def test_sixteen_bit_files_are_held_to_their_median(mono):
    """For fp32 the worst counts, for coarser files or engines the median; both have their bound."""
    manifest = read_model(mono).manifest
    good = {"depth": open_backend(mono).run(stored_inputs(manifest.check))["depth"]}
    off = {"depth": good["depth"].copy()}
    off["depth"][0, :8] *= 1.5  # the upper quarter
    assert not compare(manifest, off, "x", "fp32").holds
    coarse = replace(manifest, precision="fp16", tolerance=2e-2)
    assert compare(coarse, off, "x", "fp16").holds and compare(coarse, off, "x", "fp32").holds
    off["depth"] *= 1.03
    assert not compare(coarse, off, "x", "fp16").holds


def test_missing_and_misshaped_outputs_are_named():
    """Another graph's output is a line, not a crash."""
    check = Check({}, 1, {"depth": encode_floats(np.ones((2, 2)))})
    with pytest.raises(EngineError, match="returns disparity, and 'depth' is stored"):
        relative_differences(check, {"disparity": np.ones((1, 2, 2))})
    with pytest.raises(EngineError, match="4 values stored, the model gives 6"):
        relative_differences(check, {"depth": np.ones((1, 2, 3))})


def test_stored_pictures_come_back():
    """Images bit by bit, flow to 1/64 pixel, floats as they are."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (8, 6, 3), dtype=np.uint8)
    flow = np.round(rng.normal(0, 20, (2, 8, 6)) * 64).astype(np.float32) / 64
    check = Check({"earlier": encode_image(rgb), "flow": encode_flow(flow)}, 1, {})
    back = stored_inputs(check)
    assert np.array_equal(back["earlier"], rgb[None]) and back["earlier"].flags.c_contiguous
    assert np.array_equal(back["flow"], flow[None]) and back["flow"].dtype == np.float32
    assert decode_floats(encode_floats(np.array([0.1]))) == np.float32(0.1)


def test_runtime_reads_and_runs_without_torch_and_onnx(mono):
    """A robot has neither: a fresh process verifies the file with them missing."""
    code = (
        "import sys; sys.modules['torch'] = sys.modules['onnx'] = None\n"
        "from depthkit.runtime.network.backend import open_checked\n"
        f"print(open_checked({str(mono)!r}).name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "onnxruntime-cpu\n", done.stderr
