# SPDX-License-Identifier: Apache-2.0
"""Life cycle of a node: parameters, start and stop, newest-frame slot, diagnostics, log notices.

Path of a refused frame: `monitor.Complaints` passes on the reason -> the node's figures -> its
status record -> `monitor.Monitor`, diagnostics at 1 Hz -> `notices`, logged when it changes.
"""
