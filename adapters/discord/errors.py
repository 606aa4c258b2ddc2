"""Discord's refusals as what the outbox should do. The one table."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import discord

from bridge.errors import AuthFailed, DeliveryError, OutcomeUnknown, Rejected, RetryLater, Scope, ThreadGone

NEW_TOKEN = 'make a new token in the developer portal, page "Bot", and put it into the configuration'
NETWORK = "look at the network, at `api_url` and at https://discordstatus.com"
INVITE = "invite the bot to the server and let its role see the channel (View Channel)"
RIGHTS = (
    "give the bot's role in this channel: View Channel, Send Messages, Send Messages in Threads, "
    "Create Public Threads, Read Message History, Attach Files, Manage Threads"
)
FILES = "Discord refuses files (give the bot's role in this channel: Attach Files)"
CHANNEL = (
    "set `channel_id`, or the id in the sites' `destinations`, to a text channel or a forum "
    "of a server that the bot is on"
)
ROOM = "close posts and threads of the server that are over, or wait until Discord archives some"
TAGS = 'switch off "Require people to select tags when posting" in the forum\'s settings'


UNKNOWN_CHANNEL = 10003
UNKNOWN_MESSAGE = 10008
UNKNOWN = {UNKNOWN_CHANNEL, UNKNOWN_MESSAGE}
ARCHIVED = 50083
THREAD_EXISTS = 160004

_REASON_LIMIT = 300


class RateLimited(Exception):
    """Answered with 429. `everywhere` where more than one place of Discord's must wait."""

    def __init__(self, seconds: float, *, everywhere: bool) -> None:
        super().__init__(f"rate limited for {seconds:g} s")
        self.seconds = seconds
        self.everywhere = everywhere


class ServerFailed(Exception):
    """Answered with 5xx: it may have been taken."""


FAILURES = (discord.DiscordException, aiohttp.ClientError, RateLimited, ServerFailed, OSError, TimeoutError)
"""What the library raises, and what we raise through it."""


_Row = Callable[[str], DeliveryError]


def _auth(remedy: str) -> _Row:
    return lambda text: AuthFailed(text, remedy)


def _stands(text: str) -> DeliveryError:
    return ThreadGone(text, stands=True)


def _later(text: str) -> DeliveryError:
    return RetryLater(text, None, Scope.THREAD)


def _outage(text: str) -> DeliveryError:
    return RetryLater(text, None, Scope.ADAPTER, outage=True)


_BY_CODE: dict[int, _Row] = {
    UNKNOWN_CHANNEL: ThreadGone,
    UNKNOWN_MESSAGE: Rejected,  # with a nonce, what was sent first has been deleted
    20016: _later,  # slow mode
    20028: _later,  # the channel's write limit
    20029: lambda text: RetryLater(text, None, Scope.CHANNEL),  # the server's write limit
    40001: _auth(NEW_TOKEN),
    40004: _outage,  # sending is switched off for now
    40067: _auth(TAGS),  # a tag is required
    40333: _outage,  # the proxy in front of Discord refuses it
    50001: _auth(INVITE),  # missing access
    50008: _auth(CHANNEL),  # not a text channel
    50013: _auth(RIGHTS),  # missing permissions
    50024: _auth(CHANNEL),  # not on this type of channel
    ARCHIVED: _stands,  # and locked: else a text would open it
    160005: _stands,  # the thread is locked
    160006: lambda text: _later(f"{text}; {ROOM}"),  # too many active threads: those that stand take messages
}


def translate(error: Exception, scope: Scope) -> DeliveryError:
    """Return what the outbox should do. `scope` is what a rate limit of this call covers."""
    match error:
        case RateLimited():
            return RetryLater(str(error), error.seconds, Scope.ADAPTER if error.everywhere else scope)
        case discord.RateLimited():
            return RetryLater(str(error), error.retry_after, scope)
        case discord.LoginFailure():
            return AuthFailed("Discord does not know the bot's token", NEW_TOKEN)
        case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError():
            # The text of a proxy's refusal holds the proxy's password.
            by = (
                f"at {error.host}" if isinstance(error, OSError) else f"through the proxy, which answers {error.status}"
            )
            return _outage(f"Discord cannot be reached {by}")
        case discord.HTTPException() if error.status < 500:
            return _refusal(error)
        case _:  # 5xx, a cut connection, too long a wait
            return OutcomeUnknown(brief(f"{type(error).__name__}: {error}"))


def _refusal(error: discord.HTTPException) -> DeliveryError:
    text = brief(f"Discord refuses it ({error.code or error.status}): {error.text or error.response.reason}")
    if row := _BY_CODE.get(error.code):
        return row(text)
    if error.status == 401:
        return AuthFailed(text, NEW_TOKEN)
    # Without a code of Discord's it is a proxy that speaks, and not about this message: but for its size.
    return Rejected(text) if error.code or error.status == 413 else _outage(text)


def brief(text: str) -> str:
    """Return a text as one line that is not too long for a log or a notice: a proxy answers with whole pages."""
    return " ".join(text.split())[:_REASON_LIMIT]
