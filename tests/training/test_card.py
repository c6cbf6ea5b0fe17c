"""The card: says how the model came about and how it scores, whatever the scores are."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import JsonValue

from service.specification import CycleSpecification
from tests.training.sample_evaluations import evaluation, probability, reliability
from tests.training.sample_settings import changed
from training.card import RAW, SMOOTHED, Release, decision_thresholds, model_card
from training.finetune import Configuration, Provenance
from training.samples import DataSettings, Split

FITTED = reliability(2, 30.0, {6: (400, 0, 128.0)})
CALIBRATED = reliability(2, 10.0, {0: (300, 3, 3.0), 6: (80, 26, 25.6)})
MODEL = evaluation(
    {
        "argmax": [(9, 30), (8, 30)],
        "calibrated_argmax": [(5, 8), (6, 9)],
        "tuned": [(12, 22), (11, 20)],
    },
    system="internimage",
    probabilities=probability(2, FITTED, CALIBRATED),
)
BESIDE = {
    RAW: evaluation({"value": [(5, 20), (5, 20)], "tuned": [(6, 20), (6, 20)]}, system=RAW),
    SMOOTHED: evaluation({"value": [(3, 9), (3, 9)], "tuned": [(8, 20), (8, 20)]}, system=SMOOTHED),
}


@pytest.fixture
def release(configuration: Configuration, dataset: DataSettings) -> Release:
    split = Split(dataset, "test")
    cycle = split.description.specification
    assert isinstance(cycle, CycleSpecification)
    provenance = Provenance(
        configuration=configuration,
        data_digest=split.description.digest,
        statistics_digest=split.description.statistics_digest,
        pretrained_digest=None,
        commit="abc",
        torch="2",
        machine="m",
        processes=1,
        samples=8,
    )
    network = torch.nn.Linear(1000, 1000, bias=False)
    return Release("small", "1.0.0", provenance, network, MODEL, split, cycle, "make it", BESIDE)


def _with(release: Release, digest: str | None = None, **values: Any) -> Release:
    provenance = release.provenance
    configuration = changed(provenance.configuration, **values)
    return replace(
        release,
        provenance=provenance.model_copy(
            update={"configuration": configuration, "pretrained_digest": digest}
        ),
    )


def test_scores_of_every_decision_and_of_what_stands_beside(release: Release) -> None:
    card = model_card(release)
    for text in (
        "| raw NWP | amount | 0.143 [",
        "| raw NWP, smoothed | tuned | 0.250 [",
        "| this model | argmax, as fitted | 0.205 [",
        "| this model | argmax | 0.239 [",
        "| this model | tuned | 0.390 [",
        "- CSI at 10 mm, tuned, less that of raw NWP: +0.247 [",
        "- CSI at 0.1 mm, tuned, less that of raw NWP, smoothed: +0.140 [",
        "| this model | 10 mm | 0.15000 | 0.05000 |",
        "0 of 1 | 2 of 2 |",
        "(0.1 mm: 0.400, 10 mm: 0.400)",
    ):
        assert text in card, text
    assert "| raw NWP | tuned" not in card
    assert "| raw NWP, smoothed | amount" not in card
    assert "over the 2 days" in card


def test_without_other_systems_there_is_no_gain(release: Release) -> None:
    card = model_card(replace(release, beside={}))
    assert "less that of" not in card
    assert "| this model | tuned | 0.390 [" in card


def test_simulated_weather_is_called_so(release: Release) -> None:
    card = model_card(release)
    assert "**Trained on 8 simulated samples; it has never seen a real forecast or observation.**" in card
    assert "mean nothing for real weather" in card
    description = release.split.description
    release.split.description = description.model_copy(update={"simulated": False})
    card = model_card(release)
    assert "**Trained on 8 samples of real cycles.**" in card
    assert "mean nothing" not in card


def test_how_it_was_trained(release: Release) -> None:
    card = model_card(release)
    assert "No pre-training: all parameters started from chance." in card
    assert "4 updates, batch 4, AdamW, learning rate 0.003 (cosine), seed 3" in card
    assert "Labels: A. Weights of the classes in the loss: 1, 5, 10." in card
    assert "Made by a test (seed: 0)." in card
    assert "validation 2022-09-03 to 2022-10-01, 2023-09-03 to 2023-10-01; test 2022-08-01" in card
    assert "1.00 million parameters" in card
    assert "make it" in card


def test_a_plan_is_written_out(release: Release) -> None:
    provenance: dict[str, JsonValue] = {"made_by": "x", "plan": {"training_cycles": 9, "seed": 1}}
    description = release.split.description
    release.split.description = description.model_copy(update={"provenance": provenance})
    assert "Made by x (training cycles: 9, seed: 1)." in model_card(release)


@pytest.mark.parametrize(
    ("rate_factor", "kept"), [(0.0, "was kept as it was"), (0.5, "was trained on at 0.5 x the rate")]
)
def test_pre_training_is_named(release: Release, rate_factor: float, kept: str) -> None:
    transfer = {"pretrained": Path("runs/pretrained"), "rate_factor": rate_factor}
    card = model_card(_with(release, "f" * 64, transfer=transfer))
    assert "self-supervised pre-training on masked fields (weights `ffffffffffffffff`)" in card
    assert kept in card
    assert "No pre-training" not in card


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"name": "unet", "width": 6}, "UNet (width 6)"),
        (
            {"name": "metnet", "start_width": 5, "halvings": 2},
            "MetNet, KoMet's variant (width 5, 2 halvings)",
        ),
        (
            {"name": "internimage", "size": "nano", "embedding": {}, "channel_attention": True},
            "Masked patch embedding, channel attention, InternImage encoder (32 channels, depths 1-1-3-1",
        ),
        (
            {"name": "internimage", "size": "nano", "refinement": 16},
            "InternImage encoder (32 channels, depths 1-1-3-1, groups 2-4-8-16) and UPerNet decoder (width "
            "32), two convolutions at full resolution (width 16)",
        ),
    ],
)
def test_every_network_has_words(release: Release, network: dict[str, Any], words: str) -> None:
    values = release.provenance.configuration.model_dump() | {"network": network}
    configuration = Configuration.model_validate(values)
    provenance = release.provenance.model_copy(update={"configuration": configuration})
    named = replace(release, provenance=provenance)
    assert named.architecture.startswith(words)
    assert named.architecture in model_card(named)


def test_folds_are_named(release: Release) -> None:
    configuration = release.provenance.configuration
    folds = configuration.data.model_dump() | {"splits": {"folds": 5, "fold": 2}}
    values = configuration.model_dump() | {"data": folds}
    provenance = release.provenance.model_copy(update={"configuration": Configuration.model_validate(values)})
    assert "Splits: fold 2 of 5, 24 h apart." in model_card(replace(release, provenance=provenance))


def test_decision_thresholds_are_the_tuned_levels() -> None:
    assert decision_thresholds(MODEL) == {"0.1": 0.4, "10": 0.4}
