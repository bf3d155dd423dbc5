# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to one ONNX file that carries all a robot has to know of it."""
