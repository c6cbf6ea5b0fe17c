"""Two arrays as an archive of one channel."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import training.pairs
from service.errors import InputError
from training.archive_store import Archive
from training.pairs import build, continued, padded
from training.samples import DataSettings, Split
from training.splits import SPLITS, FoldSplits

SHAPE = (12, 33, 20)


def _arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    raw_mm, rain_mm = generator.gamma(0.3, 5, (2, *SHAPE))
    rain_mm[:, :, 0] = raw_mm[:, :, 0] = np.nan
    rain_mm[3, 5, 5] = np.nan
    return {"raw": raw_mm, "seen": rain_mm}


def _saved(folder: Path, **arrays: np.ndarray) -> Path:
    path = folder / "pairs.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_pairs_are_padded_and_only_observed_cells_count(tmp_path: Path) -> None:
    arrays = _arrays()
    digest = build(_saved(tmp_path, **arrays), "raw", "seen", tmp_path / "a.zarr")
    archive = Archive(tmp_path / "a.zarr")
    assert archive.digest == digest
    assert archive.field_shape == (64, 32)
    assert archive.header.channels == ("precipitation",)
    assert archive.header.specification is None
    assert not archive.header.simulated
    assert archive.index.cells.sum() == 12 * 33 * 19 - 1
    for row in (0, 3, 11):
        rain_mm, raw_mm = archive.rain_mm(row), archive.inputs(row)[0]
        np.testing.assert_array_equal(rain_mm[:33, :20], arrays["seen"][row].astype(np.float32))
        assert np.isnan(rain_mm[33:]).all()
        assert np.isnan(rain_mm[:, 20:]).all()
        np.testing.assert_array_equal(raw_mm[:33, 1:20], arrays["raw"][row, :, 1:].astype(np.float32))
        np.testing.assert_array_equal(raw_mm[:33, 0], raw_mm[:33, 1])
        np.testing.assert_array_equal(raw_mm[40:, 30], np.full(24, raw_mm[32, 19]))


def test_amounts_a_little_below_zero_are_zero(tmp_path: Path) -> None:
    arrays = _arrays()
    arrays["seen"][2, 4, 4], arrays["raw"][2, 4, 4] = -0.076, -0.099
    build(_saved(tmp_path, **arrays), "raw", "seen", tmp_path / "a.zarr")
    archive = Archive(tmp_path / "a.zarr")
    assert (archive.rain_mm(2)[4, 4], archive.inputs(2)[0, 4, 4]) == (0, 0)


def test_every_time_is_tested_once_by_the_folds(tmp_path: Path) -> None:
    build(_saved(tmp_path, **_arrays()), "raw", "seen", tmp_path / "a.zarr")
    tested = []
    for fold in range(4):
        settings = DataSettings(archive=tmp_path / "a.zarr", splits=FoldSplits(folds=4, fold=fold))
        split = Split(settings, "test")
        assert split.description.samples == {"train": 6, "validation": 3, "test": 3}
        assert set(split.description.class_shares) == set(SPLITS)
        np.testing.assert_array_equal(split.raw_rain_mm()[0], split.physical(0)[0])
        tested += split.reference_times.tolist()
    assert tested == sorted(tested)
    assert len(set(tested)) == 12


def test_the_command_goes_on_and_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = _saved(tmp_path, **_arrays())
    arguments = ["pairs", "--npz", str(path), "--forecast", "raw", "--observed", "seen"]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(tmp_path / "a.zarr")])
    training.pairs.main()
    first = capsys.readouterr().out
    assert first.startswith("12 samples, class shares [0.")
    training.pairs.main()
    assert capsys.readouterr().out == first


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"raw": None}, "missing; .*expected: raw, seen; got: seen"),
        ({"raw": np.zeros((12, 33, 21))}, r"do not fit.*\(12, 33, 21\), \(12, 33, 20\)"),
        ({"raw": np.zeros((33, 20)), "seen": np.zeros((33, 20))}, "do not fit"),
        ({"seen": np.full(SHAPE, -0.1)}, r"negative or infinite.*seen at .*\(0, 0, 0\)"),
        ({"raw": np.full(SHAPE, np.inf)}, "negative or infinite"),
        ({"raw": np.full(SHAPE, np.nan)}, "time 0 has no forecast"),
        ({"seen": np.full(SHAPE, np.nan)}, "nothing is observed"),
        ({"seen": np.array(["rain"])}, "cannot be read"),
    ],
)
def test_arrays_that_are_no_pairs_are_refused(
    tmp_path: Path, changed: dict[str, np.ndarray | None], match: str
) -> None:
    arrays = {name: values for name, values in (_arrays() | changed).items() if values is not None}
    with pytest.raises(InputError, match=match):
        build(_saved(tmp_path, **arrays), "raw", "seen", tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


def test_a_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("PK not really")
    for name in ("text.npz", "none.npz"):
        with pytest.raises(InputError, match="cannot be read"):
            build(tmp_path / name, "raw", "seen", tmp_path / "a.zarr")


def test_other_arrays_do_not_join_an_archive(tmp_path: Path) -> None:
    path = _saved(tmp_path, **_arrays())
    build(path, "raw", "seen", tmp_path / "a.zarr")
    with pytest.raises(InputError, match="holds something else"):
        build(path, "seen", "raw", tmp_path / "a.zarr")


@given(hnp.arrays(np.float32, (2, 5, 7), elements=st.sampled_from([0.0, 1.0, 7.5, np.nan])))
def test_padding_and_continuing_keep_what_is_there(fields: np.ndarray) -> None:
    wide = padded(fields)
    assert wide.shape == (2, 32, 32)
    np.testing.assert_array_equal(wide[:, :5, :7], fields)
    assert np.isnan(wide[:, 5:]).all()
    for field in wide:
        if not np.isnan(field).all():
            whole = continued(field)
            there = ~np.isnan(field)
            np.testing.assert_array_equal(whole[there], field[there])
            assert set(whole.ravel()) == set(field[there])
