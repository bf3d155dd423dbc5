# SPDX-License-Identifier: Apache-2.0
"""`depthkit verify` where a backend fails: each has its row, and the JSON stays JSON."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from runtime.onnx_makers import write_mono

from depthkit.errors import EngineError
from depthkit.pipelines import verify
from depthkit.pipelines.records import plain
from depthkit.pipelines.verify import Check, Verification, check_one
from depthkit.runtime.network.parity import Parity


def no_such_word(word: str) -> None:
    """JSON has no word for infinity."""
    raise AssertionError(word)


def test_a_backend_that_answers_nan_is_null() -> None:
    """Its difference is infinite, and for machines null; what it says is still no."""
    parity = Parity(float("inf"), float("nan"), 1e-4, "somewhere", "fp32")
    manifest: Any = SimpleNamespace(sha256="0")
    checks = (Check("somewhere", parity.holds, parity),)
    found = Verification(Path("model.onnx"), manifest, checks, absent={})
    text = json.dumps(plain(found.as_json()))
    (check,) = json.loads(text, parse_constant=no_such_word)["checks"]
    assert check["worst"] is check["median"] is None and check["holds"] is False


def test_a_backend_that_stops_has_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One runtime that fails must not hide how the others do."""

    def fail(_: object) -> None:
        raise EngineError("onnxruntime-cpu failed: out of memory")

    write_mono(tmp_path / "mono.onnx")
    monkeypatch.setattr(verify, "check_parity", fail)
    row = check_one(tmp_path / "mono.onnx", "onnxruntime", "default", 1)
    assert not row.holds and row.error.endswith("out of memory")
