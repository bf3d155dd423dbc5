# SPDX-License-Identifier: Apache-2.0
"""What `infer` writes and `evaluate` reads: depth folders, pictures, clouds, video, rerun."""
