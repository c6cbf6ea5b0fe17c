"""The rows of the experiment: what is fitted and scored, with which seeds, and in which order.

Every row has a configuration of its name in ``configs/experiment/`` (on the simulation) or ``configs/real/``
(on real pairs).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from training.configuration import configuration_files
from training.runner import Step

CONFIGURATIONS: Final = Path(__file__).parent / "configs"
RUNS: Final = Path("runs")
ARCHIVE: Final = Path("data/simulated.zarr")
WHOLE_GRID: Final = Path("data/simulated_whole_grid.zarr")
"""The same cycles as in ``ARCHIVE`` on the whole QPE grid."""

PAIRS: Final = Path("data/gfsnam.zarr")

Part = Literal["experiment", "real"]
SEEDS: Final = (1, 2, 3)
FOLDS: Final = 5
"""Of the cross-validation on real pairs; they take the place of the seeds."""

CEILING: Final = "ceiling"
CEILING_MEMBERS: Final = 32

BASELINES: Final = ("raw", "smoothed", "quantile_mapping", "trees")
REAL_BASELINES: Final = ("raw", "smoothed", "quantile_mapping")


@dataclass(frozen=True)
class Row:
    """A network of the experiment.

    name: of its configuration.
    seeds: or folds.
    pretrained: the pre-training that it starts from.
    averaging: options of ``training.evaluate``; the row is then a second scoring of ``scored``.
    archive: where the configuration finds its samples, on the simulation.
    """

    name: str
    seeds: tuple[int, ...] = (1,)
    pretrained: str | None = None
    averaging: tuple[str, ...] = ()
    scored: str | None = None
    archive: Path = ARCHIVE


METNET: Final = (Row("metnet", SEEDS), Row("metnet_p", SEEDS))
"""They take twice the time of the others."""
TABLE_1: Final = (
    Row("unet", SEEDS),
    Row("internimage_p", SEEDS),
    Row("internimage_transfer", SEEDS, "pretrain_90"),
    Row("internimage_p_transfer", SEEDS, "pretrain_90"),
)
WHY: Final = (
    Row("embedding_scratch", SEEDS),
    Row("internimage_one_hot"),
    Row("transfer_skip", pretrained="pretrain_90_skip"),
    Row("embedding_skip_scratch"),
    Row("transfer_fixed", pretrained="pretrain_90"),
    Row("transfer_full_rate", pretrained="pretrain_90"),
)
MASKS: Final = (
    Row("pretrained_50", pretrained="pretrain_50"),
    Row("pretrained_75", pretrained="pretrain_75"),
    Row("masked_0", pretrained="pretrain_90"),
    Row("masked_50", pretrained="pretrain_90"),
)
BETTER: Final = (
    Row("labels_e"),
    Row("unweighted"),
    Row("ordinal"),
    Row("conditions"),
    Row("no_average"),
    Row("csi_loss"),
    Row("crops"),
    Row("whole_grid", archive=WHOLE_GRID),
    Row("camt"),
    Row("refined"),
    Row("longer"),
    Row("best"),
    Row("best_skip"),
    Row("best_crops"),
    Row("internimage_p_flip", averaging=("--flip",), scored="internimage_p"),
    Row(
        "internimage_p_transfer_masks",
        averaging=("--masks", "8"),
        scored="internimage_p_transfer",
        pretrained="pretrain_90",
    ),
)
WIDTHS: Final = {8: "width_8", 16: "width_16", 32: "internimage_p", 64: "width_64", 128: "width_128"}
"""Rows that differ in nothing but the width of the decoder."""
WIDTH_ROWS: Final = tuple(Row(name) for name in WIDTHS.values() if name != "internimage_p")
FEW_LABELS: Final = (
    Row("labels_5_transfer", SEEDS, "pretrain_90"),
    Row("labels_5_scratch", SEEDS),
    Row("labels_20_transfer", SEEDS, "pretrain_90"),
    Row("labels_20_scratch", SEEDS),
)
REAL: Final = (
    Row("unet", tuple(range(FOLDS))),
    Row("internimage_p", tuple(range(FOLDS))),
    Row("ordinal", tuple(range(FOLDS))),
    Row("internimage_p_transfer", tuple(range(FOLDS)), "pretrain"),
)


def folder(part: Part, row: str, number: int | None) -> Path:
    """Where a run lies; ``number`` is its seed or fold, None where nothing is drawn."""
    whole = RUNS / part / row
    if number is None:
        return whole
    return whole / f"{'seed' if part == 'experiment' else 'fold'}_{number}"


def steps(real_pairs: Path | None) -> list[Step]:
    """All steps, the most telling first.

    Args:
        real_pairs: the file with real pairs (``training.pairs``); None leaves the part on real data out.
    """
    found: dict[str, Step] = {}
    for step in [*_simulated_steps(), *(_real_steps(real_pairs) if real_pairs else ())]:
        found.setdefault(step.name, step)
    return list(found.values())


def _simulated_steps() -> list[Step]:
    simulation = ("training.dataset", "--cycles", "2000", "--evaluation-cycles", "200", "--seed", "1")
    archive = Step("archive", (*simulation, "--out", str(ARCHIVE)))
    whole_grid = Step("archive_whole_grid", (*simulation, "--whole-grid", "--out", str(WHOLE_GRID)))
    archives = {ARCHIVE: archive, WHOLE_GRID: whole_grid}
    steps = [archive, *(_baseline("experiment", name, None, archive.name) for name in BASELINES)]
    groups = ((TABLE_1, 1), (METNET, 1), (BETTER, 1), (WIDTH_ROWS, 1), (WHY, 1), (MASKS, 1), (TABLE_1, 2))
    rest = ((TABLE_1, 3), (METNET, 2), (METNET, 3), (WHY, 2), (WHY, 3), (FEW_LABELS, 2), (FEW_LABELS, 3))
    for rows, seed in (*groups, (FEW_LABELS, 1), *rest):
        for row in rows:
            if seed in row.seeds:
                needed = archives[row.archive]
                steps += [needed, *_row("experiment", row, seed, needed.name)]
    steps.append(
        Step(
            f"experiment/{CEILING}",
            (
                "training.ceiling", "--data", str(ARCHIVE), "--members", str(CEILING_MEMBERS),
                "--out", str(folder("experiment", CEILING, None)),
            ),
            after=(archive.name,),
        )
    )  # fmt: skip
    return steps


def _real_steps(pairs: Path) -> list[Step]:
    archive = Step(
        "pairs",
        (
            "training.pairs", "--npz", str(pairs), "--forecast", "fcst_mm", "--observed", "obs_mm",
            "--out", str(PAIRS),
        ),
        reads=(pairs,),
    )  # fmt: skip
    steps = [archive]
    for fold in range(FOLDS):
        steps += [_baseline("real", name, fold, archive.name) for name in REAL_BASELINES]
        for row in REAL:
            steps += _row("real", row, fold, archive.name)
    return steps


def _baseline(part: Part, name: str, fold: int | None, archive: str) -> Step:
    return _fit("training.baseline", part, name, fold, (archive,))


def _row(part: Part, row: Row, number: int, archive: str) -> list[Step]:
    """Pre-training, fine-tuning and scoring of a row; steps that rows share have the same name."""
    name = row.scored or row.name
    steps, after = [], (archive,)
    extra: tuple[str, ...] = ()
    if row.pretrained:
        steps.append(_fit("training.pretrain", part, row.pretrained, number, after))
        after = (steps[0].name,)
        extra = ("--set", f"transfer.pretrained={folder(part, row.pretrained, number)}")
    fit = _fit("training.finetune", part, name, number, after, extra)
    run = folder(part, name, number)
    score = Step(
        f"{part}/{row.name}/{number}/scores",
        ("training.evaluate", "--run", str(run), *row.averaging),
        after=(fit.name,),
    )
    return [*steps, fit, score]


def _fit(
    module: str,
    part: Part,
    name: str,
    number: int | None,
    after: tuple[str, ...],
    extra: tuple[str, ...] = (),
) -> Step:

    path = CONFIGURATIONS / part / f"{name}.toml"
    drawn: tuple[str, ...] = ()
    if number is not None:
        drawn = ("--set", f"{'seed' if part == 'experiment' else 'data.splits.fold'}={number}")
    return Step(
        f"{part}/{name}" if number is None else f"{part}/{name}/{number}",
        (module, "--config", str(path), "--out", str(folder(part, name, number)), *drawn, *extra),
        reads=configuration_files(path),
        after=after,
    )
