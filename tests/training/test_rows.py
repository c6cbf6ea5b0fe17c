"""The steps of the experiment: every row once, after what it needs, with a configuration of its name."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from training import report, rows
from training.configuration import read_settings
from training.finetune import Configuration
from training.networks.catalogue import InternImageSettings
from training.pretrain import Pretraining
from training.rows import CONFIGURATIONS, FEW_LABELS, MASKS, METNET, SEEDS, TABLE_1, Row, steps
from training.runner import Step


@pytest.fixture
def everything(tmp_path: Path) -> list[Step]:
    pairs = tmp_path / "pairs.npz"
    pairs.write_bytes(b"any")
    return steps(pairs)


def _option(step: Step, name: str) -> str:
    return step.command[step.command.index(name) + 1]


def test_names_are_unique_and_steps_follow_what_they_need(everything: list[Step]) -> None:
    before: set[str] = set()
    for step in everything:
        assert step.name not in before
        assert before.issuperset(step.after)
        before.add(step.name)


def test_no_two_steps_write_to_the_same_folder(everything: list[Step]) -> None:
    folders = [_option(step, "--out") for step in everything if "--out" in step.command]
    assert len(folders) == len(set(folders))


def test_without_real_pairs_there_is_no_step_on_them() -> None:
    assert not any(step.name.startswith(("real", "pairs")) for step in steps(None))


def test_every_network_of_table_1_has_all_seeds_and_is_scored(everything: list[Step]) -> None:
    names = {step.name for step in everything}
    for row in (*TABLE_1, *METNET):
        for seed in SEEDS:
            assert {f"experiment/{row.name}/{seed}", f"experiment/{row.name}/{seed}/scores"} <= names


def test_a_transfer_starts_from_the_pre_training_of_its_own_seed(everything: list[Step]) -> None:
    for step in everything:
        if "training.finetune" in step.command and any(
            "transfer.pretrained" in part for part in step.command
        ):
            number = step.name.rpartition("/")[2]
            (needed,) = step.after
            assert needed.startswith(("experiment/pretrain", "real/pretrain"))
            assert needed.rpartition("/")[2] == number
            (path,) = (part for part in step.command if part.startswith("transfer.pretrained="))
            assert path.rpartition("_")[2] == number


def test_configurations_that_transfer_are_those_of_rows_with_a_pre_training() -> None:
    everything: tuple[Row, ...] = (
        *TABLE_1, *METNET, *rows.WHY, *MASKS, *rows.BETTER, *rows.WIDTH_ROWS, *FEW_LABELS,
    )  # fmt: skip
    for row in everything:
        configuration = read_settings(
            Configuration, CONFIGURATIONS / "experiment" / f"{row.scored or row.name}.toml"
        )
        assert (configuration.transfer is None) == (row.pretrained is None), row.name


def test_rows_of_the_mask_tables_differ_in_what_they_say() -> None:
    folder = CONFIGURATIONS / "experiment"
    for percent in (50, 75, 90):
        assert read_settings(Pretraining, folder / f"pretrain_{percent}.toml").mask_ratio == percent / 100
    for percent in (0, 50):
        assert read_settings(Configuration, folder / f"masked_{percent}.toml").mask_ratio == percent / 100
    assert read_settings(Configuration, folder / "internimage_p_transfer.toml").mask_ratio == 0.25


def test_rows_read_the_archive_that_is_made_before_them(everything: list[Step]) -> None:
    made = {_option(step, "--out"): step.name for step in everything if step.command[0] == "training.dataset"}
    for row in (*TABLE_1, *rows.BETTER):
        settings = read_settings(
            Configuration, CONFIGURATIONS / "experiment" / f"{row.scored or row.name}.toml"
        )
        assert settings.data.archive == row.archive
        (step,) = (step for step in everything if step.name == f"experiment/{row.scored or row.name}/1")
        if row.pretrained is None:
            assert step.after == (made[str(row.archive)],)


def test_label_shares_are_those_of_the_names() -> None:
    for row in FEW_LABELS:
        share = int(row.name.split("_")[1]) / 100
        settings = read_settings(Configuration, CONFIGURATIONS / "experiment" / f"{row.name}.toml")
        assert settings.data.label_share == share


def _network(name: str) -> tuple[Configuration, InternImageSettings]:
    configuration = read_settings(Configuration, CONFIGURATIONS / "experiment" / f"{name}.toml")
    assert isinstance(configuration.network, InternImageSettings)
    return configuration, configuration.network


def test_rows_of_the_widths_differ_in_nothing_but_the_width() -> None:
    nano, network = _network(rows.WIDTHS[32])
    for width, row in rows.WIDTHS.items():
        size = replace(network.size, decoder_width=width)
        expected = network.model_copy(update={"size": size})
        assert _network(row)[0] == nano.model_copy(update={"network": expected})


def test_best_skip_is_best_with_the_embedding_of_embedding_skip_scratch() -> None:
    best, network = _network("best")
    skip, embedded = _network("embedding_skip_scratch")
    both = network.model_copy(update={"embedding": embedded.embedding})
    expected = best.model_copy(update={"network": both, "mask_ratio": skip.mask_ratio})
    assert _network("best_skip")[0] == expected


def test_every_line_of_the_tables_is_a_row_that_is_run(everything: list[Step]) -> None:
    names = {step.name for step in everything}
    for part, lines in (
        ("experiment", (*report.TABLE_1, *report.TABLE_4, *report.TABLE_5, *report.LABELS)),
        (
            "experiment",
            (*report.ENCODER, *report.CHANGES, *report.DISTANCE, *report.EXPORTED, *report.DECODER_WIDTHS),
        ),
        ("real", report.REAL),
    ):
        for line in lines:
            runs = {name for name in names if name.split("/")[:2] == [part, line.row]}
            assert runs, f"{line.row} is in a table and in no step"


def test_commands_are_those_a_person_can_paste(everything: list[Step]) -> None:
    for step in everything:
        assert shlex.split(shlex.join(step.command)) == list(step.command)
        assert step.command[0].startswith("training.")
