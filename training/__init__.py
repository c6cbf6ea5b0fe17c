"""The offline half of Rainpost: simulation, datasets, networks, training, evaluation and export."""
