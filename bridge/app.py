"""The one place that constructs things, and owns the order in which they start and stop."""

from __future__ import annotations

import asyncio
import gc
import resource
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog

from bridge import discovery, disk
from bridge.answering import AnswerTimes
from bridge.clock import SystemClock
from bridge.config import Config
from bridge.conversations import Conversations
from bridge.errors import ConfigError, ConfigProblem, StartError, StoreError
from bridge.gateway.admission import Limits
from bridge.gateway.files import FileStore
from bridge.gateway.metrics import Metrics
from bridge.gateway.server import Gateway, bind, create_app, url_of
from bridge.inbound import Sink, View
from bridge.model import AdapterName, Destination, ThreadKey
from bridge.outbox import Outbox
from bridge.ports import Adapter, Clock, Files, House, Link
from bridge.presence import VisitorTyping
from bridge.storage import Store
from bridge.store.sqlite.store import open_store
from bridge.wakeups import MemoryWakeups

_DRAIN = 10.0
_LEAVE = 5.0
"""Deadlines of stopping, in seconds: for deliveries under way, and for adapters to disconnect."""
_UNATTACHED = timedelta(days=7)
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class App:
    """What runs."""

    url: str
    adapters: Mapping[AdapterName, Adapter]
    sinks: Mapping[AdapterName, Sink]
    outbox: Outbox

    @property
    def desk_url(self) -> str | None:
        """Where the built-in desk is, with its token, if there is one."""
        found = (getattr(adapter, "url", None) for adapter in self.adapters.values())
        return next((url for url in found if url), None)

    async def until_connected(self) -> None:
        """Wait until every adapter has said how its connection is, up or down."""
        while any(sink.link.link is Link.CONNECTING for sink in self.sinks.values()):  # noqa: ASYNC110 - rare, and short
            await asyncio.sleep(0.01)


async def run(
    config: Config, announce: Callable[[App], None], warn: Callable[[App], Coroutine[None, None, None]]
) -> None:
    """Serve, with `warn` beside it, until told to stop.

    Raises StartError, ConfigError and SchemaTooNew before anything is served.
    """
    _raise_file_limit()
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running(config) as app:
        announce(app)
        _tune_collector()
        watching = asyncio.create_task(_until_gone((config.data / "lock", config.store.path)), name="data-folder")
        stopping = asyncio.create_task(stopped.wait(), name="stop")
        warning = asyncio.create_task(warn(app), name="warn")
        await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
        gone = watching.done()
        for task in (watching, stopping, warning):
            task.cancel()
        log.info("stopping")
        await _ended([warning], _LEAVE)
    if gone:
        raise StoreError(f"The data folder {config.data} was removed or replaced while it was in use: stopped.")


async def _until_gone(paths: Sequence[Path]) -> None:
    """Return when one of the files is not there any more, or is another."""

    def look() -> list[int | None]:
        return [path.stat().st_ino if path.exists() else None for path in paths]

    held = await asyncio.to_thread(look)
    while await asyncio.to_thread(look) == held:  # noqa: ASYNC110 - a file system tells nobody
        await asyncio.sleep(5)


@asynccontextmanager
async def running(config: Config, clock: Clock | None = None) -> AsyncIterator[App]:
    """Start everything; stop it in stages: no new work, clients told to move, deliveries drained, adapters, store."""
    clock = clock or SystemClock()
    with disk.locked(config.data, config.store.path), bind(config.gateway.host, config.gateway.port) as listening:
        await asyncio.to_thread(disk.remove_parts, config.data / "files")
        async with (
            open_store(config.store.path, examine=True) as store,
            _serving(config, listening, store, clock) as app,
        ):
            log.info("ready", url=app.url)
            yield app
    log.info("stopped")


