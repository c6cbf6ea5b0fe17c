"""Events of cycles for other services: the outbox, who records into it and who delivers from it, in one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from service.announcer import Announcer
from service.cycle_events import CycleEvents
from service.cycle_states import CycleStates
from service.cycle_watch import CycleWatch
from service.deliveries import Deliveries, Receiver, Terms
from service.jobs import Jobs
from service.metrics import Metrics
from service.outbox import Outbox
from service.schedule import Schedule
from service.series import SERIES
from service.settings import Settings
from service.store import Store

_logger = logging.getLogger(__name__)

_HOUR_SECONDS: Final = 3600.0


class Webhooks:
    """With no receiver in the settings it does nothing. leads: whether this process has to do a duty."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        leads_hours: Callable[[], tuple[int, ...]],
        metrics: Metrics,
        leads: Callable[[str], bool],
    ) -> None:
        self._settings = settings
        self._leads = leads
        self._receivers = [Receiver.of(url) for url in settings.webhook_urls]
        self._outbox = Outbox(settings.ledger_database_url)
        events = CycleEvents(settings.webhook_source, leads_hours)
        self.announcer = Announcer(events, store, self._outbox, [one.key for one in self._receivers])
        terms = Terms(
            settings.webhook_keys,
            settings.webhook_timeout_seconds,
            _HOUR_SECONDS * settings.webhook_give_up_hours,
        )
        self._deliveries = Deliveries(
            self._outbox, self._receivers, terms, metrics, lambda: leads("webhook-deliveries")
        )
        self._watch: CycleWatch | None = None
        metrics.registry.register(_WaitingCollector(self._outbox, self._receivers))
        for receiver in self._receivers:
            metrics.expect_deliveries(receiver.name)

    def open(self) -> None:
        """Make the tables that are not there. Raises ``SQLAlchemyError``."""
        if self._receivers:
            self._outbox.open()

    def start(self, watched: tuple[CycleStates, Jobs, Schedule] | None) -> None:
        """Begin to deliver, and to watch for what no job tells of, if there is anything to watch."""
        self._deliveries.start()
        if watched is not None and self._watch is None:
            self._watch = CycleWatch(
                *watched, self.announcer, self._outbox, lambda: self._leads("webhook-watch")
            )
            self._watch.start()

    def stop(self) -> None:
        """Deliver what is due, if receivers take it at once, and end. The rest follows at the next start."""
        self._deliveries.stop()
        if self._watch is not None:
            self._watch.stop()
            self._watch.join()
        self._deliveries.join(self._settings.webhook_timeout_seconds)
        self._outbox.close()


class _WaitingCollector(Collector):
    """How long receivers have waited, read anew at each scrape."""

    def __init__(self, outbox: Outbox, receivers: list[Receiver]) -> None:
        self._outbox = outbox
        self._receivers = receivers

    def describe(self) -> Iterable[Metric]:
        """Nothing: to register the collector is not to scrape it."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One series for each host; without receivers there is nothing to ask for."""
        family = SERIES["webhook_oldest_waiting_event_time_seconds"].gauges()
        try:
            oldest = self._outbox.oldest() if self._receivers else {}
        except SQLAlchemyError:
            _logger.exception("the outbox of events does not answer")
            return
        by_name: dict[str, list[float]] = {one.name: [] for one in self._receivers}
        for receiver in self._receivers:
            if receiver.key in oldest:
                by_name[receiver.name].append(oldest[receiver.key])
        for name, waiting in by_name.items():
            family.add_metric([name], min(waiting, default=0.0))
        yield family
