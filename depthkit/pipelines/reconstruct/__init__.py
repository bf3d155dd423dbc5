# SPDX-License-Identifier: Apache-2.0
"""From a video to 3-D in one run: camera, path, depth, surface, report."""