@asynccontextmanager
async def _serving(config: Config, listening: socket.socket, store: Store, clock: Clock) -> AsyncIterator[App]:
    wakeups = MemoryWakeups()
    log_readers: set[AdapterName] = set()
    conversations = Conversations(store, wakeups, clock, log_readers)
    keys = _secrets(config)
    files = FileStore(config.data / "files", store, keys[0].encode(), clock)
    sites = config.site_table()
    public_url = config.gateway.public_url or url_of(listening)
    adapters: dict[AdapterName, Adapter] = {}
    sinks: dict[AdapterName, Sink] = {}
    for name in config.adapters:
        view = View(name, store, conversations, wakeups)
        adapters[name] = adapter_of(config, name, files, clock, view, public_url)
        sinks[name] = Sink(name, store, conversations, clock)
        if adapters[name].capabilities.reads_log:
            log_readers.add(name)

    def found(name: AdapterName, thread: ThreadKey) -> None:
        task = tasks.create_task(sinks[name].found(thread), name=f"found-{name}")
        hearing.append(task)
        task.add_done_callback(hearing.remove)

    outbox = Outbox(store, conversations, wakeups, clock, adapters, _destinations(config), found)
    conversations.load = outbox.load
    typing = VisitorTyping(store, wakeups, clock, adapters)
    answering = AnswerTimes(store, clock)
    web_app = create_app(
        sites=sites,
        conversations=conversations,
        wakeups=wakeups,
        files=files,
        adapters=adapters,
        secrets=[key.encode() for key in keys],
        public_url=public_url,
        limits=Limits(
            config.limits.messages_per_minute,
            config.limits.conversations_per_hour,
            config.limits.uploads_per_hour,
            config.limits.connections_per_address,
        ),
        trusted_proxies=config.gateway.trusted_proxies,
        clock=clock,
        ready=lambda: _is_ready(store),
        metrics=Metrics(store, conversations, outbox, sinks, clock),
        answers_in=answering.of,
    )
    await store.recover(clock.now())  # just before the lanes, which notice where the clock is set back from now on
    async with asyncio.TaskGroup() as tasks:
        delivering = tasks.create_task(outbox.run(), name="outbox")
        hearing = [
            tasks.create_task(_run_adapter(name, adapter, sinks[name]), name=f"adapter-{name}")
            for name, adapter in adapters.items()
        ]
        hearing.append(tasks.create_task(typing.run(), name="visitor-typing"))
        hearing.append(tasks.create_task(answering.run(), name="answer-times"))
        hearing.append(tasks.create_task(_sweep(store, files, clock), name="sweep"))
        try:
            async with Gateway(web_app, listening):
                yield App(url_of(listening), adapters, sinks, outbox)
        finally:
            outbox.stop()
            await _ended([delivering], _DRAIN)
            for task in hearing:
                task.cancel()
            await _ended(hearing, _LEAVE)


async def _ended(tasks: Sequence[asyncio.Task[None]], seconds: float) -> None:
    """Wait for tasks; those that have not ended by the deadline are cancelled."""
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        log.warning("stopped_late", task=task.get_name())
        task.cancel()


async def _run_adapter(name: AdapterName, adapter: Adapter, sink: Sink) -> None:
    """Keep an adapter running: a defect in one must not take the others along."""
    while True:
        try:
            await adapter.run(sink)
            log.error("adapter_ended", adapter=name)
        except Exception:
            log.exception("adapter_defect", adapter=name)
        await asyncio.sleep(5)


async def _sweep(store: Store, files: FileStore, clock: Clock) -> None:
    """Remove, now and then, what visitors uploaded and never sent."""
    while True:
        try:
            await files.remove(await store.drop_unattached(clock.now() - _UNATTACHED))
        except StoreError as error:
            log.warning("sweep_failed", error=str(error))
        await clock.sleep(3600)


async def _is_ready(store: Store) -> bool:
    try:
        await store.probe()
    except StoreError:
        return False
    return True


def adapter_of(config: Config, name: AdapterName, files: Files, clock: Clock, view: View, public_url: str) -> Adapter:
    """Make one adapter. Raises ConfigError where its settings do not fit together with the others'."""
    section = config.adapters[name]
    channels = frozenset(each.channel for each in _destinations(config) if each.adapter == name)
    house = House(name, files, clock, view, public_url, config.data, channels)
    try:
        return discovery.load(section.type).create(section.settings, house)
    except (ValueError, discovery.NotInstalled) as error:
        raise ConfigError([ConfigProblem("configuration", f"adapters.{name}", section.type, str(error))]) from error


def _destinations(config: Config) -> Sequence[Destination]:
    named = (each for site in config.site_table().values() for spread in site.destinations for each in spread)
    return tuple(dict.fromkeys(named))


def _secrets(config: Config) -> Sequence[str]:
    """Return the secrets that sign, the first of which signs anew; made and kept in the data folder when absent."""
    if config.gateway.secret:
        return [secret.get_secret_value() for secret in config.gateway.secret]
    path = config.data / "secret"
    try:
        secret = path.read_text("utf-8").strip() if path.exists() else ""
        if not secret:
            secret = secrets.token_urlsafe(32)
            disk.write(path, secret.encode(), 0o600)  # whole: an empty one would let anybody sign
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"The secret cannot be kept in {path}: {error}.") from error
    return [secret]


def _raise_file_limit() -> None:
    """Take as many open files as the system grants: each connection is one, and the usual start is 1,024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # macOS says "unlimited" and grants less
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _tune_collector() -> None:
    """Spare the collector what lives as long as the process, and let it run seldom: connections leave it no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
