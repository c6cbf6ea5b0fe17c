"""Networks by configuration: what is refused, what is built, and what pre-training hands on."""

from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from service.errors import InputError
from training.networks.catalogue import NetworkSettings, build, transfer
from training.networks.metnet import MetNet
from training.networks.segmentation import ARCHITECTURES, Segmentation
from training.networks.unet import UNet

SIZE = {
    "channels": 8,
    "depths": [1, 1, 1, 1],
    "groups": [1, 2, 2, 4],
    "decoder_width": 8,
    "perceptron_ratio": 2.0,
}
INTERNIMAGE: dict[str, Any] = {"name": "internimage", "size": SIZE}
MASKING = INTERNIMAGE | {"embedding": {"token_width": 16}, "channel_attention": True}
SMALL = {
    "internimage": INTERNIMAGE,
    "masking": MASKING,
    "unet": {"name": "unet", "width": 2},
    "metnet": {"name": "metnet", "start_width": 2, "halvings": 2, "attention_width": 4, "groups": 2},
}


def _settings(table: dict[str, Any]) -> NetworkSettings:
    return TypeAdapter[NetworkSettings](NetworkSettings).validate_python(table)


def _build(table: dict[str, Any], **changes: int) -> nn.Module:
    shape = {"inputs": 4, "conditions": 0, "height": 32, "width": 64, "outputs": 3}
    return build(_settings(table), **(shape | changes))


@pytest.mark.parametrize("name", sorted(SMALL))
@pytest.mark.parametrize("conditions", [0, 3])
def test_every_network_takes_conditions_and_gives_the_outputs_asked_for(name: str, conditions: int) -> None:
    network = _build(SMALL[name], conditions=conditions, outputs=5)
    assert network(torch.randn(2, 4 + conditions, 32, 64)).shape == (2, 5, 32, 64)


def test_the_name_chooses_the_network() -> None:
    kinds = {name: type(_build(table)) for name, table in SMALL.items()}
    assert kinds == {"internimage": Segmentation, "masking": Segmentation, "unet": UNet, "metnet": MetNet}


def test_switches_of_internimage() -> None:
    plain, masking = _build(INTERNIMAGE), _build(MASKING)
    assert isinstance(plain, Segmentation)
    assert isinstance(masking, Segmentation)
    assert plain.embedding is None
    assert plain.attention is None
    assert masking.embedding is not None
    assert masking.embedding.tokens == 2 * 4
    assert masking.attention is not None


@pytest.mark.parametrize("size", sorted(ARCHITECTURES))
def test_a_size_by_name_is_the_table_of_that_name(size: str) -> None:
    settings = _settings({"name": "internimage", "size": size})
    assert settings.model_dump()["size"] == ARCHITECTURES[size].__dict__
    assert _settings(settings.model_dump()) == settings


def test_the_papers_network_masks_448_tokens() -> None:
    settings = _settings({"name": "internimage", "size": "T", "embedding": {}})
    with torch.device("meta"):
        network = build(settings, inputs=16, conditions=2, height=224, width=128, outputs=16)
        assert isinstance(network, Segmentation)
        assert network.embedding is not None
        assert network.embedding.tokens == 448
        assert network.eval()(torch.empty(1, 18, 224, 128)).shape == (1, 16, 224, 128)


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ({"name": "resnet"}, "resnet"),
        ({"name": "internimage"}, "size"),
        (INTERNIMAGE | {"size": "huge"}, "no size 'huge'"),
        (INTERNIMAGE | {"size": SIZE | {"banana": 1}}, "banana"),
        (INTERNIMAGE | {"embedding": {"banana": 1}}, "banana"),
        ({"name": "unet", "width": 0}, "width"),
        ({"name": "metnet", "size": "T"}, "size"),
    ],
)
def test_wrong_tables_are_refused(table: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError, match=where):
        _settings(table)


@pytest.mark.parametrize(
    ("name", "changes", "found"),
    [
        ("unet", {"width": 40}, "32 x 40 cells; both must be multiples of 16"),
        ("metnet", {"height": 30}, "30 x 64 cells; both must be multiples of 4"),
        ("masking", {"inputs": 6}, "do not divide fields of 6 x 32 x 64"),
    ],
)
def test_fields_that_do_not_fit_are_refused_before_any_work(
    name: str, changes: dict[str, int], found: str
) -> None:
    with pytest.raises(InputError, match=found):
        _build(SMALL[name], **changes)


def test_transfer_leaves_the_refinement_fresh_and_may_add_one() -> None:
    refined = MASKING | {"refinement": 4}
    for source in (MASKING, refined):
        fresh = _build(refined, outputs=3)
        before = {name: value.clone() for name, value in fresh.state_dict().items()}
        transfer(fresh, _build(source, outputs=4).state_dict())
        after = fresh.state_dict()
        refinement = [name for name in after if name.startswith("refinement.")]
        assert refinement
        assert all(torch.equal(after[name], before[name]) for name in refinement)


def test_transfer_carries_everything_but_the_decoder() -> None:
    torch.manual_seed(0)
    pretrained, fresh = _build(MASKING, outputs=4), _build(MASKING, outputs=3)
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    transfer(fresh, pretrained.state_dict())
    after, source = fresh.state_dict(), pretrained.state_dict()
    carried = {name for name in after if torch.equal(after[name], source.get(name, torch.empty(0)))}
    assert {name.split(".")[0] for name in carried} >= {"encoder", "embedding", "attention"}
    for name in after:
        expected = before if name.startswith("decoder.") else source
        assert torch.equal(after[name], expected[name]), name


@pytest.mark.parametrize(
    ("table", "changes", "found"),
    [
        (INTERNIMAGE, {}, "embedding.mask_token in the checkpoint only|encoder|embedding"),
        (MASKING | {"size": SIZE | {"channels": 16}}, {}, r"encoder.stem.0.weight is \(4, 4, 3, 3\) in the"),
        (MASKING | {"size": SIZE | {"depths": [1, 1, 2, 1]}}, {}, r"no encoder.stages.2.blocks.1"),
        (MASKING, {"conditions": 2}, r"is \(4, 4, 3, 3\) in the checkpoint, \(4, 6, 3, 3\) here"),
        (MASKING, {"height": 64}, r"embedding.row_position is \(2, 1, 16\) in the checkpoint, \(4, 1, 16\)"),
        (SMALL["unet"], {}, "no descent.0.0.weight in the checkpoint"),
    ],
)
def test_transfer_from_another_architecture_is_refused_whole(
    table: dict[str, Any], changes: dict[str, int], found: str
) -> None:
    network = _build(table, **changes)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(InputError, match="another architecture") as caught:
        transfer(network, _build(MASKING, outputs=4).state_dict())
    assert caught.match(found)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
