"""Campaigns that try to break the service: `make torture` runs them in full, `make test` in short.

A campaign is a module with a command, ``python -m tests.torture.NAME --count N --seed S``, which shows its
progress, prints its figures and exits with status 1 where a promise was broken, and beside it
``test_NAME.py``, its short form. The figures stand in ``service/RELIABILITY.md``.
"""
