"""The operational half of Rainpost: a forecast cycle in, three-class probability fields out.

Nothing here imports torch or ``training``; the two halves meet only through ``models/``.
"""

# The wheel of eccodes carries libraries of its own that take the place of others' in a process that loads it
# first: PROJ (pyproj then fails and crashes at exit), SQLite 3.26 (Python's sqlite3 then is too old for the
# job database) and OpenLDAP (psycopg then crashes at exit). This file runs before any module that needs one
# of them.
import sqlite3 as sqlite3

import psycopg as psycopg
import pyproj as pyproj
