# SPDX-License-Identifier: Apache-2.0
"""A node's life: parameters, start and stop, the newest-frame slot, diagnostics, notices.

A refused frame goes `complaints` (reason counted) -> the node's figures -> its status record ->
`monitor` (diagnostics, once a second) -> `notices` (logged once, and again when it changes).
"""
