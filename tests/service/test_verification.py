"""Products and observations find each other in any order, once, whatever dies in between."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service import observation_store
from service.artefact import digest_file
from service.ledger import Ledger, Selection
from service.observation import Observation
from service.observation_store import ObservationStore
from service.product import write_product
from service.shelf import Shelf
from service.store import InputIdentity, ModelIdentity, Origin, Record, Store
from service.submission import InputFile
from service.times import parse_time
from service.verification import MatchedProduct, Verification
from service.verification_counts import Sum, count_lead
from tests.service.sample_product import REFERENCE_TIME, WINDOW, sample_manifest, sample_product

HOUR = np.timedelta64(1, "h")
SPECIFICATION = sample_manifest().cycle


class Desk:
    """A verification on a folder, with what it is made of."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "products")
        self.observations = ObservationStore(folder / "observations")
        self.ledger = Ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
        self.ledger.open()
        self.shadows = Store(folder / "shadow")
        self.verification = Verification(
            Shelf(self.store), self.observations, self.ledger, Shelf(self.shadows)
        )

    def publish(
        self,
        key: str = "one",
        model: str = "sample",
        time: np.datetime64 = REFERENCE_TIME,
        leads_hours: tuple[int, ...] = (25, 26, 27),
        store: Store | None = None,
    ) -> Record:
        """A product of the sample, said to be of this cycle and model."""
        identity = ModelIdentity(name=model, version="1.2.3", sha256="a" * 64, manifest_sha256="b" * 64)
        inputs = (InputIdentity(name="h025.gb2", sha256="c" * 64, size_bytes=1),)
        origin = Origin(key=key, model=identity, inputs=inputs, leads_hours=leads_hours)
        return (store or self.store).publish(
            time, origin, lambda path, _: write_product(sample_product(), path)
        )

    def observe(self, lead_hours: int, seed: int = 1) -> list[MatchedProduct]:
        """Take the rain of ``rain_mm(seed)`` as observed at the end of a lead."""
        path = self.folder / f"observation-{seed}"
        path.write_bytes(rain_mm(seed).tobytes())
        file = InputFile(name=path.name, sha256=digest_file(path), size_bytes=path.stat().st_size)
        observation = Observation(REFERENCE_TIME + lead_hours * HOUR, rain_mm(seed))
        return self.verification.take(observation, file, path, SPECIFICATION)[2]

    def sums(self) -> list[Sum]:
        return self.ledger.sums(Selection(), reliability=True)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def rain_mm(seed: int) -> NDArray[np.float32]:
    generator = np.random.default_rng(seed)
    return generator.choice([0.0, 0.1, 2.0, 10.0, np.nan], (WINDOW.ny, WINDOW.nx)).astype(np.float32)


def expected(lead_hours: int, seed: int, model: str = "sample", matches: int = 1) -> list[Sum]:
    """Rows of one lead, by ``count_lead``, which has tests of its own."""
    counts = count_lead(sample_product(), lead_hours, rain_mm(seed))
    names = {"model": f"{model}-1.2.3", "raw": "RDAPS-KIM"}
    return [
        Sum(
            source,
            names[source],
            one.threshold_mm,
            lead_hours,
            one.contingency,
            one.brier_sum,
            matches,
            one.reliability,
        )
        for source, rows in counts.items()
        for one in rows
    ]


def test_an_observation_finds_the_product(desk: Desk) -> None:
    record = desk.publish()
    assert desk.observe(26) == [MatchedProduct(record, 26)]
    assert desk.sums() == expected(26, 1)


