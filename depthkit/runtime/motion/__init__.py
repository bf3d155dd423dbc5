# SPDX-License-Identifier: Apache-2.0
"""How the camera moved: what is known of it (`told`), samples over time, the place of a frame."""
