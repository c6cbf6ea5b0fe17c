"""The command line: ``rainpost serve | correct | ingest | backfill | status | audit | backup | restore |
inspect | models | keys | settings | metrics``."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from service.errors import InputError, RainpostError
from service.scopes import MEANINGS, SCOPES
from service.versions import rainpost_version


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0 is success, 2 an input that cannot be used, 1 everything else that went wrong; more
    is said by the commands that have more to say.
    """
    options = _parser().parse_args(arguments)
    try:
        # Imported late: `rainpost --help` answers at once, and the worker processes of `rainpost serve`,
        # which import this module again, do not load the web server.
        module = importlib.import_module(options.module)
        status: int | None = getattr(module, options.command)(options)
    except RainpostError as error:
        sys.stderr.write(_explain(error))
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        return 130
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rainpost",
        description="Corrects precipitation forecasts: the files of a forecast cycle in, probabilities of no "
        "rain, rain and heavy rain out.",
        epilog="Settings are environment variables, RAINPOST_...; `rainpost settings` lists them.",
    )
    parser.add_argument("--version", action="version", version=f"rainpost {rainpost_version()}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(
        name: str, summary: str, description: str, module: str = "service.commands"
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=summary, description=description)
        command.set_defaults(command=name, module=module)
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
    _add_inbox_commands(add)
    _add_status(add)
    _add_audit(add)
    _add_models_commands(add)
    _add_keys_commands(add)
    _add_backup_commands(add)
    add("settings", "list the settings", "List every setting with its default.")
    add("metrics", "list the Prometheus series", "List every Prometheus series with its labels.")
    return parser


def _add_inbox_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    where = " By the service that answers on RAINPOST_HOST and RAINPOST_PORT, or without one."
    ingest = add(
        "ingest",
        "take one cycle from the inbox",
        "Take one cycle from the inbox, RAINPOST_INBOX, and wait for its product." + where,
        "service.inbox_commands",
    )
    ingest.add_argument(
        "--reference-time", required=True, metavar="TIME", help="the cycle, such as 2026-11-22T00Z"
    )
    ingest.add_argument(
        "--wait",
        type=float,
        default=300,
        metavar="SECONDS",
        help="how long to wait for files and product (default: 300)",
    )
    backfill = add(
        "backfill",
        "take all cycles of a span from the inbox",
        "Take every cycle of a span from the inbox, RAINPOST_INBOX, newest first, with the leads that are "
        "there. Cycles that another model published get a new revision." + where,
        "service.inbox_commands",
    )
    backfill.add_argument("--from", dest="first", required=True, metavar="TIME", help="the first cycle")
    backfill.add_argument("--to", dest="last", required=True, metavar="TIME", help="the last cycle")


def _add_status(add: Callable[..., argparse.ArgumentParser]) -> None:
    command = add(
        "status",
        "show how the last cycles stand",
        "Show the last cycles with their states, leads, delays and scores: of the service that answers on "
        "RAINPOST_HOST and RAINPOST_PORT, or of what one left in RAINPOST_DATA_FOLDER. The exit status is 3 "
        "where the latest cycle that is due (neither expected nor running) is late or failed, 1 where "
        "nothing can be told, and otherwise 0.",
        "service.status",
    )
    command.add_argument("--url", metavar="URL", help="of another service, such as http://host:8000")
    command.add_argument("--cycles", type=_count, default=8, metavar="N", help="how many (default: 8)")
    command.add_argument("--json", action="store_true", help="as JSON, for programs")


def _add_audit(add: Callable[..., argparse.ArgumentParser]) -> None:
    command = add(
        "audit",
        "recompute a product and compare",
        "Recompute a product from the inputs, the model and the code that it names, and compare. The exit "
        "status is 0 where it comes out the same, bit for bit, 3 where it does not, and 1 or 2 where that "
        "cannot be told.",
        "service.audit_commands",
    )
    command.add_argument(
        "product",
        metavar="PRODUCT",
        help="a NetCDF file, or a cycle in RAINPOST_DATA_FOLDER such as 2026-11-22T00Z or latest",
    )
    command.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="its inputs, or folders that hold them, known by their digests; uploads that the service still "
        "keeps are found without",
    )
    command.add_argument("--revision", type=_count, metavar="N", help="of a cycle (default: the newest)")
    command.add_argument(
        "--any-code", action="store_true", help="compare also with another version's product"
    )
    command.add_argument(
        "--provider", choices=("cpu", "cuda"), help="recompute there, not where the product was made"
    )


