"""What `check` looks at."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from telegram import Bot, ChatMemberAdministrator, ChatMemberOwner
from telegram.constants import ChatType
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, TelegramError

from adapters.telegram import errors
from bridge.ports import Finding


async def examine(bot: Bot, chats: Sequence[int], webhook: str | None) -> AsyncIterator[Finding]:
    """Yield a finding for each point. `webhook` is the address of ours, None for polling."""
    try:
        me = await bot.get_me()
    except InvalidToken:
        yield Finding(False, "Telegram does not know this token", errors.TOKEN_REMEDY)
        return
    except TelegramError as error:
        yield Finding(False, f"Telegram cannot be reached: {error.message}", errors.NETWORK_REMEDY)
        return
    yield Finding(True, f"the token is that of @{me.username}")
    for chat in chats:
        try:
            findings = [finding async for finding in group(bot, chat, me.id)]
        except TelegramError as error:
            findings = [Finding(False, f"group {chat}: {error.message}", errors.NETWORK_REMEDY)]
        for finding in findings:
            yield finding
        if len(findings) > 1:
            yield await _deletes(bot, chat, me.id)
    async for finding in _way_in(bot, webhook):
        yield finding


async def group(bot: Bot, chat: int, me: int) -> AsyncIterator[Finding]:
    """Yield what the bot needs in a group to hear and to answer; one finding alone where it is not in the group.

    Raises TelegramError where Telegram does not answer.
    """
    try:
        found = await bot.get_chat(chat)
        member = await bot.get_chat_member(chat, me)
    except ChatMigrated as error:
        yield Finding(False, f"group {chat}: {errors.MIGRATED}", errors.migrated_remedy(chat, error.new_chat_id))
        return
    except (BadRequest, Forbidden) as error:
        yield Finding(False, f"group {chat}: {error.message}", errors.CHAT_REMEDY)
        return
    if found.type != ChatType.SUPERGROUP or not found.is_forum:
        yield Finding(False, f"group {chat} has no topics", errors.FORUM_REMEDY)
    else:
        yield Finding(True, f"group {chat} has topics")
    owner, admin = isinstance(member, ChatMemberOwner), isinstance(member, ChatMemberAdministrator)
    topics = owner or (isinstance(member, ChatMemberAdministrator) and bool(member.can_manage_topics))
    yield _right(owner or admin, f"the bot is an administrator in group {chat}")
    yield _right(topics, f"the bot may manage topics in group {chat}")


async def _deletes(bot: Bot, chat: int, me: int) -> Finding:
    try:
        member = await bot.get_chat_member(chat, me)
    except TelegramError as error:
        return Finding(False, f"group {chat}: {error.message}", errors.CHAT_REMEDY)
    owner = isinstance(member, ChatMemberOwner)
    ok = owner or (isinstance(member, ChatMemberAdministrator) and member.can_delete_messages)
    return _right(ok, f"the bot may delete in group {chat}")


def _right(ok: bool, what: str) -> Finding:
    return Finding(ok, what if ok else f"not so: {what}", "" if ok else errors.RIGHTS_REMEDY)


async def _way_in(bot: Bot, webhook: str | None) -> AsyncIterator[Finding]:
    try:
        url = (await bot.get_webhook_info()).url
    except TelegramError as error:
        yield Finding(False, f"the webhook's state is unknown: {error.message}", "try again later")
        return
    if url and url != webhook:
        # Not the address: another program's may hold a secret of its own
        yield Finding(False, "a webhook that is not ours is set for this bot", errors.CONFLICT_REMEDY)
    elif webhook is not None and not webhook.startswith("https://"):
        yield Finding(False, "the webhook's address is not https", "set `gateway.public_url` to an https address")
    else:
        yield Finding(True, "nothing stands in the way of updates")
