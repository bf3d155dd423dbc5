# SPDX-License-Identifier: Apache-2.0
"""A model file and what runs it: manifest, hash, parity check, backends, engine."""
