"""What `threadbridge check` looks at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from adapters.slack.api import CUSTOMIZE, Api
from adapters.slack.errors import reason_and_remedy
from adapters.slack.settings import Settings
from bridge.errors import DeliveryError
from bridge.ports import Finding, House

REQUIRED = frozenset({"chat:write", "files:read", "files:write", "users:read"})
"""Besides these, reading a public channel needs channels:read and channels:history, a private one groups:..."""
_OPTIONAL = {
    CUSTOMIZE: "visitors' names are not shown on messages",
    "reactions:read": "a reaction does not tell the visitor that a message was seen",
}
_TRY_AGAIN = "try again later"
_INSTALL = "add under OAuth & Permissions of the app and install the app again"


async def examine(
    api: Api, settings: Settings, house: House, channels: Sequence[str], *, listening: bool
) -> list[Finding]:
    """Return a finding for each point; those that depend on a failed one are left out.

    While we are listening no socket is opened: Slack gives one a minute or so, and those that serve need them.
    """
    try:
        who = await api.read("auth.test")
    except DeliveryError as error:
        return [_failed("the bot token", error)]
    findings = [Finding(True, f"the bot token is of the app {who.get('user')} in the workspace {who.get('team')}")]
    findings.append(_scopes(api))
    for channel in dict.fromkeys(channel or settings.channel for channel in channels or [""]):
        findings += [finding async for finding in _channel(api, channel)]
    if not listening:
        findings.append(await _events(api, settings, house))
    return findings


def _scopes(api: Api) -> Finding:
    if lacking := sorted(REQUIRED - api.scopes):
        return Finding(False, f"the bot token lacks scopes: {', '.join(lacking)}", f"{', '.join(lacking)}: {_INSTALL}")
    without = "".join(f", but not {scope}: {lost}" for scope, lost in _OPTIONAL.items() if scope not in api.scopes)
    return Finding(True, f"the bot token has its scopes{without}")


async def _channel(api: Api, channel: str) -> AsyncIterator[Finding]:
    try:
        told = (await api.read("conversations.info", channel=channel))["channel"]
        name = f"#{told.get('name')}"
        if told.get("is_archived"):
            yield Finding(False, f"the channel {name} is archived", "unarchive it or choose another one")
        elif not told.get("is_member"):
            yield Finding(False, f"the app is not in the channel {name}", "invite it there: /invite @its name")
        else:
            yield Finding(True, f"the app is in the channel {name}")
            yield await _reads(api, channel, name)
    except DeliveryError as error:
        yield _failed(f"the channel {channel}", error)


async def _reads(api: Api, channel: str, name: str) -> Finding:
    """Read as the bridge does after an unknown outcome: history, and the replies of a message where there is one."""
    what = f"reading threads in {name}"
    try:
        history = await api.read("conversations.history", channel=channel, limit=1)
        for message in history.get("messages") or ():
            await api.read("conversations.replies", channel=channel, ts=message["ts"], limit=1)
    except DeliveryError as error:
        return _failed(what, error)
    return Finding(True, f"{what} works")


async def _events(api: Api, settings: Settings, house: House) -> Finding:
    if settings.app_token is None:
        url = f"{house.public_url}/hooks/{house.name}"
        return Finding(True, f"the signing secret is set; the app's Event Subscriptions must name {url}")
    try:
        await api.open_socket()
    except DeliveryError as error:
        return _failed("the app token", error)
    return Finding(True, "the app token opens a socket")


def _failed(what: str, error: DeliveryError) -> Finding:
    reason, remedy = reason_and_remedy(error)
    return Finding(False, f"{what}: {reason}", remedy or _TRY_AGAIN)
