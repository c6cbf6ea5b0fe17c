"""The model that is shipped: the highest version of ``nano`` that lies in ``models/``."""

from pathlib import Path
from typing import Final

from service.model_folder import select_model

SHIPPED: Final = select_model(Path(__file__).parents[1] / "models", "nano")
