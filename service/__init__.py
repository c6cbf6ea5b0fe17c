"""The operational half of Rainpost: a forecast cycle in, three-class probability fields out.

Nothing here imports torch or ``training``; the two halves meet only through ``models/``.
"""

# The wheels of pyproj and eccodes each carry a copy of PROJ; whichever loads second breaks unless pyproj
# is first. The wheel of eccodes also carries SQLite 3.26, which takes the place of Python's own in a process
# that loads it before ``sqlite3`` and is too old for the job database. This file runs before any module that
# needs one of them.
import sqlite3 as sqlite3

import pyproj as pyproj
