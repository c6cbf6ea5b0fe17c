"""Who runs a command, for histories."""

from __future__ import annotations

import getpass
import os
import socket


def current_user() -> str:
    """``name@machine``."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        # In a container a user may have no name.
        name = f"user {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
