"""The offline half of Rainpost: simulation, datasets, networks, training, evaluation and export."""

import service as service  # for the order in which it loads PROJ
