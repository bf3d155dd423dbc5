# SPDX-License-Identifier: Apache-2.0
"""`data`: which frames are trained on, and how they are varied."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from depthkit.config.ranges import check_ranges, option, require


@dataclass(frozen=True)
class DataConfig:
    """Which frames are trained on, and how they are varied."""

    root: Path = Path("data")
    """Data set folder (sequences and split.yaml) or one sequence folder."""
    train: tuple[str, ...] = ()
    """Sequences to train on, names or globs ("colon_l1_*"); empty for the split's own list."""
    val: tuple[str, ...] = ()
    """Sequences to validate on, names or globs; empty for the split's own list."""
    validation_share: float = option(0.05, above=0, below=0.5)
    """Share of each training sequence that is held out at its end where no sequence is named for
    validation."""
    size: tuple[int, int] = option((128, 416), above=32)
    """Height and width of the networks' input, pixels."""
    shifts: tuple[int, ...] | Literal["auto"] = (-1, 1)
    """Source frames, as signed offsets from the target frame; "auto" takes what `depthkit inspect`
    suggests. Tasks of one frame read none."""
    random_shift: int = option(0, least=0)
    """Pairs: largest random shift n. Each training shift is drawn from -n to n, 0 included, as far
    as the sequence reaches; 0 keeps the shift above. Validation always keeps that shift."""
    skip_static: bool = True
    """Leave out targets that a saved inspection (inspect --save) marks as unusable."""
    flip: bool = True
    """Mirror half of the snippets left to right."""
    flip_vertical: bool = False
    """Mirror half of the snippets top to bottom: for cameras without a fixed up direction."""
    colour_jitter: float = option(0.2, least=0, below=1)
    """Largest change of brightness, contrast and saturation, the same for all frames of a
    snippet."""
    zoom: float = option(1.0, least=1, most=2)
    """Largest random enlargement before cropping back to the size; 1.15 in [Zhou 2017]."""
    workers: int = option(2, least=0)
    """Loader processes; 0 loads in the training process."""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.shifts != "auto":
            require(self.shifts != (), "shifts: at least one source is needed, got []")
            require(0 not in self.shifts, "shifts: 0 is the target itself; use other offsets")
            require(
                len(set(self.shifts)) == len(self.shifts),
                f"shifts: each offset once, got {list(self.shifts)}",
            )
        require(
            self.random_shift == 0 or (self.shifts != "auto" and len(self.shifts) == 1),
            f"random_shift: varies one nominal shift, such as [-3]; got shifts {self.shifts}",
        )
