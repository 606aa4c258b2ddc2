"""A page for a person who wants to look at the server, and to answer as staff."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from tests.emulators.base import REFRESH

if TYPE_CHECKING:
    from tests.emulators.discord.server import DiscordEmulator

_HEAD = (
    """<!doctype html><html lang="en"><meta charset="utf-8"><title>Discord test server</title>
<meta name="viewport" content="width=device-width">
<style>body{font:16px/1.5 system-ui;max-width:44rem;margin:2rem auto;padding:0 1rem;color:#222}
section{border:1px solid #ccc;border-radius:8px;padding:0 1rem 1rem;margin:1rem 0}p{margin:.4rem 0;white-space:pre-wrap}
b{color:#5865f2}small{color:#666}textarea{width:100%;box-sizing:border-box}</style>
<h1>Discord test server</h1>"""
    + REFRESH
)


def html(server: DiscordEmulator) -> str:
    threads = [_thread(server, thread) for thread in reversed(server.threads())]
    return _HEAD + ("".join(threads) or "<p>No thread yet.</p>")


def _thread(server: DiscordEmulator, thread: str) -> str:
    channel = server.world.channels[thread]
    parent = server.world.channels[channel["parent_id"]]["name"]
    state = ", archived" if channel["thread_metadata"]["archived"] else ""
    messages = "".join(
        f"<p><b>{escape(shown.author)}</b> {escape(shown.text)} <small>{escape(' '.join(shown.files))}</small></p>"
        for shown in server.messages(thread)
    )
    return (
        f'<section id="{thread}"><h2>{escape(server.title(thread))}</h2><small>#{escape(parent)}{state}</small>'
        f'{messages}<form method="post" action="/staff"><input type="hidden" name="thread" value="{thread}">'
        '<input name="name" value="Anna" aria-label="Name"> <textarea name="text" rows="2" aria-label="Answer">'
        "</textarea><button>Answer</button></form></section>"
    )
