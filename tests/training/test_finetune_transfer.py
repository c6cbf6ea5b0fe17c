"""What fine-tuning takes over from pre-training, and which pre-training it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from service.artefact import digest_file
from service.errors import InputError, SettingsError
from tests.training.sample_settings import changed, same
from training.configuration import network_of
from training.engine import WEIGHTS, prepare
from training.finetune import Configuration, finetune, load_run
from training.pretrain import Pretraining, pretrain
from training.samples import DataSettings, Split


def _transferring(configuration: Configuration, pretrained: Path, rate_factor: float) -> Configuration:
    return changed(
        configuration,
        mask_ratio=0.25,
        transfer={"pretrained": pretrained, "rate_factor": rate_factor},
        network={"embedding": {"token_width": 16}},
    )


def test_transfer_carries_everything_over_but_the_decoder(
    configuration: Configuration, pretrained: Path, tmp_path: Path
) -> None:
    settings = _transferring(configuration, pretrained, 0.5)
    run = finetune(settings, tmp_path, last_update=0)
    assert run.update == 0
    source = torch.load(pretrained / WEIGHTS)
    prepare(settings.seed, settings.threads)
    fresh = network_of(settings, Split(settings.data, "train"), 3).state_dict()
    state = run.network.state_dict()
    carried = {name for name in state if not name.startswith("decoder.")}
    assert {name.split(".")[0] for name in carried} == {"embedding", "encoder"}
    assert same(state, source) >= carried
    assert same(state, fresh) >= state.keys() - carried
    assert not torch.equal(state["encoder.stem.0.weight"], fresh["encoder.stem.0.weight"])
    assert not torch.equal(state["decoder.fusion.0.weight"], source["decoder.fusion.0.weight"])


@pytest.mark.parametrize("factor", [0.0, 0.5])
def test_what_is_carried_over_stays_or_moves_as_asked(
    configuration: Configuration, pretrained: Path, tmp_path: Path, factor: float
) -> None:
    settings = _transferring(configuration, pretrained, factor)
    run = finetune(settings, tmp_path)
    source = torch.load(pretrained / WEIGHTS)
    for state in (run.network.state_dict(), run.average.state_dict(), torch.load(tmp_path / WEIGHTS)):
        kept = {name.split(".")[0] for name in same(state, source)}
        assert ({"encoder", "embedding"} <= kept) == (factor == 0)
        moved = state.keys() - same(state, source)
        assert {"decoder.fusion.0.weight", "decoder.classifier.weight"} <= moved
        if factor:
            assert {"encoder.stem.0.weight", "embedding.mask_token"} <= moved
        else:
            assert all(name.startswith("decoder.") for name in moved)
    assert load_run(tmp_path)[0].pretrained_digest == digest_file(pretrained / WEIGHTS)


def test_a_pre_training_of_another_architecture_is_refused(
    configuration: Configuration, pretrained: Path, tmp_path: Path
) -> None:
    settings = _transferring(configuration, pretrained, 0.5)
    for network in ({"size": {"channels": 16}}, {"embedding": {"token_width": 8}}, {"embedding": None}):
        other = changed(settings, network=network, mask_ratio=0.0)
        with pytest.raises(InputError, match=r"another architecture.*(stem|embedding)"):
            finetune(other, tmp_path / "run")
    with pytest.raises(InputError, match=r"another architecture.*encoder\.stem\.0\.weight"):
        finetune(changed(settings, data={"conditions": ("lead",)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_pre_training_on_other_data_is_refused(
    configuration: Configuration, pretrained: Path, write_dataset: Callable[..., DataSettings], tmp_path: Path
) -> None:
    """Another archive, or other statistics because of other splits."""
    settings = _transferring(configuration, pretrained, 0.5)
    other = write_dataset(tmp_path / "other.zarr", seed=1).archive
    shorter = {"train": (("2021-08-01", "2021-08-04"),)}
    for data in ({"archive": other}, {"splits": shorter}):
        with pytest.raises(InputError, match=r"saw other z-scores"):
            finetune(changed(settings, data=data), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_pre_training_is_refused(configuration: Configuration, tmp_path: Path) -> None:
    settings = _transferring(configuration, tmp_path / "none", 0.5)
    with pytest.raises(InputError, match=r"No pre-trained weights.*python -m training\.pretrain"):
        finetune(settings, tmp_path / "run")
    finetune(configuration, tmp_path / "other", last_update=2)
    settings = _transferring(configuration, tmp_path / "other", 0.5)
    with pytest.raises(InputError, match=r"of another kind"):
        finetune(settings, tmp_path / "run")


def test_a_changed_pre_training_is_another_run(
    configuration: Configuration, pretraining: Pretraining, tmp_path: Path
) -> None:
    pretrain(pretraining, tmp_path / "pretrained", last_update=2)
    settings = _transferring(configuration, tmp_path / "pretrained", 0.5)
    finetune(settings, tmp_path / "run", last_update=1)
    longer = torch.load(tmp_path / "pretrained" / WEIGHTS)
    longer["embedding.mask_token"] += 1
    torch.save(longer, tmp_path / "pretrained" / WEIGHTS)
    with pytest.raises(SettingsError, match=r"another run.*got: another pretrained_digest"):
        finetune(settings, tmp_path / "run")
