"""Starts a test server by hand, so that a person can look at the whole system without an account.

python -m tests.emulators slack --port 9401
"""

from __future__ import annotations

import argparse
import asyncio
import json
from contextlib import suppress
from importlib import import_module

_CLASSES = {"slack": "SlackEmulator", "telegram": "TelegramEmulator", "discord": "DiscordEmulator"}


async def serve(platform: str, port: int) -> None:
    """Serve until interrupted; print what an adapter needs to connect."""
    module = import_module(f"tests.emulators.{platform}")
    async with getattr(module, _CLASSES[platform])(port=port) as emulator:
        print(f"# {platform}: look at {emulator.api_url.split('/api')[0]}/ and put this into config.toml")
        print(f"[adapters.{platform}]")
        for key, value in emulator.settings().items():
            print(f"{key} = {json.dumps(value)}")
        await asyncio.Event().wait()


def main() -> None:
    """Read the command line."""
    options = argparse.ArgumentParser(prog="python -m tests.emulators")
    options.add_argument("platform", choices=sorted(_CLASSES))
    options.add_argument("--port", type=int, default=0, help="0 takes a free one")
    chosen = options.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(chosen.platform, chosen.port))


if __name__ == "__main__":
    main()
