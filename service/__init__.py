"""The operational half of Rainpost: a forecast cycle in, three-class probability fields out.

Nothing here imports torch or ``training``; the two halves meet only through ``models/``.
"""

# The wheels of pyproj and eccodes each carry a copy of PROJ; whichever loads second breaks unless pyproj
# is first, and this file runs before any module that needs either.
import pyproj as pyproj
