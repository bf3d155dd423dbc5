# SPDX-License-Identifier: Apache-2.0
"""Black borders: found where optics or a film leave them, nowhere else; cut and masked."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthkit.camera import Camera, SourceCamera
from depthkit.cli import main
from depthkit.data.black_border import find_border
from depthkit.data.cropping import crop_stream
from depthkit.data.prepare import PrepareOptions, prepare
from depthkit.data.sequence import open_sequence
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.undistort import build_geometry, with_mask

H, W = 120, 160
V, U = np.mgrid[:H, :W]
DISTANCE = np.hypot(U - 80, V - 60)


def texture(low: int = 40, high: int = 220, seed: int = 0) -> np.ndarray:
    """Soft blobs."""
    small = np.random.default_rng(seed).uniform(low, high, (H // 8, W // 8, 3))
    big = cv2.resize(small, (W, H), interpolation=cv2.INTER_CUBIC)
    return np.clip(big, 0, 255).astype(np.uint8)


def view(inside: np.ndarray, *, seed: int = 0, high: int = 220, noise: int = 4) -> np.ndarray:
    """A textured picture where a mask says so, noisy black elsewhere."""
    black = np.random.default_rng(seed).integers(0, noise, (H, W, 3)).astype(np.uint8)
    return np.where(inside[..., None], texture(seed=seed, high=high), black)


def bars(top: int, bottom: int, left: int = 0, right: int = 0) -> np.ndarray:
    """Where a picture lies between bars."""
    rows, columns = (top <= V, H - bottom > V), (left <= U, W - right > U)
    return np.logical_and.reduce([*rows, *columns])


# --- finding --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "kind"),
    [
        (DISTANCE < 50, "round view"),
        (DISTANCE < 70, "round view"),  # cut at top and bottom
        (DISTANCE < 85, "round view"),  # only the corners are dark
        ((np.abs(U - 80) + np.abs(V - 60) < 80) & bars(5, 5, 30, 30), "round view"),  # cut corners
        (bars(15, 15), "black bars"),
        (bars(0, 0, 20, 20), "black bars"),
        (bars(12, 14, 20, 22), "black bars"),
    ],
)
def test_border_is_found_with_its_shape(inside: np.ndarray, kind: str) -> None:
    """All but a rim of two pixels of the picture, and nothing of the border."""
    border = find_border([view(inside, seed=i) for i in range(3)])
    assert border is not None and border.kind == kind
    assert (border.mask & ~inside).mean() < 0.0005
    core = cv2.erode(inside.astype(np.uint8), np.ones((7, 7), np.uint8), borderValue=1) > 0
    assert (core & ~border.mask).mean() < 0.001
    assert abs(border.share - inside.mean()) < 0.05


def test_letters_in_the_border_and_dark_tissue_are_no_matter() -> None:
    """A date at the corner stays outside, a dark lumen in the middle stays inside."""
    frame = view((DISTANCE < 50) & (DISTANCE > 15))
    cv2.putText(frame, "2024", (2, 14), cv2.FONT_HERSHEY_PLAIN, 0.8, (255, 255, 255))
    border = find_border([frame])
    assert border is not None and border.mask[60, 80] and not border.mask[:20, :25].any()


def test_compressed_soft_edges_are_found() -> None:
    """A blurred rim after JPEG."""
    soft = cv2.GaussianBlur(view(DISTANCE < 50), (0, 0), 1.5)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", soft)[1], cv2.IMREAD_COLOR)
    border = find_border([jpeg])
    assert border is not None and abs(border.share - np.pi * 50**2 / (H * W)) < 0.05


def night() -> np.ndarray:
    """A dark sky with noise, and lamps."""
    frame = np.clip(np.random.default_rng(3).normal(6, 4, (H, W, 3)), 0, 255).astype(np.uint8)
    for x, y in ((20, 70), (60, 66), (110, 72)):
        cv2.circle(frame, (x, y), 3, (250, 240, 200), -1)
    return frame


@pytest.mark.parametrize(
    "frame",
    [
        texture(),
        texture(0, 20),  # dark all over, and valid
        np.zeros((H, W, 3), np.uint8),
        night(),
        np.where(bars(60, 0)[..., None], texture() // 3, night()).astype(np.uint8),  # lit ground
        view(bars(40, 0)),  # one bar alone: a sky as well
        np.repeat(np.clip(255 - 3 * DISTANCE, 0, 255)[..., None], 3, 2).astype(np.uint8),  # a glow
        np.repeat((255 * np.exp(-((DISTANCE / 30) ** 2)))[..., None], 3, 2).astype(np.uint8),
        (texture() * np.clip(1.2 - (DISTANCE / 90) ** 2, 0, 1)[..., None]).astype(np.uint8),
    ],
)
def test_what_is_no_border_loses_no_pixel(frame: np.ndarray) -> None:
    """Nights, lamps, vignettes, dark pictures."""
    assert find_border([frame, frame]) is None


def test_no_frame_is_no_border() -> None:
    """Nothing to look at."""
    assert find_border([]) is None


# --- cutting --------------------------------------------------------------------------------------


@pytest.fixture
def scope(tmp_path: Path) -> Path:
    """Three frames of a round view."""
    folder = tmp_path / "scope"
    folder.mkdir()
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), view(DISTANCE < 50, seed=i))
    return folder


def stored(scope: Path, out: Path, **options: object) -> tuple[object, list[str]]:
    """Prepare the frames and open what came of them."""
    wanted = PrepareOptions(scope, out, fov=90, fps=30.0, ext="png", **options)  # type: ignore[arg-type]
    (result,) = prepare(wanted)
    return open_sequence(result.path), list(result.assumed)


def test_prepare_marks_the_view_and_keeps_the_frames(scope: Path, tmp_path: Path) -> None:
    """valid.png holds the view; the pixels are those of the source."""
    sequence, said = stored(scope, tmp_path / "out")
    valid = sequence.read_valid()
    assert valid is not None and abs(valid.mean() - np.pi * 50**2 / (H * W)) < 0.03
    np.testing.assert_array_equal(sequence.read_frame(0)[..., ::-1], view(DISTANCE < 50))
    assert "round view found: the picture is" in said[0]
    assert "round view found" in (sequence.root / "camera.yaml").read_text()


def test_prepare_cuts_to_the_view_and_moves_K(scope: Path, tmp_path: Path) -> None:
    """The view is 101 pixels across, less its rim; the middle of the frame stays its middle."""
    sequence, _ = stored(scope, tmp_path / "out", crop="auto")
    camera = sequence.camera
    assert abs(camera.width - 99) <= 4 and abs(camera.height - 99) <= 4
    # The principal point of 160x120 is (79.5, 59.5); fov 90 degrees is 80 px.
    assert camera.fx == pytest.approx(80)
    assert abs(camera.cx - camera.width / 2) < 2 and abs(camera.cy - camera.height / 2) < 2
    assert sequence.read_valid() is not None


def test_prepare_cuts_the_window_that_was_asked_for(scope: Path, tmp_path: Path) -> None:
    """Pixels and principal point by hand; no border is looked for."""
    sequence, said = stored(scope, tmp_path / "out", crop=(20, 40, 64, 80))
    np.testing.assert_array_equal(
        sequence.read_frame(1)[..., ::-1], view(DISTANCE < 50, seed=1)[20:84, 40:120]
    )
    assert (sequence.camera.cx, sequence.camera.cy) == (39.5, 39.5)
    assert not said and sequence.read_valid() is None


def test_crop_none_keeps_everything(scope: Path, tmp_path: Path) -> None:
    """As without any border."""
    sequence, said = stored(scope, tmp_path / "out", crop="none")
    assert sequence.read_valid() is None and not said and sequence.camera.size == (H, W)


@pytest.mark.parametrize("crop", [(100, 0, 30, 30), (0, 150, 20, 20)])
def test_window_outside_the_frames_is_refused(
    scope: Path, tmp_path: Path, crop: tuple[int, int, int, int]
) -> None:
    """And nothing is written."""
    with pytest.raises(DataError, match="--crop: window of .* leaves the 160x120 frames"):
        stored(scope, tmp_path / "out", crop=crop)
    with pytest.raises(DataError, match="leaves the 160x120"):
        crop_stream(open_stream(scope), crop)
    assert not (tmp_path / "out").exists()


def test_crop_beside_the_principal_point_says_so(scope: Path, tmp_path: Path) -> None:
    """A window of the upper left corner holds no optical axis: the calibration is not to blame."""
    with pytest.raises(DataError, match="does not hold the camera's principal point"):
        stored(scope, tmp_path / "out", crop=(0, 0, 20, 20))


@pytest.mark.parametrize("text", ["some", "1,2,3", "0,0,0,5", "-1,0,5,5"])
def test_crop_that_is_none_is_wrong_usage(
    scope: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and the line says what is expected."""
    words = ["prepare", str(scope), "--out", "out", f"--crop={text}"]
    assert main(words) == 2
    assert "TOP,LEFT,HEIGHT,WIDTH" in capsys.readouterr().err


