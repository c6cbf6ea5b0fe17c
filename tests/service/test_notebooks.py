"""The notebooks of the documentation run from top to bottom against a running service.

A notebook is JSON, and these have no magics: their cells are run here as they stand, without a kernel, so
that the tests need none of the thirty packages of one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.conftest import ROOT
from tests.service.sample_cycle import REFERENCE_TIME, write_cycle
from tests.service.sample_observation import sample_rain_mm, write_dfs
from tests.service.sample_service import ServiceClient

NOTEBOOKS = sorted((ROOT / "service" / "notebooks").glob("*.ipynb"))
HOUR = np.timedelta64(1, "h")


def cells(path: Path) -> list[dict[str, Any]]:
    """Of a notebook, with its code."""
    document = json.loads(path.read_text())
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    found: list[dict[str, Any]] = document["cells"]
    assert len({cell["id"] for cell in found}) == len(found)
    return found


def run_notebook(path: Path) -> dict[str, Any]:
    """What the names stand for after all cells."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for cell in cells(path):
        if cell["cell_type"] == "code":
            code = compile("".join(cell["source"]), f"{path.name}, cell {cell['id']}", "exec")
            exec(code, namespace)  # noqa: S102 - the notebook is ours
    return namespace


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without a screen; closed at the end."""
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_what_a_run_leaves(path: Path) -> None:
    for cell in cells(path):
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.usefixtures("figures")
def test_from_a_cycle_to_a_reliability_plot(
    client: ServiceClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_cycle(tmp_path)
    for lead in (2, 3):
        write_dfs(tmp_path, REFERENCE_TIME + lead * HOUR, sample_rain_mm(lead))
    monkeypatch.setenv("RAINPOST_URL", str(client.base_url))
    monkeypatch.setenv("RAINPOST_CYCLE", str(tmp_path))
    names = run_notebook(ROOT / "service" / "notebooks" / "reliability.ipynb")
    assert "1 products" in capsys.readouterr().out
    figure = names["figure"]
    assert isinstance(figure, Figure)
    for column, threshold_mm in enumerate((0.1, 10.0)):
        counted = client.get("/verification", params={"threshold": threshold_mm}).json()["scores"]
        (ours,) = (one for one in counted if one["source"] == "model" and one["lead_hours"] is None)
        expected = [(one["mean_probability"], one["observed_frequency"]) for one in ours["reliability"]]
        drawn = figure.axes[column].lines[-1].get_xydata()
        assert isinstance(drawn, np.ndarray)
        np.testing.assert_allclose(drawn[np.isfinite(drawn).all(axis=1)], expected, atol=1e-6)
        heights = [patch.get_height() for patch in figure.axes[2 + column].patches]  # type: ignore[attr-defined]
        assert [height for height in heights if height] == [one["forecasts"] for one in ours["reliability"]]
