"""The operational half of Rainpost: a forecast cycle in, three-class probability fields out.

Nothing here imports torch or ``training``; the two halves meet only through ``models/``.
"""
