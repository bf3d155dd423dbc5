# SPDX-License-Identifier: Apache-2.0
"""Depth and motion from ordinary video. Importing this loads neither torch nor OpenCV."""

__version__ = "0.1.0"
