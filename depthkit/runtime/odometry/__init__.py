# SPDX-License-Identifier: Apache-2.0
"""Motion of the camera from its frames, in segments, relative or in metres."""
