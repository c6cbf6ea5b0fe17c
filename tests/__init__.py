"""Tests of both halves and of the house."""

import service as service  # for the order in which it loads libraries
