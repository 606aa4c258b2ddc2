"""`GET /metrics`: what the parts of the house count, read when asked, in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from bridge.conversations import Conversations
from bridge.deliveries import Backlog
from bridge.errors import StoreError
from bridge.gateway.admission import Admission
from bridge.health import LaneState
from bridge.inbound import Sink
from bridge.model import AdapterName
from bridge.outbox import Outbox
from bridge.ports import Clock, Link
from bridge.storage import Store

_COUNTED = 100_000
"""Of more deliveries than this that wait, or are dead, the rest is not counted: a scrape must end."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """What is measured."""

    store: Store
    conversations: Conversations
    outbox: Outbox
    sinks: Mapping[AdapterName, Sink]
    clock: Clock

    def routes(self, admission: Admission) -> Sequence[web.RouteDef]:
        """Return the routes."""

        async def scrape(_: web.Request) -> web.Response:
            registry = CollectorRegistry(auto_describe=False)
            registry.register(_Snapshot([*self._traffic(admission), *self._lanes(), *await self._queue()]))
            return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

        return [web.get("/metrics", scrape)]

    def _traffic(self, admission: Admission) -> Iterator[Metric]:
        taken = self.conversations.taken
        yield _counter("messages", "Messages taken.", ["author"], [((kind,), taken[kind]) for kind in taken])
        yield GaugeMetricFamily("threadbridge_connections", "Visitors' open connections.", value=admission.connections)
        yield CounterMetricFamily("threadbridge_store_errors", "Failed operations.", value=self.store.errors)
        links = [((name, link), sink.link.link is link) for name, sink in self.sinks.items() for link in Link]
        yield _gauge("adapter_link", "1 for how the connection to a platform is.", ["adapter", "link"], links)

    def _lanes(self) -> Iterator[Metric]:
        lanes = {str(destination): lane for destination, lane in self.outbox.lanes.items()}
        states = [((name, state), lane.state is state) for name, lane in lanes.items() for state in LaneState]
        yield _gauge("lane_state", "1 for how the way to a destination is.", ["destination", "state"], states)
        sent = [((name,), lane.health.sent) for name, lane in lanes.items()]
        yield _counter("sends", "Attempts that succeeded.", ["destination"], sent)
        failed = [((name, kind), count) for name, lane in lanes.items() for kind, count in lane.failed.items()]
        yield _counter("send_failures", "Attempts that failed.", ["destination", "kind"], failed)
        repeated = [((name,), lane.possible_duplicates) for name, lane in lanes.items()]
        yield _counter("possible_duplicates", "Sent again, nobody could look.", ["destination"], repeated)

    async def _queue(self) -> Sequence[Metric]:
        """Return nothing where the store cannot be read: the other figures are wanted then all the more."""
        try:
            backlog = await self.store.backlog(_COUNTED)
        except StoreError:
            return ()
        counts = [((str(each.destination), each.state), each.count) for each in backlog]
        return (
            _gauge("deliveries", "Deliveries that are not sent.", ["destination", "state"], counts),
            _gauge("oldest_delivery_seconds", "Age of the oldest that waits.", ["destination"], self._ages(backlog)),
        )

    def _ages(self, backlog: Sequence[Backlog]) -> Sequence[tuple[tuple[str], float]]:
        now, ages = self.clock.now(), dict.fromkeys(map(str, self.outbox.lanes), 0.0)
        for each in backlog:
            if each.state != "dead":
                name = str(each.destination)
                ages[name] = max(ages.get(name, 0.0), (now - each.oldest).total_seconds())
        return [((name,), age) for name, age in ages.items()]


class _Snapshot(Collector):
    """What was read for one scrape: a registry of its own, as several bridges may live in one process."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return it."""
        return self._metrics


Samples = Iterable[tuple[Sequence[str], float]]


def _counter(name: str, what: str, labels: Sequence[str], samples: Samples) -> Metric:
    family = CounterMetricFamily(f"threadbridge_{name}", what, labels=labels)
    for values, count in samples:
        family.add_metric(values, count)
    return family


def _gauge(name: str, what: str, labels: Sequence[str], samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"threadbridge_{name}", what, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
