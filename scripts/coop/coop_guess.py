# SPDX-License-Identifier: Apache-2.0
"""What `evaluate_coop.py` scores: the answers of a trained run, or of baselines that learn nothing.

A method is a function that takes a sequence and yields one `Guess` a frame; what it cannot say is
None.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from depthkit.data.sequence import Sequence
from depthkit.data.snippet import Snippet, collate
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import DataError
from depthkit.geometry.warp import stack_views, warp_to_target
from depthkit.losses.photometric import photometric_error
from depthkit.tasks.loaded import LoadedTask, load_task
from depthkit.tasks.view_synthesis import ViewSynthesis

BATCH = 8


@dataclass(frozen=True)
class Guess:
    """What a method says of one frame; maps are of the method's own size."""

    frame: int
    depth: np.ndarray | None = None
    """Any unit. (h, w)"""
    flow: np.ndarray | None = None
    """To the next frame, pixels of its own size. (h, w, 2)"""
    moving: np.ndarray | None = None
    """Larger where the pixel is likelier to move by itself. (h, w)"""
    mask: np.ndarray | None = None
    """Said to move. (h, w) bool"""
    motions: dict[int, np.ndarray] = field(default_factory=dict)
    """T_source_target of neighbours, by their shift. (4, 4) each"""


Method = Callable[[Sequence], Iterator[Guess]]


# --- a trained run -------------------------------------------------------------------------------


def open_run(path: Path, device: str = "cpu") -> tuple[LoadedTask, Method]:
    """Load a run; its method looks at snippets as training does, without variation.

    Raises:
        CheckpointError: no such run.
        DataError: it has no source one frame later.
    """
    loaded = load_task(path)
    if 1 not in loaded.shifts:
        raise DataError(f"{path}: trained at shifts {loaded.shifts}; the truth is of shift 1")
    task = loaded.task.to(device)

    def guess(sequence: Sequence) -> Iterator[Guess]:
        data = SnippetDataset([sequence], shifts=loaded.shifts, size=loaded.config.data.size)
        for start in range(0, len(data), BATCH):
            items = range(start, min(start + BATCH, len(data)))
            snippet = collate([data[item, 0] for item in items]).to(torch.device(device))
            with torch.inference_mode():
                parts = _answer(task, snippet, loaded.shifts)
            for k, item in enumerate(items):
                motions = {shift: T[k] for shift, T in parts.motions.items()}
                maps = {name: m[k] for name, m in vars(parts).items() if isinstance(m, np.ndarray)}
                yield Guess(data.index[item][1], **maps, motions=motions)

    return loaded, guess


@dataclass
class _Parts:
    """The answers to a batch, as fields of `Guess` with a leading B."""

    depth: np.ndarray | None = None
    flow: np.ndarray | None = None
    moving: np.ndarray | None = None
    mask: np.ndarray | None = None
    motions: dict[int, np.ndarray] = field(default_factory=dict)


def _answer(task: nn.Module, snippet: Snippet, shifts: tuple[int, ...]) -> _Parts:
    """Ask whatever networks the task has."""
    parts = _Parts()
    if hasattr(task, "flow_net"):
        later = snippet.sources[:, shifts.index(1)]
        flow = task.flow_net(torch.cat([snippet.target, later], 1))[0]
        parts.flow = _array(flow.movedim(1, -1))
    if not hasattr(task, "depth_net"):
        return parts
    inverse_depth = task.depth_net(snippet.target)[0].float()
    parts.depth = _array(1 / inverse_depth[:, 0])
    T_source_target, _ = task.predict_motions(snippet.target, snippet.sources)
    stacked = T_source_target.unflatten(0, (len(shifts), -1))
    parts.motions = {shift: _array(T) for shift, T in zip(shifts, stacked, strict=True)}
    if hasattr(task, "static_probability"):
        parts.moving = _array(1 - task.static_probability(snippet)[:, 0])
        parts.mask = parts.moving > 0.5
    elif isinstance(task, ViewSynthesis) and task.loss.auto_mask:
        score, mask = _auto_mask(task, snippet, inverse_depth, T_source_target)
        parts.moving, parts.mask = _array(score), mask[:, 0].cpu().numpy()
    return parts


def _auto_mask(
    task: ViewSynthesis, snippet: Snippet, inverse_depth: Tensor, T_source_target: Tensor
) -> tuple[Tensor, Tensor]:
    """Read the auto-mask as a detector of moving objects.

    Returns:
        How much worse the warped sources explain a pixel than the unwarped ones, (B, H, W), and
        where they do, (B, 1, H, W) bool; a pixel that no source sees says nothing: 0 and False.
    """
    count = len(task.shifts)
    target, sources = snippet.target.repeat(count, 1, 1, 1), stack_views(snippet.sources)
    warped = warp_to_target(
        sources,
        (1 / inverse_depth).repeat(count, 1, 1, 1),
        T_source_target=T_source_target,
        K=snippet.K.repeat(count, 1, 1),
    )
    error, still = (
        photometric_error(image, target, ssim_weight=task.loss.ssim_weight)
        for image in (warped.image, sources)
    )
    error = error.masked_fill(~warped.valid, torch.inf).unflatten(0, (count, -1)).amin(0)
    worse = error - still.unflatten(0, (count, -1)).amin(0)
    seen = error.isfinite()
    return torch.where(seen, worse, 0)[:, 0], seen & (worse >= 0)


def _array(values: Tensor) -> np.ndarray:
    return values.float().cpu().numpy()


# --- baselines -----------------------------------------------------------------------------------


def baselines(sequences: list[Sequence]) -> dict[str, Method]:
    """Return what needs no learning, by name; on the frames that runs of shifts -1 and 1 see."""
    mean = _mean_depth(sequences)
    return {
        "constant depth, no flow, straight on": lambda sequence: _still(sequence, None),
        "mean depth of these frames by pixel": lambda sequence: _still(sequence, mean),
        "OpenCV DIS (medium)": _classical,
    }


def _still(sequence: Sequence, depth: np.ndarray | None) -> Iterator[Guess]:
    """Everything equally far, nothing flows, the camera goes straight on."""
    ahead = np.eye(4)
    ahead[2, 3] = -1.0  # points come one unit nearer
    size = sequence.camera.size
    for i in range(1, len(sequence) - 1):
        still = np.zeros((*size, 2), np.float32)
        flat = np.ones(size, np.float32) if depth is None else depth
        nothing = np.zeros(size, np.float32)
        yield Guess(i, flat, still, nothing, nothing > 0, {-1: np.linalg.inv(ahead), 1: ahead})


def _mean_depth(sequences: list[Sequence]) -> np.ndarray:
    """Average the logarithm of true depth pixel by pixel, with the truth in hand. (H, W)"""
    total, known = np.zeros((2, *sequences[0].camera.size))
    for sequence in sequences:
        for i in range(len(sequence)):
            depth = sequence.read_depth(i)
            total += np.log(np.where(depth > 0, depth, 1))
            known += depth > 0
    mean = np.exp(total / np.maximum(known, 1))
    return np.where(known > 0, mean, np.median(mean[known > 0])).astype(np.float32)


def _classical(sequence: Sequence) -> Iterator[Guess]:
    """Match each frame with the next one, at the frames' own size."""
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(sequence.read_frame(i), cv2.COLOR_RGB2GRAY) for i in range(len(sequence))]
    for i in range(1, len(sequence) - 1):
        yield Guess(i, flow=search.calc(grey[i], grey[i + 1], None))
