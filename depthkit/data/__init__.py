# SPDX-License-Identifier: Apache-2.0
"""From files of any origin to sequence folders, and from sequence folders to snippets."""
