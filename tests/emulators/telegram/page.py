"""A page on which a person can look at the groups and answer as staff."""

from __future__ import annotations

from html import escape

from tests.emulators.base import REFRESH, Shown

_HEAD = (
    """<!doctype html><html lang="en"><meta charset="utf-8"><title>Telegram test server</title>
<meta name="viewport" content="width=device-width">
<style>body{font:15px/1.45 system-ui;margin:1rem auto;max-width:48rem;padding:0 1rem}section{border:1px solid #bbb;
border-radius:8px;padding:.5rem 1rem;margin:1rem 0}p{white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0}
.bot{color:#246}form{display:flex;gap:.5rem}input[name=text]{flex:1}</style>
<h1>Telegram test server</h1><p>Topics, newest last.</p>"""
    + REFRESH
)


def page(topics: list[tuple[str, str, list[Shown]]]) -> str:
    """Render (thread, title, messages) of every topic."""
    return _HEAD + ("".join(_topic(*topic) for topic in topics) or "<p>No topic yet.</p>")


def _topic(thread: str, title: str, messages: list[Shown]) -> str:
    lines = "".join(
        f'<p class="{"bot" if shown.by_bot else "staff"}"><b>{escape(shown.author)}</b> {escape(shown.text)}'
        f"{''.join(f' [{escape(name)}]' for name in shown.files)}</p>"
        for shown in messages
    )
    return (
        f"<section><h2>{escape(title)}</h2>{lines}"
        f'<form method="post" action="/say"><input type="hidden" name="thread" value="{escape(thread)}">'
        '<input name="name" value="Anna" size="8" aria-label="Name"><input name="text" aria-label="Answer" required>'
        "<button>Answer</button></form></section>"
    )