def test_a_late_product_finds_the_observations(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for lead in (25, 27):
        assert desk.observe(lead) == []
    assert desk.sums() == []
    record = desk.publish()
    assert desk.verification.match_product(record) == 2
    assert sorted(desk.sums(), key=str) == sorted([*expected(25, 1), *expected(27, 1)], key=str)
    monkeypatch.setattr(Shelf, "dataset", lambda *_: pytest.fail("read again"))
    assert desk.verification.match_product(record) == 2, "again they are found, and not compared"
    assert {one.matches for one in desk.sums()} == {1}
    assert {one.contingency for one in desk.ledger.totals()} == {one.contingency for one in desk.sums()}


def test_every_cycle_that_forecast_the_hour_is_compared(desk: Desk) -> None:
    record = desk.publish()
    earlier = desk.publish("two", time=REFERENCE_TIME - 1 * HOUR)
    later_lead = [MatchedProduct(record, 26), MatchedProduct(earlier, 27)]
    assert desk.observe(26) == later_lead
    assert {one.lead_hours for one in desk.sums()} == {26, 27}


def test_only_the_newest_revision_of_a_model_counts(desk: Desk) -> None:
    desk.publish()
    newest, shadow = desk.publish("two"), desk.publish("three", model="shadow")
    assert desk.observe(26) == [MatchedProduct(newest, 26), MatchedProduct(shadow, 26)]
    rows = desk.sums()
    assert [row for row in rows if row.model != "shadow-1.2.3"] == expected(26, 1)
    assert [row for row in rows if row.model == "shadow-1.2.3"] == expected(26, 1, "shadow")[:2]


def test_a_shadow_is_counted_under_its_own_source_and_not_shown(desk: Desk) -> None:
    record = desk.publish()
    for number in range(2):
        desk.publish(f"shadow {number}", model="shadow", store=desk.shadows)
    assert desk.observe(26) == [MatchedProduct(record, 26)], "only what is published"
    rows = desk.sums()
    assert [row for row in rows if row.source != "shadow"] == expected(26, 1)
    raw = [row.contingency for row in rows if row.source == "raw"]
    totals = desk.ledger.totals()
    assert [one.contingency for one in totals if one.source == "raw"] == raw, "it is counted once"
    shadow = [replace(row, source="shadow") for row in expected(26, 1, "shadow")[:2]]
    assert [row for row in rows if row.source == "shadow"] == shadow
    late = desk.publish("later", "shadow", leads_hours=(26, 27), store=desk.shadows)
    assert desk.verification.match_product(late, "shadow") == 1
    assert desk.sums() == rows, "a revision replaces its counts"
    desk.observe(26, seed=2)
    assert {row.matches for row in desk.sums()} == {1}
    assert [row for row in desk.sums() if row.source == "shadow"] == [
        replace(row, source="shadow") for row in expected(26, 2, "shadow")[:2]
    ]


def test_a_revision_without_the_lead_leaves_the_one_that_has_it(desk: Desk) -> None:
    whole = desk.publish()
    desk.publish("two", leads_hours=(25, 27))
    assert desk.observe(26) == [MatchedProduct(whole, 26)]


def test_a_revised_observation_replaces_the_counts(desk: Desk) -> None:
    desk.publish()
    desk.observe(26, seed=1)
    desk.observe(26, seed=2)
    assert desk.sums() == expected(26, 2)
    desk.observe(26, seed=1)
    assert desk.sums() == expected(26, 2), "an old file that comes again is no revision"


def test_an_observation_on_another_grid_is_not_compared(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.publish()
    path = desk.folder / "elsewhere"
    path.write_bytes(b"1")
    file = InputFile(name="elsewhere", sha256="d" * 64, size_bytes=1)
    observation = Observation(REFERENCE_TIME + 26 * HOUR, rain_mm(1))
    moved = WINDOW.model_copy(update={"x_start": WINDOW.x_start + 1})
    for change in ({"window": moved}, {"precipitation_hours": 3}):
        with caplog.at_level(logging.WARNING):
            specification = SPECIFICATION.model_copy(update=change)
            assert desk.verification.take(observation, file, path, specification)[2] == []
        assert "are not compared" in caplog.messages[-1]
    assert desk.sums() == []


def test_catching_up_compares_what_was_left_and_stops_when_told(desk: Desk) -> None:
    for lead in (25, 26):
        desk.observe(lead)
    desk.publish()
    stopping = threading.Event()
    stopping.set()
    desk.verification.catch_up(stopping)
    assert desk.sums() == []
    stopping.clear()
    desk.verification.catch_up(stopping)
    assert sorted(desk.sums(), key=str) == sorted([*expected(25, 1), *expected(26, 1)], key=str)


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def before_the_observation_is_whole(desk: Desk) -> None:
    observation_store._save = die  # type: ignore[assignment]


def before_the_counts(desk: Desk) -> None:
    desk.ledger.record = die  # type: ignore[assignment,method-assign]


def amid_the_counts(desk: Desk) -> None:
    desk.ledger._add_to_totals = die  # type: ignore[assignment,method-assign]


def after_the_counts(desk: Desk) -> None:
    record = desk.ledger.record

    def record_and_die(*arguments: object) -> bool:
        record(*arguments)  # type: ignore[arg-type]
        die()
        return True

    desk.ledger.record = record_and_die  # type: ignore[assignment,method-assign]


def _observe_and_die(folder: Path, arm: Callable[[Desk], None]) -> None:
    desk = Desk(folder)
    arm(desk)
    desk.observe(26, seed=2)


@pytest.mark.parametrize(
    "arm", [before_the_observation_is_whole, before_the_counts, amid_the_counts, after_the_counts]
)
def test_a_kill_at_any_moment_counts_once(tmp_path: Path, arm: Callable[[Desk], None]) -> None:
    """SIGKILL during a revision; then the service starts anew, and the sender tries again."""
    desk = Desk(tmp_path)
    desk.publish()
    desk.observe(26, seed=1)
    desk.ledger.close()
    process = multiprocessing.get_context("fork").Process(target=_observe_and_die, args=(tmp_path, arm))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    again = Desk(tmp_path)
    stored = len(again.observations.revisions(REFERENCE_TIME + 26 * HOUR)) == 2
    assert stored == (arm is not before_the_observation_is_whole)
    again.verification.catch_up(threading.Event())
    assert again.sums() == expected(26, 2 if stored else 1)
    again.observe(26, seed=2)
    assert again.sums() == expected(26, 2)
    both = {(one.source, one.threshold_mm): one.contingency for one in expected(26, 1)}
    for one in expected(26, 2):
        both[one.source, one.threshold_mm] += one.contingency
    assert {(one.source, one.threshold_mm): one.contingency for one in again.ledger.totals()} == both
    names = {path.name for path in (tmp_path / "observations").glob("*/*")}
    assert names == {
        ".lock",
        *(f"r{number}.{kind}" for number in (1, 2) for kind in ("json", "npy", "original")),
    }
    assert parse_time(again.observations.revisions(REFERENCE_TIME + 26 * HOUR)[-1].valid_time) == (
        REFERENCE_TIME + 26 * HOUR
    )
