# SPDX-License-Identifier: Apache-2.0
"""World files: the six numbers beside a picture that say where its pixels lie on a map."""

from pathlib import Path

import numpy as np

from depthkit.errors import DataError

SHORT = {
    ".png": ".pgw",
    ".jpg": ".jgw",
    ".jpeg": ".jgw",
    ".tif": ".tfw",
    ".tiff": ".tfw",
    ".bmp": ".bpw",
    ".webp": ".wpw",
}


def find_world_file(picture: Path) -> Path | None:
    """Return the world file of a picture: .pgw, .pngw, .png.wld or .wld and the like, or None."""
    suffix = picture.suffix
    ends = [SHORT.get(suffix.lower(), ""), f"{suffix}w", ".wld"]
    names = [picture.with_suffix(end) for end in ends if end]
    names.append(picture.with_name(f"{picture.name}.wld"))
    both = [case for name in names for case in (name, name.with_suffix(name.suffix.upper()))]
    return next((path for path in both if path.is_file()), None)


def read_world_file(path: Path) -> np.ndarray:
    """Read the affine map of pixels to map coordinates.

    The six lines are A, D, B, E, C, F: x = A u + B v + C and y = D u + E v + F, where (C, F) is the
    centre of the top-left pixel, so that (u, v) are pixels as this project counts them.

    Returns:
        (2, 3) float64

    Raises:
        DataError: no six finite numbers.
    """
    words = path.read_text(encoding="utf-8", errors="replace").split()
    try:
        a, d, b, e, c, f = (float(word.replace(",", ".")) for word in words)
    except ValueError:
        raise DataError(
            f"{path}: expected six numbers, a line each, got {len(words)} words; write the world "
            "file anew"
        ) from None
    A = np.array([[a, b, c], [d, e, f]])
    if not np.isfinite(A).all() or np.linalg.det(A[:, :2]) == 0:
        raise DataError(f"{path}: its six numbers span no plane: {' '.join(words)}")
    return A


def write_world_file(path: Path, affine: np.ndarray) -> None:
    """Write the affine map of pixels to map coordinates. affine: (2, 3)"""
    (a, b, c), (d, e, f) = np.asarray(affine, np.float64)
    lines = "".join(f"{value:.12g}\n" for value in (a, d, b, e, c, f))
    path.write_text(lines, encoding="ascii")
