"""The command line: ``rainpost serve | correct | inspect | models | settings | metrics``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from service.errors import InputError, RainpostError
from service.versions import rainpost_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0 is success, 2 an input that cannot be used, 1 everything else that went wrong."""
    options = _parser().parse_args(arguments)
    try:
        # Imported late: `rainpost --help` answers at once, and the worker processes of `rainpost serve`,
        # which import this module again, do not load the web server.
        from service import commands  # noqa: PLC0415

        getattr(commands, options.command)(options)
    except RainpostError as error:
        sys.stderr.write(_explain(error))
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rainpost",
        description="Corrects precipitation forecasts: the files of a forecast cycle in, probabilities of no "
        "rain, rain and heavy rain out.",
        epilog="Settings are environment variables, RAINPOST_...; `rainpost settings` lists them.",
    )
    parser.add_argument("--version", action="version", version=f"rainpost {rainpost_version()}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, summary: str, description: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=description)
        command.set_defaults(command=name)
        return command

    add("serve", "answer over HTTP", "Answer over HTTP, on RAINPOST_HOST and RAINPOST_PORT.")
    correct = add(
        "correct",
        "correct one cycle and write the product",
        "Correct one cycle without a server and write the product as a CF NetCDF file.",
    )
    inspect = add(
        "inspect",
        "show what files hold, and what a model misses in them",
        "Show channel, level, unit, time range, grid and range of values of what files hold, and what is "
        "missing for the model.",
    )
    for command in (correct, inspect):
        _add_files(command)
    correct.add_argument(
        "--reference-time", metavar="TIME", help="the cycle that the files must be of, such as 2026-11-22T00Z"
    )
    correct.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder of the product (default: this one)"
    )
    add("models", "list the installed models", "List the installed models, their digests checked.")
    add("settings", "list the settings", "List every setting with its default.")
    add("metrics", "list the Prometheus series", "List every Prometheus series with its labels.")
    return parser


def _add_files(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="GRIB2 or NetCDF, in any order")
    command.add_argument(
        "--model", metavar="NAME", help="NAME-VERSION, or a NAME for its highest version (RAINPOST_MODEL)"
    )


def _explain(error: RainpostError) -> str:
    lines = [f"rainpost: {error.what}"]
    for name in ("where", "expected", "got", "advice"):
        text = getattr(error, name)
        if text:
            lines.append(f"  {name:<9} {text}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
