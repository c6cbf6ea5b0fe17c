"""The model card: what a model was trained on, how it scores, and what it must not be used for."""

from __future__ import annotations

from dataclasses import dataclass

from service.specification import CycleSpecification
from training.evaluate import Evaluation, table
from training.finetune import Provenance
from training.networks.segmentation import Segmentation
from training.samples import Split

_CARD = """# {name} {version}

Three-class precipitation post-processor (no rain below 0.1 mm, rain, heavy rain from 10 mm in an hour) for
hourly forecasts of {source}, leads {first_lead} to {last_lead} h.

**{statement}**
{warning}

## Network
InternImage encoder ({channels} channels, depths {depths}, groups {groups}) and UPerNet decoder (width
{decoder_width}), {parameters:.2f} million parameters. Input: {inputs} z-scored channels on {ny} x {nx} cells.
Output: class probabilities.

## Training
- Data: {samples} samples of {cycles} cycles, digest `{digest}`. Made by {made_by}.
- Splits: {splits}.
- Labels: {labels}. Weights of the classes in the loss: {weights}. No pre-training.
- {epochs} epochs, batch {batch}, AdamW, learning rate {rate:g} ({schedule}), seed {seed}, commit
  `{commit}`.

The command that makes it again:

    {command}

## Scores
{test_cycles} cycles ({test_samples} samples) that it never saw. Observed shares of the classes: {shares}.
Intervals: bootstrap over cycles.

{scores}

- smoothed: Gaussian smoothing of the raw rain, which needs no learning; tuned on the validation split
  ({smoothing}).
- tuned: the probability of exceeding from which the event is called, chosen for CSI on the validation split
  ({decisions}).
- argmax: the most probable class.

{gains}

Brier score of the probability of exceeding (smaller is better), beside the training split's frequency:

| threshold | model | climatology |
|---|---|---|
{brier}

## Limits
- {scope}
- The weights of the classes and the continuous labels shift the probabilities towards heavy rain: they rank
  cells, but they are not frequencies. Calibrate on observations before quoting one.
- Only the window, the season, the channels and the leads it was trained on.
"""


@dataclass(frozen=True)
class Release:
    """What is exported: the run, its data and scores, and the name it gets."""

    name: str
    version: str
    provenance: Provenance
    network: Segmentation
    evaluation: Evaluation
    split: Split
    cycle: CycleSpecification
    command: str

    @property
    def statement(self) -> str:
        """One sentence for every user of the product."""
        samples = self.provenance.samples
        if self.split.description.simulated:
            return (
                f"Trained on {samples} simulated samples; it has never seen a real forecast or observation."
            )
        return f"Trained on {samples} samples of real cycles."


def _gains(evaluation: Evaluation) -> str:
    """One line per threshold: by how much the model beats, or does not beat, the smoothed forecast."""
    lines = []
    for row in evaluation.rows:
        if row.score.system == "model":
            low, high = row.gain_interval
            lines.append(
                f"- CSI at {row.score.threshold_mm:g} mm by {row.score.decision}, less that of the smoothed "
                f"raw forecast: {row.gain:+.3f} [{low:+.3f}, {high:+.3f}]"
            )
    return "\n".join(lines)


def model_card(release: Release) -> str:
    """The card as Markdown."""
    description = release.split.description
    simulated = description.simulated
    return _CARD.format(
        name=release.name,
        version=release.version,
        source=release.cycle.source.name,
        first_lead=min(release.cycle.leads_hours),
        last_lead=max(release.cycle.leads_hours),
        statement=release.statement,
        warning="Its probabilities mean nothing for real weather." if simulated else "",
        ny=release.cycle.window.ny,
        nx=release.cycle.window.nx,
        command=release.command,
        scope="Scores on a simulation say nothing about scores on real forecasts."
        if simulated
        else "Scores hold for the period and the domain of the test split.",
        **_network_facts(release),
        **_training_facts(release),
        **_score_facts(release.evaluation),
    )


def _network_facts(release: Release) -> dict[str, object]:
    architecture = release.provenance.configuration.architecture
    return {
        "channels": architecture.channels,
        "depths": "-".join(map(str, architecture.depths)),
        "groups": "-".join(map(str, architecture.groups)),
        "decoder_width": architecture.decoder_width,
        "parameters": sum(parameter.numel() for parameter in release.network.parameters()) / 1e6,
        "inputs": architecture.inputs,
    }


def _training_facts(release: Release) -> dict[str, object]:
    provenance, description = release.provenance, release.split.description
    configuration = provenance.configuration
    optimisation = configuration.optimisation
    return {
        "cycles": description.cycles["train"],
        "samples": provenance.samples,
        "made_by": ", ".join(f"{key} {value}" for key, value in description.provenance.items()),
        "splits": configuration.data.splits,
        "digest": provenance.data_digest[:16],
        "labels": configuration.labels,
        "weights": ", ".join(f"{weight:g}" for weight in configuration.class_weights),
        "epochs": optimisation.epochs,
        "batch": optimisation.batch,
        "rate": optimisation.learning_rate,
        "schedule": optimisation.schedule,
        "seed": configuration.seed,
        "commit": provenance.commit,
    }


def _score_facts(evaluation: Evaluation) -> dict[str, object]:
    smoothing = (
        f"{key} mm: sigma {evaluation.smoothing_cells[key]:g} cells, level {level:.2f} mm"
        for key, level in evaluation.smoothed_levels_mm.items()
    )
    decisions = (f"{key} mm: {level:.3f}" for key, level in evaluation.decision_thresholds.items())
    return {
        "test_cycles": evaluation.cycles["test"],
        "test_samples": evaluation.samples["test"],
        "shares": ", ".join(f"{100 * share:.2f} %" for share in evaluation.observed_shares),
        "scores": table(evaluation),
        "smoothing": "; ".join(smoothing),
        "decisions": ", ".join(decisions),
        "gains": _gains(evaluation),
        "brier": "\n".join(
            f"| {row.threshold_mm:g} mm | {row.model:.5f} | {row.climatology:.5f} |"
            for row in evaluation.brier
        ),
    }
