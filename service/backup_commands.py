"""What ``rainpost backup`` and ``rainpost restore`` do."""

from __future__ import annotations

import argparse
import sys

from service.backup import Backup, back_up
from service.backup import restore as put_back
from service.settings import Settings


def backup(options: argparse.Namespace) -> None:
    """Write a backup of a service, whether it runs or not."""
    _say("backed up", back_up(Settings.load(), options.target, options.dump))


def restore(options: argparse.Namespace) -> None:
    """Put a backup into an empty data folder."""
    _say("restored", put_back(Settings.load(), options.source, with_database=not options.without_database))


def _say(what: str, found: Backup) -> None:
    sys.stdout.write(
        f"{what} the state of {found.created:%Y-%m-%dT%H:%M:%SZ}: {found.products} revisions of products, "
        f"{found.observations} of observations, {found.kind}, models {', '.join(found.models) or 'none'}\n"
    )
