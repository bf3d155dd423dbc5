# SPDX-License-Identifier: Apache-2.0
"""Projective geometry on tensors: rigid motions, projection, warping."""
