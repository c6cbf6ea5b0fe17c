"""The model card: what a model was trained on, how it scores, and what it must not be used for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue
from torch import nn

from service.channels import THRESHOLDS_MM
from service.specification import CycleSpecification
from training.evaluation import Evaluation
from training.finetune import Provenance
from training.networks.catalogue import InternImageSettings, MetNetSettings, UNetSettings
from training.result_tables import Line, reliability, scores, with_interval
from training.results import Result, Results
from training.samples import Split
from training.splits import SPLITS, FoldSplits, SpanSplits

MODEL, RAW, SMOOTHED = "model", "raw", "smoothed"
LABELS: Final = {RAW: "raw NWP", SMOOTHED: "raw NWP, smoothed"}
"""Systems that a card shows beside the model; others appear under their own names."""
SHOWN: Final = {RAW: ("amount",), SMOOTHED: ("tuned",)}
"""The decisions of a system that a card shows; of others all."""
DECISIONS: Final = {
    "amount": ("value",),
    "argmax, as fitted": ("argmax",),
    "argmax": ("calibrated_argmax",),
    "tuned": ("tuned",),
}

_CARD = """# {name} {version}

Three-class precipitation post-processor (no rain below 0.1 mm, rain, heavy rain from 10 mm in an hour) for
hourly forecasts of {source}, leads {first_lead} to {last_lead} h.

**{statement}**
{warning}

## Network
{architecture}; {parameters:.2f} million parameters.
Input: {inputs} z-scored channels on {ny} x {nx} cells. Output: class probabilities, calibrated inside the
graph.

## Training
- Data: {samples} samples of {cycles} cycles, digest `{digest}`. Made by {made_by}.
- Splits: {splits}.
- Labels: {labels}. Weights of the classes in the loss: {weights}.
- {pretraining}
- {updates} updates, batch {batch}, AdamW, learning rate {rate:g} ({schedule}), seed {seed}, commit
  `{commit}`.
- Calibration and decision thresholds: fitted on the validation split ({validation_samples} samples), of which
  no sample is in the scores below.

The command that makes it again:

    {command}

## Scores
{test_cycles} cycles ({test_samples} samples) that it never saw. Observed shares of the classes: {shares}.
Intervals: bootstrap over the {days} days.

{scores}

- argmax: the most probable class, as the model gives it. As fitted: the same before calibration, to compare
  with the paper; the model does not give it any more.
- tuned: the probability of exceeding from which the event is called, chosen for CSI on the validation split
  ({decisions}).
- raw NWP, smoothed: Gaussian smoothing of the raw rain, which needs no learning; width and level chosen on
  the validation split.

{gains}

## Probabilities
Brier score (smaller is better) beside that of the training split's frequency, and in how many twentieths of
the range of probabilities the event is as frequent as forecast, within 5 points:

{reliability}

## Limits
- {scope}
- Probabilities are calibrated to the period of the validation split: verify in another season, or after a
  change of the forecast model, before quoting one.
