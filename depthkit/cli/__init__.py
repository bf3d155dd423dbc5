# SPDX-License-Identifier: Apache-2.0
"""The `depthkit` program: finds the verb, builds only its parser, turns known errors into one line.

Exit codes: 0 done, 1 a known error, 2 wrong usage, 3 a training that learnt nothing, 130
interrupted. A bug keeps its traceback. A verb is a module of this package with
`add_arguments(parser)` and `run(args)`, which may return an exit code; it imports heavy libraries
inside `run`, so that every `--help` is instant.
"""

import argparse
import difflib
import errno
import importlib
import os
import select
import sys
from collections.abc import Sequence

from depthkit import __version__
from depthkit.errors import DepthkitError, UsageError

VERBS = {
    "demo": "a result in about a minute: no data, GPU or network needed",
    "synth": "render worlds with exact depth, poses, flow and moving objects",
    "prepare": "turn video, images, ROS 2 bags or a data set into sequence folders",
    "inspect": "check prepared sequences: parallax, static and dark frames, shifts to use",
    "odometry": "follow the camera without a network: trajectory, sparse points, report",
    "localise": "find frames of a camera that looks down in an orthophoto, without GPS",
    "reconstruct": "turn a video into path, depth, 3-D surface and a report, without a network",
    "train": "train depth and pose networks from a configuration file",
    "evaluate": "score depth maps or a trajectory against the truth",
    "export": "write a trained network as one ONNX file that proves itself",
    "adopt": "take a depth network of another program (ONNX) as a model of ours",
    "verify": "run an exported file's stored input on this machine's backends",
    "infer": "make depth maps, a trajectory and point clouds from frames or a video",
    "match": "find the disparity of a rectified stereo pair",
    "bench": "measure a model on this machine: latency, frames a second, memory, parity",
    "doctor": "show what is installed and what can be done with it",
    "completion": "print a script that completes verbs, options and files in your shell",
}

# The machine refused, not the program: these are worth one line, other OSErrors are bugs.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}

_STDOUT = 1
_SIGPIPE_EXIT = 141  # what a shell reports for a program whose reader left


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: the words after the program's name; those of the process when None.

    Returns:
        The exit code.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        return _run_verb(words)
    except UsageError as error:
        return _fail(f"{error} (see 'depthkit {words[0]} --help')", code=2)
    except DepthkitError as error:
        return _fail(str(error))
    except ModuleNotFoundError as error:
        return _fail(_missing_package_line(error))
    except KeyboardInterrupt:
        print("depthkit: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError as error:
        return _leave_broken_pipe(error)
    except OSError as error:
        return _fail(_refusal_line(error))


def _run_verb(words: list[str]) -> int:
    try:
        verb = _read_verb(words[:1])
        module = importlib.import_module(f"depthkit.cli.{verb}")
        parser = argparse.ArgumentParser(prog=f"depthkit {verb}", description=VERBS[verb])
        module.add_arguments(parser)
        args = parser.parse_args(words[1:])
    except SystemExit as stop:  # argparse has printed its help or its error
        return int(stop.code or 0)
    code: int | None = module.run(args)
    sys.stdout.flush()  # a reader that left is noticed here, not at interpreter exit
    return code or 0


def _read_verb(words: list[str]) -> str:
    width = max(map(len, VERBS))
    parser = argparse.ArgumentParser(
        prog="depthkit",
        usage="depthkit [-h] [--version] VERB ...",
        description="Depth and motion from ordinary video.",
        epilog="verbs:\n" + "\n".join(f"  {name:{width}}  {line}" for name, line in VERBS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"depthkit {__version__}")
    parser.add_argument("verb", metavar="VERB", help="'depthkit VERB --help' shows its options")
    verb = str(parser.parse_args(words).verb)
    if verb not in VERBS:
        near = difflib.get_close_matches(verb, VERBS, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(VERBS)}"
        parser.error(f"unknown verb {verb!r}; {remedy}")
    return verb


def _fail(line: str, *, code: int = 1) -> int:
    print(f"depthkit: error: {line}", file=sys.stderr)
    return code


def _missing_package_line(error: ModuleNotFoundError) -> str:
    """Name the extra that brings a missing package; any other missing module is a bug."""
    from depthkit.pipelines.doctor.packages import find_package

    package = find_package(error.name or "")
    if package is None:
        raise error
    return f"{package.distribution} is not installed; run: {package.install_line}"


def _refusal_line(error: OSError) -> str:
    if error.errno not in _REFUSALS:
        raise error
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename else reason


def _leave_broken_pipe(error: BrokenPipeError) -> int:
    """Go quietly when the reader of stdout has left (`| head`); another pipe's end is a bug."""
    poll = select.poll()
    poll.register(_STDOUT, 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        raise error
    # Python flushes stdout once more at exit: give that flush a place to go.
    os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)
    return _SIGPIPE_EXIT
