"""`threadbridge check`: asks each adapter to examine its configuration against its platform. So does `serve`, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import structlog

from bridge.app import App, adapter_of
from bridge.clock import SystemClock
from bridge.config import Config
from bridge.errors import BridgeError
from bridge.inbound import Sink, View
from bridge.model import AdapterName
from bridge.ports import Adapter, Checks, Files, Finding, Link

_DEADLINE = 60.0
"""Seconds for one adapter to answer."""
log = structlog.get_logger()


async def check(config: Config) -> AsyncIterator[tuple[AdapterName, Finding]]:
    """Yield what was looked at, adapter by adapter. Raises ConfigError where one cannot be made."""
    # Nothing is heard or sent while checking: an adapter needs neither files nor conversations for it.
    no_files, no_conversations = cast("Files", None), cast("View", None)
    public_url = config.gateway.public_url or f"http://{config.gateway.host}:{config.gateway.port}"
    with TemporaryDirectory() as data:  # what an adapter keeps there is not kept
        passing = replace(config, gateway=config.gateway.model_copy(update={"data": Path(data)}))
        adapters = {  # all of them first, as `serve` makes them: what does not fit together is told here too
            name: adapter_of(passing, name, no_files, SystemClock(), no_conversations, public_url)
            for name in config.adapters
        }
        for name, adapter in adapters.items():
            for finding in await _findings(adapter, _channels(config, name)):
                yield name, finding


async def warn(config: Config, app: App) -> None:
    """Log what each adapter of a running bridge finds wrong once it is connected: why one is down, it says itself."""
    async with asyncio.TaskGroup() as tasks:
        for name, adapter in app.adapters.items():
            warning = _warn(name, adapter, _channels(config, name), app.sinks[name])
            tasks.create_task(warning, name=f"check-{name}")


async def _warn(name: AdapterName, adapter: Adapter, channels: Sequence[str], sink: Sink) -> None:
    while sink.link.link is not Link.UP:  # noqa: ASYNC110 - rare
        await asyncio.sleep(0.5)
    try:
        findings = await _findings(adapter, channels)
    except Exception:  # which is to end no other
        log.exception("check_defect", adapter=name)
        return
    for finding in findings:
        if not finding.ok:
            log.warning("check_failed", adapter=name, found=finding.what, remedy=finding.remedy)


async def _findings(adapter: Adapter, channels: Sequence[str]) -> Sequence[Finding]:
    if not isinstance(adapter, Checks):
        return [Finding(ok=True, what="there is nothing to check")]
    try:
        async with asyncio.timeout(_DEADLINE):
            return await adapter.check(channels)
    except (BridgeError, TimeoutError) as error:
        reason = str(error) or f"no answer within {_DEADLINE:.0f} seconds"
        return [
            Finding(ok=False, what=reason, remedy="look at the network and at the adapter's address, then try again")
        ]


def _channels(config: Config, name: AdapterName) -> list[str]:
    """Return the channels in which sites let an adapter open threads; empty stands for its own."""
    named = (each for site in config.sites.values() for spread in site.destinations for each in spread)
    return list(dict.fromkeys(each.channel for each in named if each.adapter == name)) or [""]
