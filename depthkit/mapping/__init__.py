# SPDX-License-Identifier: Apache-2.0
"""Maps from depth with known poses: signed distances in blocks of voxels, meshes, points, grids.

Any depth will do: a map knows no model. Lengths are those of the world that the poses are in.
"""
