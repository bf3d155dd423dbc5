# SPDX-License-Identifier: Apache-2.0
"""Camera motion: the record `Motion` (`told`), samples over time, the pose of a frame (`place`)."""