def _add_models_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    module = "service.model_commands"
    models = add(
        "models",
        "list the installed models, or change the active one",
        "List the installed models, their digests checked, with the active one, its shadow, and who changed "
        "these when; or change them, in the service that answers on RAINPOST_HOST and RAINPOST_PORT, or in "
        "its database.",
        module,
    )
    actions = models.add_subparsers(title="actions", metavar="ACTION")
    activate = actions.add_parser(
        "activate",
        help="change the active model",
        description="Check a model and let all jobs that come in from now on run it.",
    )
    activate.add_argument("model", metavar="NAME-VERSION", help="the model, as its folder is named")
    shadow = actions.add_parser(
        "shadow",
        help="begin, change or end the shadow model",
        description="Run a second model on every cycle after its product is published; it is scored, and not "
        "published.",
    )
    shadow.add_argument("model", metavar="NAME-VERSION", help="the model, or none to end it")
    withdraw = actions.add_parser(
        "withdraw",
        help="let the settings name the model again",
        description="Withdraw a choice: RAINPOST_MODEL or RAINPOST_SHADOW_MODEL names the model again.",
    )
    withdraw.add_argument("role", choices=("active", "shadow"))
    for action, command in ((activate, "activate"), (shadow, "shadow"), (withdraw, "withdraw")):
        action.set_defaults(command=command)
    for action in (activate, shadow):
        action.add_argument("--expected", metavar="NAME-VERSION", help="only if this model has the role now")


def _add_keys_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    module = "service.key_commands"
    keys = add(
        "keys",
        "list, create, rotate or revoke API keys",
        "List the API keys of a protected service (RAINPOST_ACCESS=protected), or change them, in its "
        "database. A running service goes by it within two seconds.",
        module,
    )
    actions = keys.add_subparsers(title="actions", metavar="ACTION")
    create = actions.add_parser(
        "create", help="make a key", description="Make a key and print it: it cannot be shown again."
    )
    create.add_argument("name", metavar="NAME", help="whose it is, or what for; shown in lists and logs")
    create.add_argument(
        "--scope",
        action="append",
        required=True,
        choices=SCOPES,
        help="what it allows; may be given several times. "
        + "; ".join(f"{scope}: {meaning}" for scope, meaning in MEANINGS.items()),
    )
    create.add_argument("--days", type=_count, metavar="N", help="how long it holds (default: until revoked)")
    rotate = actions.add_parser(
        "rotate",
        help="make a new key in the place of one",
        description="Make and print a new key of the same name and scopes; the old one goes on for a while.",
    )
    rotate.add_argument(
        "--overlap-hours",
        type=float,
        default=24,
        metavar="HOURS",
        help="how long the old key still holds (default: 24)",
    )
    revoke = actions.add_parser(
        "revoke", help="end a key", description="End a key, or all keys of a name, at once."
    )
    for action, command in ((create, "create"), (rotate, "rotate"), (revoke, "revoke")):
        action.set_defaults(command=command)
    for action in (rotate, revoke):
        action.add_argument("which", metavar="ID-OR-NAME", help="the key, as `rainpost keys` lists it")


def _add_backup_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    backup = add(
        "backup",
        "write a backup while the service runs",
        "Write databases, data folder and models into a folder, or what is new since the backup before. The "
        "service may go on meanwhile.",
        "service.backup_commands",
    )
    backup.add_argument("target", type=Path, metavar="TARGET", help="folder of the backup")
    backup.add_argument(
        "--dump",
        type=Path,
        metavar="FILE",
        help="what `pg_dump --format=custom` wrote just before; without it pg_dump is run here",
    )
    restore = add(
        "restore",
        "put a backup into an empty data folder",
        "Put a backup into an empty RAINPOST_DATA_FOLDER, its databases with it, and models that are not "
        "installed; check all that was published. No service may run.",
        "service.backup_commands",
    )
    restore.add_argument("source", type=Path, metavar="SOURCE", help="folder of the backup")
    restore.add_argument(
        "--without-database",
        action="store_true",
        help="the files alone, beside a PostgreSQL database that pg_restore has restored",
    )


def _add_files(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", nargs="+", type=Path, metavar="FILE", help="GRIB2 or NetCDF, in any order")
    command.add_argument(
        "--model", metavar="NAME", help="NAME-VERSION, or a NAME for its highest version (RAINPOST_MODEL)"
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("a whole number from 1 on")
    return int(text)


def _explain(error: RainpostError) -> str:
    lines = [f"rainpost: {error.what}"]
    for name in ("where", "expected", "got", "advice"):
        text = getattr(error, name)
        if text:
            lines.append(f"  {name:<9} {text}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