def test_stream_is_masked_or_cut(scope: Path) -> None:
    """`infer` sees whole frames with a mask, or the frames inside it."""
    stream = open_stream(scope)
    masked = crop_stream(stream, "mask")
    assert masked.covered is not None and "round view" in masked.notes[-1]
    assert [f.rgb.shape for f in masked.frames() if f.rgb is not None] == [(H, W, 3)] * 3
    cut = crop_stream(stream, "auto")
    shapes = {frame.rgb.shape[:2] for frame in cut.frames() if frame.rgb is not None}
    assert cut.covered is not None and shapes == {cut.covered.shape} and H not in cut.covered.shape
    assert crop_stream(stream, "none") is stream


def test_stream_without_a_border_is_the_stream(tmp_path: Path) -> None:
    """No mask, no note: what comes after it gives the same bytes as before."""
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), texture(seed=i))
    stream = open_stream(tmp_path)
    found = crop_stream(stream, "mask")
    assert found.covered is None and found.notes == stream.notes and found.frames is stream.frames


def test_mask_follows_a_frame_through_rectification_and_size() -> None:
    """Half the size: a stored pixel is valid where all four of its own are."""
    camera = Camera(W, H, 100.0, 100.0, 79.5, 59.5)
    mask = bars(0, 0, 41, 0)
    geometry = with_mask(build_geometry(SourceCamera(camera), (H // 2, W // 2)), mask)
    assert geometry.valid is not None
    assert not geometry.valid[:, :21].any() and geometry.valid[:, 21:].all()


def test_border_that_a_mask_leaves_out_already_changes_nothing(scope: Path, tmp_path: Path) -> None:
    """A prepared sequence brings its valid.png: the stream stays as it is."""
    sequence, _ = stored(scope, tmp_path / "out")
    stream = open_stream(sequence.root)
    assert stream.covered is not None and crop_stream(stream, "mask") is stream
    hole = np.ones((H, W), bool)
    hole[:5, :5] = False
    found = crop_stream(replace(stream, covered=hole), "mask").covered
    assert found is not None and not found[0, 0] and not found[10, 10] and found[60, 80]
