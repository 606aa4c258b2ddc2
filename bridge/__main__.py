"""The command line: `threadbridge`."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar, cast

import structlog
import typer

from bridge import __version__, log, wizard
from bridge.config import Config, demo_config, load
from bridge.errors import BridgeError, ConfigError, StartError
from bridge.model import DeliveryId

T = TypeVar("T")

cli = typer.Typer(
    help="Live chat for websites that a team answers from its own Slack, Telegram or Discord.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its boxes show "--version <bool>" for what takes no value
)

ConfigFile = Annotated[Path, typer.Option("--config", help="The TOML file.")]
CONFIG_FILE = Path("config.toml")
LogLevel = Annotated[log.Level, typer.Option(help="From which weight on events are logged.")]
LogFormat = Annotated[log.Form, typer.Option(help="Lines for people, or JSON.")]

_SAME_SECRET = "It must be the one from then, or visitors lose their conversations."
DEMO_DATA = Path("data/demo")
DEMO_PORTS = range(8080, 8180)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"threadbridge {__version__}")
        raise typer.Exit


@cli.callback()
def _options(
    version: Annotated[  # noqa: ARG001 - its callback prints it
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    os.umask(0o077)  # what visitors wrote, and the secrets, are for the one who serves them


@cli.command()
def demo(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Without it: the first free one from 8080.")
    ] = None,
    log_level: LogLevel = log.Level.WARNING,
    log_format: LogFormat = log.Form.CONSOLE,
) -> None:
    """Show a shop with the widget, and the desk where the team answers. Needs no configuration."""
    from bridge.app import App, run
    from bridge.checking import warn

    def announce(app: App) -> None:
        typer.echo(f"Shop page: {app.url}/demo/")
        typer.echo(f"Desk:      {app.desk_url}")
        typer.echo("Write in the shop, answer at the desk. Ctrl-C stops; what was written stays.")

    log.set_up(log_level, log_format)
    with _told():
        config = demo_config(DEMO_DATA, _free_port() if port is None else port)
        _run(run(config, announce, partial(warn, config)))


@cli.command()
def serve(
    config: ConfigFile = CONFIG_FILE,
    log_level: LogLevel = log.Level.INFO,
    log_format: LogFormat = log.Form.CONSOLE,
) -> None:
    """Serve the configured sites and adapters."""
    from bridge.app import App, run
    from bridge.checking import warn

    def announce(app: App) -> None:
        if made := _made_desk_url(settings, app.desk_url):
            typer.echo(f"Desk: {made}")

    log.set_up(log_level, log_format)
    with _told():
        settings = load(config, os.environ)
        _run(run(settings, announce, partial(warn, settings)))


@cli.command()
def check(
    config: ConfigFile = CONFIG_FILE,
    log_level: LogLevel = log.Level.ERROR,
    log_format: LogFormat = log.Form.CONSOLE,
) -> None:
    """Check the file, then each adapter against its platform, and say what to do."""
    log.set_up(log_level, log_format)
    with _told():
        settings = load(config, os.environ)
        typer.echo(f"{config}: ok")
        if not _run(_checked(settings)):
            raise typer.Exit(1)


@cli.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write.")] = CONFIG_FILE,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing, take the defaults.")] = False,
) -> None:
    """Write a commented configuration, asking only what it must."""
    with _told():
        tag = wizard.write(path, ask=not yes)
        option = "" if path == CONFIG_FILE else f" --config {shlex.quote(str(path))}"
        typer.echo(
            f"Wrote {path}. Put this tag into the site's pages:\n\n    {tag}\n\n"
            f"Next:\n\n    threadbridge check{option}\n    threadbridge serve{option}\n"
        )


@cli.command()
def deliveries(
    action: Annotated[
        Literal["retry", "drop"] | None, typer.Argument(help="Without it: list what is not sent.")
    ] = None,
    id: Annotated[int | None, typer.Argument(help="Which delivery.")] = None,
    config: ConfigFile = CONFIG_FILE,
    state: Annotated[
        Literal["pending", "claimed", "uncertain", "dead"] | None, typer.Option(help="List these alone.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Retry all that are dead.")] = False,
    format: Annotated[log.Form, typer.Option(help="A table for people, or JSON, a line each.")] = log.Form.CONSOLE,
) -> None:
    """List what is not sent, send again what is dead, or drop what shall never be sent."""
    from bridge import operating

    if (action is None) != (id is None and not every) or (every and (action != "retry" or id is not None)):
        raise typer.BadParameter("write `retry ID`, `retry --all`, `drop ID`, or none of them to list")
    if action and state:
        raise typer.BadParameter("--state is for the list")
    log.set_up(log.Level.ERROR, log.Form.CONSOLE)
    with _told():
        settings = load(config, os.environ)
        if action == "retry":
            revived = _run(operating.retry(settings, None if id is None else [DeliveryId(id)]))
            typer.echo(f"Pending again: {revived}. A running bridge sees it within 15 seconds.")
        elif action == "drop":
            _run(operating.drop(settings, DeliveryId(cast("int", id))))
            typer.echo(f"Dropped: {id}.")
        else:
            for line in _run(operating.listed(settings, state, format)):
                typer.echo(line)


@cli.command()
def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write.")], config: ConfigFile = CONFIG_FILE
) -> None:
    """Write the database, the files and the secret into one archive, also while the bridge runs."""
    from bridge import backups

    with _told():
        settings = load(config, os.environ)
        contents = backups.write(settings, file)
        typer.echo(f"Wrote {file}: {file.stat().st_size:,} bytes, with {contents.files:,} attachments and pictures.")
        if settings.gateway.secret:
            typer.echo(f"gateway.secret is not in it: keep {config} as well.")


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(help="An archive of `threadbridge backup`.")], config: ConfigFile = CONFIG_FILE
) -> None:
    """Put back what an archive holds, where there is no data yet. Then `threadbridge serve` goes on from there."""
    from bridge import backups

    with _told():
        settings = load(config, os.environ)
        contents = backups.restore(settings, file)
        typer.echo(f"Restored {file}, with {contents.files:,} attachments and pictures.")
        if settings.gateway.secret and contents.secret:
            typer.echo(f"gateway.secret of {config} goes before the archive's secret. {_SAME_SECRET}")
        elif not settings.gateway.secret and not contents.secret:
            typer.echo(f"The archive holds no secret: put gateway.secret into {config}. {_SAME_SECRET}")


@cli.command()
def migrate(config: ConfigFile = CONFIG_FILE) -> None:
    """Bring the database of a stopped bridge to this version's schema; `serve` does so by itself."""
    from bridge import operating

    with _told():
        settings = load(config, os.environ)
        _run(operating.migrate(settings))
        typer.echo(f"{settings.store.path} has this version's schema.")