- Only the window, the season, the channels and the leads it was trained on.
"""


@dataclass(frozen=True)
class Release:
    """What is exported: the run, its data and scores, and the name it gets.

    beside: scores of other systems on the same samples, by system.
    """

    name: str
    version: str
    provenance: Provenance
    network: nn.Module
    evaluation: Evaluation
    split: Split
    cycle: CycleSpecification
    command: str
    beside: Mapping[str, Evaluation] = field(default_factory=dict)

    @property
    def statement(self) -> str:
        """One sentence for every user of the product."""
        samples = self.provenance.samples
        if self.split.description.simulated:
            return (
                f"Trained on {samples} simulated samples; it has never seen a real forecast or observation."
            )
        return f"Trained on {samples} samples of real cycles."

    @property
    def architecture(self) -> str:
        """The network in words."""
        match self.provenance.configuration.network:
            case InternImageSettings(
                size=size, embedding=embedding, channel_attention=attention, refinement=refinement
            ):
                depths, groups = ("-".join(map(str, numbers)) for numbers in (size.depths, size.groups))
                return (
                    f"{'Masked patch embedding, ' if embedding else ''}"
                    f"{'channel attention, ' if attention else ''}"
                    f"InternImage encoder ({size.channels} channels, depths {depths}, groups {groups}) and "
                    f"UPerNet decoder (width {size.decoder_width})"
                    f"{f', two convolutions at full resolution (width {refinement})' if refinement else ''}"
                )
            case UNetSettings(width=width):
                return f"UNet (width {width})"
            case MetNetSettings(start_width=width, halvings=halvings):
                return f"MetNet, KoMet's variant (width {width}, {halvings} halvings)"


def model_card(release: Release) -> str:
    """The card as Markdown."""
    simulated = release.split.description.simulated
    return _CARD.format(
        name=release.name,
        version=release.version,
        source=release.cycle.source.name,
        first_lead=min(release.cycle.leads_hours),
        last_lead=max(release.cycle.leads_hours),
        statement=release.statement,
        warning="Its probabilities mean nothing for real weather." if simulated else "",
        architecture=release.architecture,
        parameters=sum(parameter.numel() for parameter in release.network.parameters()) / 1e6,
        inputs=len(release.cycle.channels),
        ny=release.cycle.window.ny,
        nx=release.cycle.window.nx,
        command=release.command,
        scope="Scores on a simulation say nothing about scores on real forecasts."
        if simulated
        else "Scores hold for the period and the domain of the test split.",
        **_training_facts(release),
        **_score_facts(release),
    )


def _training_facts(release: Release) -> dict[str, object]:
    provenance, description = release.provenance, release.split.description
    configuration = provenance.configuration
    optimisation = configuration.optimisation
    return {
        "cycles": description.cycles["train"],
        "samples": provenance.samples,
        "made_by": _made_by(description.provenance),
        "splits": _splits(configuration.data.splits),
        "digest": provenance.data_digest[:16],
        "labels": configuration.labels,
        "weights": ", ".join(f"{weight:g}" for weight in configuration.class_weights),
        "pretraining": _pretraining(provenance),
        "updates": optimisation.updates,
        "batch": optimisation.batch,
        "rate": optimisation.learning_rate,
        "schedule": optimisation.schedule,
        "seed": configuration.seed,
        "commit": provenance.commit,
    }


def _made_by(provenance: Mapping[str, JsonValue]) -> str:
    facts: dict[str, JsonValue] = {}
    for key, value in provenance.items():
        facts |= value if isinstance(value, dict) else {key: value}
    maker = str(facts.pop("made_by", "hand"))
    others = ", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in facts.items())
    return f"{maker} ({others})" if others else maker


def _splits(splits: SpanSplits | FoldSplits) -> str:
    if isinstance(splits, FoldSplits):
        return f"fold {splits.fold} of {splits.folds}, {splits.gap_hours:g} h apart"
    spans = (
        f"{name} {', '.join(f'{first} to {end}' for first, end in splits.spans(name))}" for name in SPLITS
    )
    return f"{'; '.join(spans)}; at least {splits.gap_hours:g} h apart"


def _pretraining(provenance: Provenance) -> str:
    transfer = provenance.configuration.transfer
    if transfer is None:
        return "No pre-training: all parameters started from chance."
    kept = (
        "kept as it was" if not transfer.rate_factor else f"trained on at {transfer.rate_factor:g} x the rate"
    )
    return (
        f"Everything but the decoder comes from self-supervised pre-training on masked fields (weights "
        f"`{(provenance.pretrained_digest or '')[:16]}`) and was {kept}."
    )


def _score_facts(release: Release) -> dict[str, object]:
    evaluation = release.evaluation
    rows = {MODEL: evaluation, **release.beside}
    results = Results(Result(row=row, evaluation=one) for row, one in rows.items())
    model = Line(MODEL, "this model")
    lines = [*(Line(row, LABELS.get(row, row), only=SHOWN.get(row)) for row in release.beside), model]
    return {
        "validation_samples": evaluation.samples["validation"],
        "test_cycles": evaluation.cycles["test"],
        "test_samples": evaluation.samples["test"],
        "days": len(evaluation.days),
        "shares": ", ".join(f"{100 * share:.2f} %" for share in evaluation.class_shares["test"]),
        "decisions": ", ".join(
            f"{key} mm: {level:.3f}" for key, level in decision_thresholds(evaluation).items()
        ),
        "scores": "\n\n".join(
            f"{threshold:g} mm or more:\n\n{scores(results, lines, threshold, DECISIONS)}"
            for threshold in THRESHOLDS_MM
        ),
        "gains": _gains(results),
        "reliability": reliability(results, [model]),
    }


def decision_thresholds(evaluation: Evaluation) -> dict[str, float]:
    """Calibrated probability from which the event is called, by the threshold in mm as text."""
    levels = {}
    for at in evaluation.thresholds:
        tuned = at.decision("tuned")
        if tuned is not None and tuned.level is not None:
            levels[f"{at.threshold_mm:g}"] = tuned.level
    return levels


def _gains(results: Results) -> str:
    """By how much the model beats, or does not beat, the raw and the smoothed forecast."""
    lines = []
    for threshold in THRESHOLDS_MM:
        summary = results.summary(MODEL, threshold, "tuned")
        if summary is None:
            continue
        for name, gain in ((RAW, summary.over_raw), (SMOOTHED, summary.over_smoothed)):
            if gain is not None:
                lines.append(
                    f"- CSI at {threshold:g} mm, tuned, less that of {LABELS[name]}: "
                    f"{with_interval(gain, signed=True)}"
                )
    return "\n".join(lines)
