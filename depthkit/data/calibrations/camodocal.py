# SPDX-License-Identifier: Apache-2.0
"""camodocal (VINS-Mono, VINS-Fusion): model_type, distortion_parameters, projection_parameters.

KANNALA_BRANDT there has k2..k5 of r = theta + k2 theta^3 + ..., our k1..k4, and mu, mv, u0, v0.
"""

from collections.abc import Mapping
from typing import Any

from depthkit.camera.calibration import Calibration, coefficients, k_of, read_size
from depthkit.camera.calibration_text import number
from depthkit.camera.lens import lens_model
from depthkit.errors import DataError


def read(record: Mapping[str, Any]) -> list[Calibration]:
    """Return the camera of a mapping with `projection_parameters`."""
    projection = record.get("projection_parameters")
    model = str(record.get("model_type", "PINHOLE"))
    if not isinstance(projection, Mapping):
        if "model_type" in record:
            lens_model(model, (1.0,) * 4)  # refused by its name, such as SCARAMUZZA
            raise DataError("camera: missing projection_parameters")
        return []
    keys = ("mu", "mv", "u0", "v0") if "mu" in projection else ("fx", "fy", "cx", "cy")
    if "gamma1" in projection or "mirror_parameters" in record:
        keys, model = ("gamma1", "gamma2", "u0", "v0"), "MEI"
    missing = [key for key in keys if key not in projection]
    if missing:
        raise DataError(f"camera: projection_parameters lack {', '.join(missing)}")
    distortion = record.get("distortion_parameters")
    if keys[0] == "mu":
        D = tuple(number(projection.get(key, 0), key) for key in ("k2", "k3", "k4", "k5"))
    else:
        D = coefficients(distortion) if isinstance(distortion, Mapping) else ()
    return [
        Calibration(
            k_of(*(number(projection[key], key) for key in keys)),
            read_size(record),
            distortion_model="pinhole_full" if model == "PINHOLE" else model,
            D=D,
        )
    ]
