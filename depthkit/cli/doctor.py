# SPDX-License-Identifier: Apache-2.0
"""`depthkit doctor`: what this machine is, what is installed and what can be done with it."""

import argparse
import json
from dataclasses import asdict
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the verb."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> None:
    """Look at everything, print it.

    Raises:
        EngineError: a core package is missing or broken, so that nothing can be done.
    """
    from depthkit.pipelines.doctor.look import check_core, examine

    found = examine()
    report = asdict(found)
    print(json.dumps(report, indent=2) if args.json else as_text(report))
    check_core(found)


def as_text(report: dict[str, Any]) -> str:
    """Lay the report out for people; the last line says what can be done."""
    lines = [f"depthkit {report['depthkit']}"]
    lines += [f"  {name:24} {text}" for name, text in report["machine"].items()]
    for title in ("packages", "backends", "parts"):
        lines += ["", title]
        lines += [_state_line(name, state) for name, state in report[title].items()]
    return "\n".join([*lines, "", f"can do: {abilities_text(report['can'])}"])


def _state_line(name: str, state: dict[str, Any]) -> str:
    extra = state["extra"]
    remedy = f"pip install 'depthkit[{extra}]'" if extra and state["state"] == "missing" else ""
    return f"  {name:24} {state['state']:8} {state['detail'] or remedy}".rstrip()


def abilities_text(abilities: dict[str, dict[str, Any]]) -> str:
    """Name the verbs that share an answer together."""
    verbs: dict[str, list[str]] = {}
    for verb, ability in abilities.items():
        answer = "yes" if ability["able"] else "no"
        reason = f" ({ability['reason']})" if ability["reason"] else ""
        verbs.setdefault(answer + reason, []).append(verb)
    return "; ".join(f"{', '.join(names)}: {answer}" for answer, names in verbs.items())
