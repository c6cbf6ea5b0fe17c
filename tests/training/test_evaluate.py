"""A fitted network from its folder to its scores, and what may be averaged at inference."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from service.errors import InputError, SettingsError
from tests.training.sample_settings import changed
from training import evaluate as command
from training.evaluate import Averaging, Masked, class_probabilities, evaluate, with_head
from training.evaluation import SCORES, read_evaluation
from training.finetune import Configuration, finetune, load_run
from training.networks.heads import HEADS
from training.networks.segmentation import Segmentation
from training.samples import DataSettings, Split
from training.scoring import HEAVY_CASE


@pytest.fixture
def masked(configuration: Configuration) -> Configuration:
    """With the masked embedding."""
    network = {"embedding": {"token_width": 8, "skip": True}}
    return changed(configuration, network=network, mask_ratio=0.25)


def _fit(configuration: Configuration, folder: Path) -> Path:
    finetune(configuration, folder, last_update=2)
    return folder


def test_the_scores_are_those_of_the_run(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    run = _fit(configuration, tmp_path / "run")
    evaluation = evaluate(run)
    assert read_evaluation(run) == evaluation
    assert {SCORES, HEAVY_CASE} <= {path.name for path in run.iterdir()}
    provenance, network = load_run(run)
    assert (evaluation.system, evaluation.seed) == ("internimage", 3)
    assert evaluation.fitted_commit == provenance.commit
    assert evaluation.fitted_machine == provenance.machine
    split = Split(dataset, "test")
    with torch.no_grad():
        logits = network(torch.from_numpy(split.fields(range(len(split)))))
    observed = split.rain_mm(range(len(split)))
    warning = (logits.argmax(dim=1).numpy() >= 1) & ~np.isnan(observed)
    counts = evaluation.counts(0.1, "argmax")
    assert counts is not None
    assert counts[..., 0].sum() == (warning & (observed >= 0.1)).sum()
    assert counts[..., 2].sum() == (warning & (observed < 0.1)).sum()


def test_another_head_gives_other_probabilities(
    configuration: Configuration, dataset: DataSettings, tmp_path: Path
) -> None:
    """The outputs mean what the configuration says: cumulative logits are no logits of classes."""
    run = _fit(changed(configuration, head="ordinal"), tmp_path / "run")
    provenance, network = load_run(run)
    split = Split(dataset, "test")
    classes = class_probabilities(with_head(provenance, network, Averaging()), split, Averaging())
    with torch.no_grad():
        outputs = network(torch.from_numpy(split.fields(range(len(split)))))
    expected = HEADS["ordinal"]()(outputs).exp().numpy()
    np.testing.assert_allclose(classes, expected, atol=1e-5)
    assert evaluate(run).counts(0.1, "tuned") is not None


def test_an_average_is_scored_into_a_file_of_its_own(masked: Configuration, tmp_path: Path) -> None:
    run = _fit(masked, tmp_path / "run")
    plain = evaluate(run)
    found = {
        "": plain,
        "-flip": evaluate(run, Averaging(flip=True)),
        "-masks-2": evaluate(run, Averaging(masks=2)),
        "-flip-masks-1-0.5": evaluate(run, Averaging(flip=True, masks=1, mask_ratio=0.5)),
    }
    for suffix, evaluation in found.items():
        assert read_evaluation(run, f"scores{suffix}.json") == evaluation
        assert (run / f"heavy_case{suffix}.npz").exists()
    briers = set()
    for evaluation in found.values():
        probability = evaluation.thresholds[0].probability
        assert probability is not None
        briers.add(probability.as_fitted.brier)
    assert len(briers) == 4
    assert found["-flip-masks-1-0.5"].settings == {"flip": True, "masks": 1, "mask_ratio": 0.5}
    assert plain.settings == {"flip": False, "masks": 0}


class Columns(nn.Module):
    """The class by the column alone: a forecast that a mirror changes."""

    def forward(self, fields: Tensor) -> Tensor:
        share = torch.linspace(0, 0.5, fields.shape[-1]).expand(len(fields), *fields.shape[-2:])
        return torch.stack([1 - share, share / 2, share / 2], dim=1)


def test_the_mirrored_forecast_is_mirrored_back(dataset: DataSettings) -> None:
    split = Split(dataset, "test")
    plain = class_probabilities(Columns(), split, Averaging())
    both = class_probabilities(Columns(), split, Averaging(flip=True))
    np.testing.assert_allclose(both, (plain + plain[..., ::-1]) / 2, atol=1e-6)
    np.testing.assert_allclose(both[0, 1], 0.125, atol=1e-6)


def test_masks_are_of_the_ratio_and_drawn_anew(
    masked: Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    provenance, network = load_run(_fit(masked, tmp_path / "run"))
    assert isinstance(network, Segmentation)
    seen: list[Tensor] = []

    def _forward(fields: Tensor, masked: Tensor) -> Tensor:
        seen.append(masked)
        return torch.zeros(len(fields), 3, *fields.shape[-2:])

    monkeypatch.setattr(network, "forward", _forward)
    model = with_head(provenance, network, Averaging(masks=1))
    fields = torch.zeros(3, 16, 32, 32)
    for _ in range(2):
        model(fields)
    assert isinstance(model.network, Masked)
    assert network.embedding is not None
    assert [mask.shape for mask in seen] == [(3, network.embedding.tokens)] * 2
    assert all((mask.float().mean(dim=1) == 0.25).all() for mask in seen)
    assert not torch.equal(seen[0], seen[1])
    with_head(provenance, network, Averaging(masks=1))(fields)
    assert torch.equal(seen[0], seen[2]), "another average of the same run draws other masks"


def test_masks_need_an_embedding_and_a_ratio(
    configuration: Configuration, masked: Configuration, tmp_path: Path
) -> None:
    bare = _fit(configuration, tmp_path / "bare")
    with pytest.raises(SettingsError, match="no embedding to mask"):
        evaluate(bare, Averaging(masks=2))
    unmasked = _fit(changed(masked, mask_ratio=0.0), tmp_path / "unmasked")
    with pytest.raises(SettingsError, match=r"mask nothing.*a ratio of 0.*--mask-ratio"):
        evaluate(unmasked, Averaging(masks=2))


@pytest.mark.parametrize("name", ["data_digest", "statistics_digest"])
def test_a_run_on_other_data_is_refused(configuration: Configuration, tmp_path: Path, name: str) -> None:
    run = _fit(configuration, tmp_path / "run")
    path = run / "run.json"
    provenance, _ = load_run(run)
    path.write_text(path.read_text().replace(getattr(provenance, name), "0" * 64))
    with pytest.raises(InputError, match="other data"):
        evaluate(run)


def test_the_command_prints_its_scores(
    configuration: Configuration,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = _fit(configuration, tmp_path / "run")
    monkeypatch.setattr("sys.argv", ["evaluate", "--run", str(run), "--flip"])
    command.main()
    tuned = read_evaluation(run, "scores-flip.json").thresholds[1].decision("tuned")
    assert tuned is not None
    assert f"| 10 mm | tuned | {tuned.level:.3f} | {tuned.ratios.csi:.3f} [" in capsys.readouterr().out
