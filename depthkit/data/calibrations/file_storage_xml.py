# SPDX-License-Identifier: Apache-2.0
"""OpenCV FileStorage as XML: the same keys as its YAML."""

import re
import xml.etree.ElementTree as ElementTree
from typing import Any

from depthkit.errors import DataError


def parse(text: str) -> dict[str, Any] | None:
    """Return what the file holds as its YAML twin would; None where it is no XML.

    Raises:
        DataError: XML that is damaged, or of another program.
    """
    if not text.lstrip().startswith("<"):
        return None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError("not a camera file: XML with a document type; OpenCV writes none")
    try:
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except ElementTree.ParseError as error:
        raise DataError(f"not valid XML: {error}") from None
    if root.tag != "opencv_storage":
        raise DataError(
            f"not a camera file: XML of another program (<{root.tag}>); expected OpenCV's "
            "<opencv_storage>, or write width, height, fx, fy, cx, cy into a camera.yaml"
        )
    return {child.tag: _value(child) for child in root}


def _value(element: "ElementTree.Element") -> Any:
    """Return an element as text, or its children by tag."""
    children = list(element)
    if not children:
        return (element.text or "").strip().strip('"')
    if all(child.tag == "_" for child in children):
        return [_value(child) for child in children]
    return {child.tag: _value(child) for child in children}
