"""RESULTS.md: gathers the scores of the runs and writes tables and pictures of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Final

from matplotlib.figure import Figure

from service.channels import THRESHOLDS_MM
from service.errors import InputError
from training import figures, illustrations, result_tables
from training.evaluation import SCORES, read_evaluation
from training.figures import LeadScores, Learning
from training.result_tables import TUNED, Line
from training.results import Result, Results, read_results, write_results
from training.rows import ARCHIVE, BASELINES, CEILING, RUNS, WIDTHS, Part, folder
from training.samples import DataSettings, Split

PACKAGE: Final = Path(__file__).parent
RESULTS: Final = PACKAGE / "results.json"
REAL_RESULTS: Final = PACKAGE / "results_real.json"
TEMPLATE: Final = PACKAGE / "RESULTS.template.md"
PAGE: Final = PACKAGE / "RESULTS.md"
PICTURES: Final = PACKAGE / "pictures"


Key = tuple[str, int | None, int | None]
"""Row, seed and fold."""


def _paper(rain: float, heavy: float) -> Mapping[float, float]:
    return dict(zip(THRESHOLDS_MM, (rain, heavy), strict=True))


OURS: Final = "internimage_p_transfer"

TABLE_1: Final = (
    Line("raw", "raw RDAPS-KIM", _paper(0.296, 0.062)),
    Line("smoothed", "raw, smoothed"),
    Line("quantile_mapping", "quantile mapping"),
    Line("trees", "boosted trees"),
    Line("unet", "UNet + p*"),
    Line("metnet", "MetNet", _paper(0.276, 0.007)),
    Line("metnet_p", "MetNet + p*", _paper(0.271, 0.057)),
    Line("internimage_p", "InternImage + p*", _paper(0.316, 0.017)),
    Line("internimage_transfer", "InternImage + transfer", _paper(0.329, 0.060)),
    Line(OURS, "InternImage + p* + transfer", _paper(0.347, 0.093)),
)
TABLE_4: Final = (
    Line("pretrained_50", "50 %", _paper(0.310, 0.088)),
    Line("pretrained_75", "75 %", _paper(0.320, 0.090)),
    Line(OURS, "90 %", _paper(0.322, 0.089)),
)
TABLE_5: Final = (
    Line("masked_0", "0 %", _paper(0.318, 0.083)),
    Line(OURS, "25 %", _paper(0.347, 0.093)),
    Line("masked_50", "50 %", _paper(0.322, 0.086)),
)
LABELS: Final = (
    Line("internimage_p", "A (the paper's), weights 1, 5, 10"),
    Line("labels_e", "E, weights 1, 5, 10"),
    Line("internimage_one_hot", "one-hot, weights 1, 5, 10"),
    Line("unweighted", "one-hot, unweighted"),
)
ENCODER: Final = (
    Line(OURS, "pre-trained, half the rate"),
    Line("transfer_fixed", "pre-trained, fixed (Figure 1)"),
    Line("transfer_full_rate", "pre-trained, full rate"),
    Line("transfer_skip", "pre-trained, half the rate, with the unmasked input added"),
    Line("embedding_skip_scratch", "not pre-trained, with the unmasked input added"),
    Line("embedding_scratch", "same network, not pre-trained"),
    Line("internimage_p", "no masked embedding, not pre-trained"),
    Line("longer", "the same, fitted as long as both stages together"),
)
CHANGES: Final = (
    Line("internimage_p", "InternImage + p*"),
    Line("ordinal", "cumulative outputs, proper score"),
    Line("unweighted", "one-hot labels, no class weights"),
    Line("conditions", "lead and hour as inputs"),
    Line("no_average", "no weight averaging"),
    Line("csi_loss", "soft CSI in the loss"),
    Line("embedding_skip_scratch", "25 % masked, the unmasked input added to the embedding"),
    Line("crops", "random crops"),
    Line("whole_grid", "the whole QPE grid"),
    Line("camt", "channel attention and amount (CAMT)"),
    Line("refined", "two convolutions at full resolution after the decoder"),
    Line("longer", "3.4 times as many updates"),
    Line("internimage_p_flip", "averaged with the mirror image"),
)
FEW_LABELS: Final = {
    "pre-trained": {0.05: "labels_5_transfer", 0.2: "labels_20_transfer", 1.0: OURS},
    "from scratch": {0.05: "labels_5_scratch", 0.2: "labels_20_scratch", 1.0: "embedding_scratch"},
}
DECODER_WIDTHS: Final = tuple(
    Line(row, f"{width} channels{' (nano)' if row == 'internimage_p' else ''}")
    for width, row in WIDTHS.items()
)
BEST: Final = "best"
EXPORTED: Final = (
    Line(BEST, "exported model"),
    Line("best_skip", "the same, 25 % masked, the unmasked input added to the embedding"),
    Line("best_crops", "the same, random crops"),
)
DISTANCE: Final = (
    Line("smoothed", "raw, smoothed"),
    Line("trees", "boosted trees"),
    Line(OURS, "InternImage + p* + transfer"),
    Line("internimage_p", "InternImage + p*"),
    EXPORTED[0],
)
CEILINGS: Final = (
    Line(f"{CEILING}_estimate", "the estimate of what can be known"),
    Line(CEILING, "the bound that nobody can pass"),
)
REAL: Final = (
    Line("raw", "raw forecast"),
    Line("smoothed", "raw, smoothed"),
    Line("quantile_mapping", "quantile mapping"),
    Line("unet", "UNet + p*"),
    Line("internimage_p", "InternImage + p*"),
    Line("ordinal", "InternImage, cumulative outputs, proper score"),
    Line(OURS, "InternImage + p* + transfer"),
)


def gather(part: Part, path: Path) -> Results:
    """Adds the scores of all runs to those already in the file, and returns all.

    Runs take the place of older scores of the same row, seed and fold. Scores against other observations are
    refused: they cannot stand in one table.

    Args:
        part: of the runs.
        path: of the file.

    Raises:
        InputError: scores against different observations.
    """
    found = {_key(result): result for result in read_results(path)}
    for file in sorted((RUNS / part).glob("**/scores*.json")):
        result = Result(row=_row_of(part, file), evaluation=read_evaluation(file.parent, file.name))
        found[_key(result)] = result
    _check_observed(found, path)
    write_results(found.values(), path)
    return Results(found.values())


def _check_observed(found: Mapping[Key, Result], path: Path) -> None:
    """All rows, or all of a fold, must have the samples, days, cells and events of the first.

    The digest of the data may differ: simulating a plan again on another machine, or with other numbers of
    threads, gives the same rain and other last bits of the fields.
    """
    first: dict[int | None, tuple[object, ...]] = {}
    other = [
        key
        for key, result in found.items()
        if first.setdefault(key[2], _observed(result)) != _observed(result)
    ]
    if other:
        raise InputError(
            "Scores against other observations",
            where=f"{path}: {', '.join(map(str, other[:3]))}",
            expected="the samples, days, observed cells and events of the other rows",
            advice="make the archive from the same plan, score the same part of the fields, or take these "
            "rows out of the file",
        )


def _observed(result: Result) -> tuple[object, ...]:
    one = result.evaluation
    return one.samples, one.days, one.leads_hours, one.cells, tuple(at.events for at in one.thresholds)


def _key(result: Result) -> Key:
    return result.row, result.evaluation.seed, result.evaluation.fold


def _row_of(part: Part, file: Path) -> str:
    """``ROW/seed_1/scores-flip.json`` is of ROW_flip, ``ceiling/bound/scores.json`` of ceiling_bound."""
    folders = file.parent.relative_to(RUNS / part).parts
    names = [name for name in folders if not name.startswith(("seed_", "fold_"))]
    averaged = file.stem.removeprefix(Path(SCORES).stem).split("-")[1:2]
    return "_".join([*names, *averaged])


def _facts(results: Results) -> str:
    """What computed what, as the scores themselves say."""
    evaluations = [
        one for row in results.rows for seed in results.seeds(row) for one in results.evaluations(row, seed)
    ]
    first = evaluations[0]
    commits = Counter((one.fitted_commit or one.commit)[:10] for one in evaluations)
    machines = Counter(one.fitted_machine or one.machine for one in evaluations)
    digests = Counter(f"`{one.data_digest[:16]}`" for one in evaluations)
    samples = ", ".join(f"{name} {number}" for name, number in first.samples.items())
    cycles = ", ".join(f"{name} {number}" for name, number in first.cycles.items())
    shares = " / ".join(f"{100 * share:.2f}" for share in first.class_shares["test"])
    return "\n".join(
        (
            f"- Data: digest {_listed(digests)}; samples: {samples}; cycles: {cycles}. Of the "
            f"observed cells of the test split {shares} % have no rain, rain, heavy rain.",
            f"- {len(evaluations)} scored runs. Fitted at: {_listed(commits)}. On: {_listed(machines)}.",
        )
    )


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({number})" for name, number in counts.most_common())


def _learnings(results: Results) -> list[Learning]:
    """CSI with tuned thresholds by share of the labels."""
    found = []
    for threshold in THRESHOLDS_MM:
        for name, rows in FEW_LABELS.items():
            csi = {
                share: tuple(results.csi_by_seed(row, threshold, TUNED).values())
                for share, row in rows.items()
                if results.seeds(row)
            }
            if csi:
                found.append(Learning(name, threshold, csi))
    return found


def _lead_scores(results: Results, lines: Sequence[tuple[Line, str]]) -> list[LeadScores]:
    found = []
    for threshold in THRESHOLDS_MM:
        for line, decision in lines:
            csi = {lead: one.value for lead, one in results.by_lead(line.row, threshold, decision).items()}
            if csi:
                found.append(LeadScores(line.label, threshold, csi))
    return found


def _label_share_table(results: Results) -> str:
    lines = [
        Line(row, f"{100 * share:g} % of the cycles, {name}")
        for share in (0.05, 0.2, 1.0)
        for name, row in ((name, rows[share]) for name, rows in FEW_LABELS.items())
    ]
    return result_tables.comparison(results, lines)


def _charts(results: Results) -> list[Path]:
    """Figures that follow from the scores alone; none of what was not run."""
    by_row = {line.row: line for line in TABLE_1}
    raw = by_row["raw"]
    shown = [(by_row[row], TUNED) for row in ("smoothed", "trees", "internimage_p", OURS)]
    made: dict[str, Figure] = {}
    if leads := _lead_scores(results, [(raw, "value"), *shown]):
        made["scores_by_lead.png"] = figures.scores_by_lead(leads, raw.label)
    if learnings := _learnings(results):
        made["scores_by_label_share.png"] = figures.scores_by_label_share(learnings)
    if curves := _reliability_curves(results):
        made["reliability.png"] = figures.reliability(curves)
    for name, figure in made.items():
        figures.save(figure, PICTURES / name)
    return [PICTURES / name for name in made]


def _reliability_curves(results: Results) -> list[figures.Reliability]:
    found = []
    for threshold in THRESHOLDS_MM:
        for row, name in ((OURS, "InternImage + p* + transfer"), (BEST, "exported model")):
            for calibrated in (False, True):
                summary = results.probability(row, threshold, calibrated=calibrated)
                if summary:
                    label = f"{name}, {'calibrated' if calibrated else 'as fitted'}"
                    found.append(
                        figures.Reliability(
                            label, threshold, summary.forecast, summary.observed, summary.share
                        )
                    )
    return found


def _illustrations() -> list[Path]:
    """Figures that need the runs; none where these are not at hand."""
    if not ARCHIVE.exists():
        print(f"no {ARCHIVE}: the pictures that need it stay as they are")
        return []
    data = DataSettings(archive=ARCHIVE)
    systems = {
        line.label: folder("experiment", line.row, None if line.row in BASELINES else 1) for line in TABLE_1
    }
    systems.pop("raw RDAPS-KIM")
    best = folder("experiment", BEST, 1)
    return illustrations.draw(
        PICTURES,
        Split(data, "test"),
        Split(data, "train"),
        folder("experiment", "pretrain_90", 1),
        best if (best / SCORES).exists() else folder("experiment", OURS, 1),
        systems | {"exported model": best},
    )


def write() -> list[Path]:
    """Gathers, draws and writes; returns the paths of what was made.

    Raises:
        InputError: nothing was scored yet, or scores against different observations.
    """
    results = gather("experiment", RESULTS)
    real = gather("real", REAL_RESULTS)
    if not results.rows:
        raise InputError(
            "Nothing was scored yet", where=str(RUNS), advice="run python -m training.experiment run"
        )
    rain, heavy = THRESHOLDS_MM
    text = Template(TEMPLATE.read_text()).substitute(
        facts=_facts(results),
        table_1_rain=result_tables.scores(results, TABLE_1, rain),
        table_1_heavy=result_tables.scores(results, TABLE_1, heavy),
        ranking=result_tables.ranking(results, TABLE_1),
        fractions=result_tables.fractions(results, TABLE_1, heavy),
        by_lead=result_tables.by_lead(results, TABLE_1, rain),
        table_4=result_tables.comparison(results, TABLE_4, OURS),
        table_5=result_tables.comparison(results, TABLE_5, OURS),
        labels=result_tables.comparison(results, LABELS, LABELS[0].row),
        encoder=result_tables.comparison(results, ENCODER, OURS),
        label_shares=_label_share_table(results),
        changes=result_tables.comparison(results, CHANGES, CHANGES[0].row),
        distance=result_tables.distance(results, DISTANCE, TABLE_1[0], TABLE_1[1], CEILINGS[0]),
        ceiling=result_tables.comparison(results, CEILINGS),
        widths=result_tables.comparison(results, DECODER_WIDTHS, WIDTHS[32]),
        best_rain=result_tables.scores(results, EXPORTED, rain),
        best_heavy=result_tables.scores(results, EXPORTED, heavy),
        best_changes=result_tables.comparison(results, EXPORTED, BEST),
        reliability=result_tables.reliability(results, (*TABLE_1[3:], EXPORTED[0])),
        real_facts=_facts(real) if real.rows else result_tables.NOT_RUN,
        real_rain=result_tables.scores(real, REAL, rain),
        real_heavy=result_tables.scores(real, REAL, heavy),
    )
    PAGE.write_text(text)
    return [RESULTS, REAL_RESULTS, PAGE, *_charts(results), *_illustrations()]
