"""The experiment: every system fitted and scored, and the tables and figures made of the scores.

``python -m training.experiment run`` fits and scores what is not yet there, in pieces that resume;
``python -m training.experiment tables`` gathers the scores and writes RESULTS.md and its pictures;
``python -m training.experiment list`` says what is done.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from training import report
from training.rows import RUNS, steps
from training.runner import Runner, Step


def chosen(everything: list[Step], patterns: list[str]) -> list[Step]:
    """The steps of the patterns, and all that they need.

    A pattern is a step or what stands before a slash in the names of steps; if it is neither, it is any
    beginning of names.
    """
    if not patterns:
        return everything
    by_name = {step.name: step for step in everything}
    wanted: set[str] = set()

    def _want(name: str) -> None:
        if name not in wanted:
            wanted.add(name)
            for needed in by_name[name].after:
                _want(needed)

    for pattern in patterns:
        under = [name for name in by_name if f"{name}/".startswith(f"{pattern.rstrip('/')}/")]
        for name in under or [name for name in by_name if name.startswith(pattern)]:
            _want(name)
    return [step for step in everything if step.name in wanted]


def _run(arguments: argparse.Namespace) -> int:
    if arguments.jobs > 1:
        # Several commands at once share the cores.
        os.environ["OMP_NUM_THREADS"] = str(max((os.cpu_count() or 1) // arguments.jobs, 1))
    runner = Runner(RUNS / "marks", arguments.minutes, arguments.jobs)
    outcome = runner.run(chosen(steps(arguments.pairs), arguments.rows))
    print(f"\n{len(outcome.finished)} finished, {len(outcome.failed)} failed, {len(outcome.waiting)} waiting")
    for name in outcome.failed:
        print(f"failed: {name}")
    return 1 if outcome.failed else 0


def _list(arguments: argparse.Namespace) -> int:
    everything = steps(arguments.pairs)
    finished = Runner(RUNS / "marks").finished(everything)
    for step in everything:
        print(f"{'done' if step.name in finished else '    '}  {step.name}")
    return 0


def _tables(_arguments: argparse.Namespace) -> int:
    for path in report.write():
        print(path)
    return 0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.experiment",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="fit and score what is not yet there")
    run.add_argument("--minutes", type=float, help="stop after so long; the same command goes on")
    run.add_argument("--jobs", type=int, default=1, help="commands at once")
    run.add_argument(
        "--rows", nargs="*", default=[], help="steps, as list shows them, or beginnings of names"
    )
    run.set_defaults(do=_run)
    listed = commands.add_parser("list", help="what is done and what is not")
    listed.set_defaults(do=_list)
    for command in (run, listed):
        command.add_argument(
            "--pairs",
            type=Path,
            help="file with real pairs of forecasts and observations, for the last section",
        )
    tables = commands.add_parser("tables", help="gather the scores; write RESULTS.md and its pictures")
    tables.set_defaults(do=_tables)
    arguments = parser.parse_args()
    code: int = arguments.do(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
