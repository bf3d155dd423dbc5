# SPDX-License-Identifier: Apache-2.0
"""A camera that looks down, found in an orthophoto: `levels`, `tile_index`, `registration`,
`plane_pose`, and the `localiser` that puts them together."""