async def _checked(config: Config) -> bool:
    """Print what each adapter found; tell whether all is well."""
    from bridge.checking import check as findings_of

    well = True
    async for name, finding in findings_of(config):
        typer.echo(f"adapters.{name}: {'ok' if finding.ok else 'FAILED'}: {finding.what}")
        if not finding.ok:
            typer.echo(f"    {finding.remedy}")
            well = False
    return well


def _made_desk_url(config: Config, url: str | None) -> str | None:
    """Return the desk's address with its token where that was made, not configured: nobody else knows it."""
    configured = any(
        getattr(adapter.settings, "token", None) for adapter in config.adapters.values() if adapter.type == "desk"
    )
    return None if configured else url


def _free_port() -> int:
    """Return the first port that can be had; 0, which is any, where none of ours can."""
    from bridge.gateway.server import bind

    for port in DEMO_PORTS:
        with suppress(StartError), bind("127.0.0.1", port):
            return port
    return 0


def _run(main: Coroutine[None, None, T]) -> T:
    """Run on uvloop where it is installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


@contextmanager
def _told() -> Iterator[None]:
    """Tell in a sentence what went wrong, never with a traceback, and end with the status that says it."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except ConfigError as error:
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(2) from None
    except BridgeError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except Exception as error:  # noqa: BLE001 - whatever else it is, it is a defect of ours
        structlog.get_logger().debug("crashed", exc_info=True)
        typer.echo(
            f"Threadbridge has a defect and stopped: {type(error).__name__}. With --log-level debug it says where.",
            err=True,
        )
        raise typer.Exit(70) from None


def main() -> None:
    """Run the command line."""
    cli(prog_name="threadbridge")


if __name__ == "__main__":
    main()
