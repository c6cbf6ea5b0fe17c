"""Trees: what they are told of a cell, which cells they see, and that they learn."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from service.errors import InputError
from training.forecasts import of_amounts
from training.samples import DataSettings, Split
from training.trees import Neighbourhoods, TreesSettings, drawn_cells, fit

CHANNELS = ("eastward_wind_500hpa", "northward_wind_500hpa", "precipitation_1h")
SMALL = TreesSettings(name="trees", rounds=10, cells_per_class=60, cells_per_leaf=20, learning_rate=0.3)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other take long where the cores are busy."""
    with threadpool_limits(1):
        yield


def _fields() -> np.ndarray:
    y, x = np.mgrid[0.0:30, 0.0:40]
    rain = np.zeros((30, 40))
    rain[10, 20] = 90
    return np.stack([-2 * x, -y, rain]).astype(np.float32)


def test_a_cell_is_told_of_its_neighbourhood() -> None:
    features = Neighbourhoods(CHANNELS)(_fields(), 27).reshape(30, 40, -1)
    at, beside, far = features[10, 20], features[13, 20], features[25, 5]
    assert features.shape[-1] == 3 + 3 + 5 + 1 + 1
    assert at[:3].tolist() == [-40, -10, 90]
    assert at[3:6] == pytest.approx([-40, -10, 90 / 225], rel=1e-4)
    # maximum and mean over 3, maximum and mean over 7, maximum over 15
    assert at[6:11] == pytest.approx([90, 10, 90, 90 / 49, 90], rel=1e-4)
    assert beside[6:11] == pytest.approx([0, 0, 90, 90 / 49, 90], abs=1e-4)
    assert far[6:11] == pytest.approx([0] * 5, abs=1e-4)
    assert at[11] == pytest.approx(6 * 2 + 6 * 1)
    assert at[12] == 27


def test_a_level_without_both_winds_has_no_convergence() -> None:
    features = Neighbourhoods(CHANNELS[1:])(_fields()[1:], 25)
    assert features.shape[-1] == 2 + 2 + 5 + 1


def test_without_precipitation_there_are_no_trees() -> None:
    with pytest.raises(InputError, match="No channel is precipitation"):
        Neighbourhoods(CHANNELS[:2])


def test_drawn_cells_stand_for_all_of_their_class() -> None:
    rain = np.zeros((20, 20), np.float32)
    rain[0] = 1
    rain[1, :3] = 20
    rain[5] = np.nan
    cells, classes, weights = drawn_cells(rain, 10, np.random.default_rng(0))
    assert len(set(cells.tolist())) == len(cells) == 23
    assert np.bincount(classes, weights).tolist() == pytest.approx([400 - 20 - 20 - 3, 20, 3])
    assert np.array_equal(np.digitize(rain.ravel()[cells], (0.1, 10)), classes)


def test_trees_learn_and_repeat(write_dataset: Callable[..., DataSettings], tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "data.zarr", cycles=12)
    training, test = Split(dataset, "train"), Split(dataset, "test")
    forecast = fit(SMALL, training, seed=1)(test)
    assert forecast.probabilistic
    assert (forecast.strengths[0] >= forecast.strengths[1]).all()
    observed = test.rain_mm(range(len(test)))
    raw = of_amounts(test.raw_rain_mm())
    for place, threshold in enumerate((0.1, 10.0)):
        event = observed >= threshold
        csi = [
            (warning & event).sum() / ((warning | event) & ~np.isnan(observed)).sum()
            for warning in (forecast.untuned[place], raw.untuned[place])
        ]
        assert csi[0] > csi[1]
    # Drawn cells count as often as they occur: the mean probability is the frequency.
    seen = ~np.isnan(observed)
    assert forecast.strengths[0][seen].mean() == pytest.approx((observed[seen] >= 0.1).mean(), abs=0.03)
    again = fit(SMALL, training, seed=1)(test)
    np.testing.assert_array_equal(forecast.strengths, again.strengths)


def test_a_class_that_never_occurs_has_no_probability(dataset: DataSettings) -> None:
    class Drizzle(Split):
        def rain_mm(self, indices: object) -> np.ndarray:
            return np.minimum(super().rain_mm(indices), 5)  # type: ignore[arg-type]

    test = Split(dataset, "test")
    forecast = fit(SMALL, Drizzle(dataset, "train"), seed=1)(test)
    assert forecast.strengths[1].max() == 0
    assert forecast.strengths[0].max() > 0.5
