"""The configuration: a TOML file and the environment, read into frozen models; all that is wrong is told at once.

The docstring below a key is its documentation.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bridge import discovery
from bridge.errors import ConfigError, ConfigProblem
from bridge.look import Look
from bridge.model import AdapterName, Destination, Site, SiteKey
from bridge.sources import Section, Source, problems_of, read_sources, shown

# --- kinds of values --------------------------------------------------------------------------------------------------


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _origin(text: str) -> str:
    return _checked_origin(text, "https://shop.example")


def _checked_origin(text: str, example: str) -> str:
    if text == "null":
        return text
    try:
        parts = urlsplit(text)
        valid = parts.port != 0 and bool(parts.hostname) and parts.scheme in {"http", "https"} and not parts.username
    except ValueError:
        valid = False
        parts = urlsplit("")
    if not valid:
        raise ValueError(f'an origin such as "{example}": scheme, host and, if it is unusual, port')
    if parts.path or parts.query or parts.fragment:
        raise ValueError(f'"{parts.scheme}://{parts.netloc}": an origin ends with the host or port, no slash or path')
    return text


def _address(text: str) -> str:
    return _checked_origin(text.removesuffix("/"), "https://chat.example.com") if text else ""


def _sqlite(text: str) -> str:
    if not re.fullmatch(r"sqlite:///[^?#]+", text):
        raise ValueError('"sqlite:///PATH", such as "sqlite:///data/threadbridge.db"; this version has no other store')
    return text


def _in_memory(text: str) -> str:
    if text != "memory://":
        raise ValueError('"memory://"; this version has no other wake-ups')
    return text


def _destinations(text: str) -> tuple[Destination, ...]:
    name, colon, channels = text.partition(":")
    found = [channel.strip() for channel in channels.split(",")]
    if not name or (colon and not all(found)):
        raise ValueError('"NAME", "NAME:channel" or "NAME:channel,channel"')
    return tuple(Destination(AdapterName(name), channel) for channel in found)


def _spread(value: object) -> object:
    return _destinations(value) if isinstance(value, str) else value


def _unguessable(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().strip()) < SHORTEST_SECRET:
        raise ValueError(f"at least {SHORTEST_SECRET} characters: who guesses it can sign in as anybody")
    return secret


SHORTEST_SECRET = 16
Secrets = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_unguessable)], ...], BeforeValidator(_listed), Field(min_length=1)
]
Origin = Annotated[str, AfterValidator(_origin)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9](?:_?[a-z0-9-])*$", max_length=40)]
"""Of adapters and sites: fit for the environment too, where two underscores part a key's sections."""


# --- sections ---------------------------------------------------------------------------------------------------------


class GatewaySettings(Section):
    """`[gateway]`: where the gateway listens and how it is known outside."""

    host: str = "127.0.0.1"
    """The address to listen at; "0.0.0.0" for all."""
    port: int = Field(8080, ge=0, le=65535)
    """The port to listen at; 0 takes a free one."""
    public_url: Annotated[str, AfterValidator(_address)] = ""
    """The gateway's address as browsers and platforms reach it. Without it: http://HOST:PORT."""
    secret: Secrets | None = None
    """Signs visitors' tokens and files' addresses. Of a list the first signs, all are accepted. Made and kept in the
    data folder when absent."""
    trusted_proxies: Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_listed)] = ()
    """Networks of reverse proxies whose X-Forwarded-For is believed."""
    data: Path | None = None
    """The folder for files and secrets. Without it: the folder of the store's file."""


class StoreSettings(Section):
    """`[store]`: where everything is kept."""

    url: Annotated[str, AfterValidator(_sqlite)] = "sqlite:///data/threadbridge.db"
    """The database. A relative path starts at the working directory."""

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(self.url.removeprefix("sqlite:///"))


class WakeupSettings(Section):
    """`[wakeups]`: how parts of the gateway tell each other that there is something new."""

    url: Annotated[str, AfterValidator(_in_memory)] = "memory://"
    """Within this process."""


class LimitSettings(Section):
    """`[limits]`: what one visitor or one address may do. 0 is no limit."""

    messages_per_minute: int = Field(60, ge=0)
    """Messages of one visitor."""
    conversations_per_hour: int = Field(30, ge=0)
    """Conversations opened from one address. Many visitors may share an address: an office, a mobile network."""
    uploads_per_hour: int = Field(100, ge=0)
    """Files sent from one address, whoever sends them."""
    connections_per_address: int = Field(100, ge=0)
    """Open connections, one for each tab, from one address."""


class SiteSettings(Look):
    """`[sites.KEY]`: a website that embeds the widget. Its look stands in a room of its own."""

    name: str = ""
    """What staff and visitors read. Without it: the key."""
    origins: Annotated[tuple[Origin, ...], Field(min_length=1)]
    """Origins of the pages that may use the widget, such as "https://shop.example"."""
    destinations: Annotated[
        tuple[Annotated[tuple[Destination, ...], BeforeValidator(_spread)], ...], Field(min_length=1)
    ]
    """Where conversations appear: "NAME" of an adapter, "NAME:channel", or "NAME:channel,channel" to spread them over
    several channels. Several entries mirror each conversation."""
    identity_secret: Secrets | None = None
    """Proves who a signed-in visitor is: the site's server makes HMAC-SHA256 hashes under it. A list for rotation."""

    def site(self, key: SiteKey) -> Site:
        """Return the domain's view of it."""
        return Site(
            key=key,
            name=self.name or key,
            origins=frozenset(self.origins),
            destinations=self.destinations,
            identity_secrets=tuple(secret.get_secret_value() for secret in self.identity_secret or ()),
            look=self.look(),
        )


