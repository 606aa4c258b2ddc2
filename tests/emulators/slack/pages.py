"""A look at the workspace in a browser, and a form to answer as staff."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from urllib.parse import quote

from tests.emulators.base import Shown

_HEAD = """<!doctype html><meta charset="utf-8"><title>Slack emulator</title><style>
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:46rem;padding:0 1rem;color:#1d1c1d}
iframe{border:1px solid #ddd;border-radius:6px;width:100%;height:60vh}pre{white-space:pre-wrap;margin:0;font:inherit}
article{margin:.6rem 0}small{color:#616061}textarea{width:100%;box-sizing:border-box;height:4rem}li{margin:.3rem 0}
</style>"""
_REFRESH = '<meta http-equiv="refresh" content="2">'


def overview(channels: Iterable[tuple[str, list[tuple[str, str]]]]) -> str:
    parts = [_HEAD, _REFRESH, "<h1>Slack emulator</h1>"]
    for name, threads in channels:
        items = "".join(
            f'<li><a href="/thread?id={quote(thread, safe="")}">{escape(title[:120])}</a></li>'
            for thread, title in threads
        )
        parts.append(f"<h2>#{escape(name)}</h2><ul>{items or '<li>no threads yet</li>'}</ul>")
    return "".join(parts)


def thread(id: str) -> str:
    return f"""{_HEAD}<p><a href="/">All threads</a></p><iframe src="/messages?id={quote(id, safe="")}"></iframe>
<form method="post" action="/thread?id={quote(id, safe="")}"><p><input name="name" value="Anna" aria-label="Name"></p>
<p><textarea name="text" autofocus aria-label="Answer"></textarea></p><button>Answer</button></form>"""


def messages(shown: Iterable[Shown]) -> str:
    articles = "".join(
        f"<article><b>{escape(one.author)}</b> <small>{'app' if one.by_bot else 'person'} {escape(one.id)}</small>"
        f"<pre>{escape(one.text)}</pre><small>{escape(', '.join(one.files))}</small></article>"
        for one in shown
    )
    return _HEAD + _REFRESH + articles
