# SPDX-License-Identifier: Apache-2.0
"""How this copy of depthkit was installed, and the command that adds an extra to it.

depthkit is on no package index, so `pip install 'depthkit[synth]'` finds nothing: pip needs the
checkout or the wheel that the installation came from.
"""

from pathlib import Path

UNKNOWN_ORIGIN = "<checkout or wheel of depthkit>"


def install_line(*extras: str) -> str:
    """Return the command that installs extras of depthkit beside this copy.

    Args:
        extras: names in setup.py, such as "synth"; none for the core alone.
    """
    names = f"[{','.join(extras)}]" if extras else ""
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "setup.py").is_file():
        return f"pip install -e '{checkout}{names}'"
    return f"pip install '{_origin(names)}'"


def _origin(names: str) -> str:
    """Return what pip installed this copy from, as pip recorded it (PEP 610), with the extras."""
    # Inside: an error line needs these, `--help` does not.
    import json
    from importlib.metadata import PackageNotFoundError, distribution
    from urllib.parse import unquote, urlsplit

    try:
        record = json.loads(distribution("depthkit").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:  # a copied folder, or --target without its metadata
        record = {}
    url = record.get("url", "")
    path = Path(unquote(urlsplit(url).path))
    if url.startswith("file:") and path.exists():
        return f"{path}{names}"
    if "vcs_info" in record:
        return f"depthkit{names} @ {record['vcs_info']['vcs']}+{url}"
    return f"{UNKNOWN_ORIGIN}{names}"