class _Sections(BaseSettings):
    """The whole, but for what each adapter type knows of its own keys."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    gateway: GatewaySettings = GatewaySettings()
    store: StoreSettings = StoreSettings()
    wakeups: WakeupSettings = WakeupSettings()
    limits: LimitSettings = LimitSettings()
    adapters: dict[Name, dict[str, Any]] = Field(min_length=1)
    """At least one section [adapters.NAME], which says where staff answer."""
    sites: dict[Name, SiteSettings] = Field(min_length=1)
    """At least one section [sites.KEY], which says who may embed the widget."""

    @classmethod
    def settings_customise_sources(  # only what `read_sources` merged: it knows what came from where
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """`[adapters.NAME]`: the type, and its own settings as its `Settings` model read them."""

    type: str
    settings: BaseModel


@dataclass(frozen=True, slots=True)
class Config:
    """All that the operator has set."""

    gateway: GatewaySettings
    store: StoreSettings
    wakeups: WakeupSettings
    limits: LimitSettings
    adapters: Mapping[AdapterName, AdapterConfig]
    sites: Mapping[SiteKey, SiteSettings]

    @property
    def data(self) -> Path:
        """The folder of everything that outlives the process."""
        return self.gateway.data or self.store.path.parent

    def site_table(self) -> Mapping[SiteKey, Site]:
        """Return the sites as the domain knows them."""
        return {key: settings.site(key) for key, settings in self.sites.items()}


# --- reading ----------------------------------------------------------------------------------------------------------


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Read a file and the environment, which wins. Raises ConfigError with everything that is wrong."""
    source = read_sources(path, environ, _Sections)
    problems = list(source.problems)
    sections = None
    try:
        sections = _Sections.model_validate(source.values)
    except ValidationError as error:
        problems += problems_of(error, source, (), _Sections)
    adapters = _adapters(source, problems)
    problems += _unmatched(source)
    if problems or not sections:
        raise ConfigError(problems)
    return Config(
        gateway=sections.gateway,
        store=sections.store,
        wakeups=sections.wakeups,
        limits=sections.limits,
        adapters=adapters,
        sites={SiteKey(key): settings for key, settings in sections.sites.items()},
    )


def _adapters(source: Source, problems: list[ConfigProblem]) -> dict[AdapterName, AdapterConfig]:
    """Read each adapter's section with the model of its type, adding to the problems."""
    found: dict[AdapterName, AdapterConfig] = {}
    for name, section in _tables(source.values.get("adapters")).items():
        keys = dict(section)
        where = ("adapters", name)
        kind = keys.pop("type", None)
        if not isinstance(kind, str):
            expected = f"one of {', '.join(discovery.known())}"
            problems.append(source.problem((*where, "type"), "nothing" if kind is None else shown(kind), expected))
            continue
        try:
            model = discovery.load(kind).Settings
            found[AdapterName(name)] = AdapterConfig(kind, model.model_validate(keys))
        except discovery.NotInstalled as error:
            problems.append(source.problem((*where, "type"), shown(kind), str(error)))
        except ValidationError as error:
            problems += problems_of(error, source, where, model, others=("type",))
    return found


def _unmatched(source: Source) -> Iterator[ConfigProblem]:
    """Yield what is right in itself but not together with the rest."""
    adapters, sites = _tables(source.values.get("adapters")), _tables(source.values.get("sites"))
    desks = [name for name, section in adapters.items() if section.get("type") == "desk"]
    for name in desks[1:]:
        yield source.problem(("adapters", name, "type"), "a second desk", f"one desk; {desks[0]} is one already")
    for key, site in sites.items():
        where = ("sites", key, "destinations")
        named = list(_named(site.get("destinations")))
        for destination in dict.fromkeys(named):
            if destination.adapter not in adapters:
                expected = f"the NAME of an [adapters.NAME] section: {', '.join(adapters) or 'there is none'}"
                yield source.problem(where, shown(str(destination)), expected)
            if named.count(destination) > 1:
                yield source.problem(where, f"{shown(str(destination))} twice", "each destination once")


def _tables(value: object) -> dict[str, Mapping[str, Any]]:
    return {key: v for key, v in value.items() if isinstance(v, Mapping)} if isinstance(value, Mapping) else {}


def _named(value: object) -> Iterator[Destination]:
    """Yield the destinations that can be read; the others are told by the site's model."""
    for text in value if isinstance(value, list) else ():
        with contextlib.suppress(ValueError, AttributeError):
            yield from _destinations(text)


def demo_config(data: Path, port: int, host: str = "127.0.0.1") -> Config:
    """Return the configuration of `threadbridge demo`: a shop on this gateway, answered from the built-in desk."""
    desk = AdapterName("desk")
    # Of a port that the system chooses nothing is known yet; the gateway's own origin is always let in.
    origins = (f"http://{host}:{port}", f"http://localhost:{port}") if port else (f"http://{host}",)
    shop = SiteSettings(
        name="Corner Coffee",
        origins=tuple(dict.fromkeys(origins)),
        destinations=((Destination(desk),),),
        # The page identifies somebody with a hash that it holds: a site's own server would make it.
        identity_secret=(SecretStr("a secret of the demonstration alone"),),
        greeting="Hello! Not sure which coffee? Ask us.",
        accent="#ae4a20",
    )
    return Config(
        gateway=GatewaySettings(host=host, port=port),
        store=StoreSettings(url=f"sqlite:///{data / 'threadbridge.db'}"),
        wakeups=WakeupSettings(),
        limits=LimitSettings(),
        adapters={desk: AdapterConfig("desk", discovery.load("desk").Settings())},
        sites={SiteKey("demo"): shop},
    )
