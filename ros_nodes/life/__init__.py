# SPDX-License-Identifier: Apache-2.0
"""A node's life: parameters, start and stop, the newest-frame slot, diagnostics, notices.

What becomes of a refused frame: `monitor.Complaints` counts the reason -> the node's figures -> its
status record -> `monitor.Monitor`, diagnostics once a second -> `notices`, logged when it changes.
"""
