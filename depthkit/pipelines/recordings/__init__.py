# SPDX-License-Identifier: Apache-2.0
"""Many recordings through one verb: found, run side by side, kept when they are done, listed."""
