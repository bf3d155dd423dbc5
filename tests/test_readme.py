# SPDX-License-Identifier: Apache-2.0
"""The README's way from one's own video to a score, and its Python, run as they are printed."""

import re
import shlex
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from depthkit.cli import main
from depthkit.data.sequence import open_sequence
from depthkit.synth.boxes import write_box_sequence

README = Path(__file__).resolve().parent.parent / "README.md"
SIZE, FRAMES = (128, 224), 30
FAST = (
    "optimizer.steps=4 optimizer.warmup_steps=0 optimizer.batch_size=2 data.workers=0 run.threads=1"
)


def section(title: str) -> str:
    """Return the text of a section."""
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", text, re.M | re.S)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README takes for granted: two videos, a calibration, poses."""
    folder = tmp_path_factory.mktemp("desk")
    for name, seed in (("walk", 3), ("other", 4)):
        write_box_sequence(folder / "truth" / name, FRAMES, SIZE, seed)
        truth = open_sequence(folder / "truth" / name)
        film = cv2.VideoWriter(
            str(folder / f"{name}.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, SIZE[::-1]
        )
        for i in range(FRAMES):
            film.write(np.ascontiguousarray(truth.read_frame(i)[..., ::-1]))
        film.release()
    camera = truth.camera
    keys = ("width", "height", "fx", "fy", "cx", "cy")
    (folder / "camera.yaml").write_text(yaml.safe_dump({k: getattr(camera, k) for k in keys}))
    rows = (folder / "truth/other/poses.txt").read_text().splitlines()
    poses = [row.split() for row in rows if not row.startswith("#")]
    lines = (" ".join([f"{i / 10:.6f}", *row[1:]]) for i, row in enumerate(poses))
    (folder / "poses.txt").write_text("\n".join(lines) + "\n")
    return folder


def test_from_video_to_a_score(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the section runs as printed; only the training is cut to four steps."""
    monkeypatch.chdir(desk)
    (block,) = re.findall(
        r"^```\n(.*?)^```", section("From your own video to a score"), re.M | re.S
    )
    commands = [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]
    assert len(commands) == 6
    for command in commands:
        program, *words = shlex.split(command)
        words += FAST.split() if words[0] == "train" else []
        assert program == "depthkit" and main(words) == 0, command
    for name in ("runs/mine/config.yaml", "out/other/summary.json", "out/report/report.html"):
        assert (desk / name).is_file()


def test_from_python(desk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The snippet runs as printed."""
    for name in ("walk.mp4", "camera.yaml"):
        (tmp_path / name).write_bytes((desk / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```", section("From Python"), re.M | re.S)
    exec(compile(code, "README.md", "exec"), {})
    assert (tmp_path / "done.json").is_file() and (tmp_path / "out/mine/summary.json").is_file()
