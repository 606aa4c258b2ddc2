"""Who is let in, and how much of it: origins, tokens, identities, limits. Knows no transport."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from itertools import islice
from urllib.parse import urlsplit

import structlog

from bridge.errors import WireCode, WireError
from bridge.gateway.tokens import Shown, Tokens, proves
from bridge.gateway.wire import HelloFrame, Identity, PageInfo
from bridge.model import Profile, Site, SiteKey, VisitorId
from bridge.ports import Clock

Network = IPv4Network | IPv6Network

_PORTS = {"http": 80, "https": 443}
_MAX_KEYS = 100_000


log = structlog.get_logger()

_REFUSED_TOLD = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """The `[limits]` of the configuration; 0 is none."""

    messages_per_minute: int = 0
    """Of one visitor."""
    conversations_per_hour: int = 0
    """Opened from one address."""
    uploads_per_hour: int = 0
    """From one address."""
    connections_per_address: int = 0


class Rate:
    """Lets `count` through at once, and so many in each `seconds`, for each key (the generic cell rate algorithm)."""

    def __init__(self, count: int, seconds: float, clock: Clock) -> None:
        self._step = seconds / count if count else 0.0
        self._seconds = seconds
        self._clock = clock
        self._due: dict[object, float] = {}

    def take(self, key: object) -> float:
        """Count one. Returns 0, or the seconds to wait where it is too much (and does not count)."""
        if not self._step:
            return 0.0
        now = self._clock.steady()
        due = max(now, self._due.get(key, 0.0)) + self._step
        if due - now > self._seconds + 1e-6:
            return due - now - self._seconds
        if key not in self._due and len(self._due) >= _MAX_KEYS:
            self._shrink(now)
        self._due[key] = due
        return 0.0

    def give_back(self, key: object) -> None:
        """Take back one that came to nothing."""
        if key in self._due:
            self._due[key] -= self._step

    def _shrink(self, now: float) -> None:
        """Drop what no longer says anything; where that is not enough, the oldest tenth."""
        self._due = {key: due for key, due in self._due.items() if due > now}
        if len(self._due) >= _MAX_KEYS:
            for key in list(islice(self._due, _MAX_KEYS // 10)):
                del self._due[key]


class Admission:
    """Decides who comes in. The same for every transport."""

    def __init__(
        self, sites: Mapping[SiteKey, Site], public_url: str, tokens: Tokens, limits: Limits, clock: Clock
    ) -> None:
        self._sites = sites
        self.own_origin = normalise_origin(public_url)
        self._origins = {
            key: {normalise_origin(origin) for origin in site.origins} | {self.own_origin}
            for key, site in sites.items()
        }
        self._tokens = tokens
        self._clock = clock
        self._messages = Rate(limits.messages_per_minute, 60, clock)
        self._small_frames = Rate(60, 6, clock)
        self._openings = Rate(limits.conversations_per_hour, 3600, clock)
        self._uploads = Rate(limits.uploads_per_hour, 3600, clock)
        self._most_connections = limits.connections_per_address
        self._connections: Counter[str] = Counter()
        self._refused: set[tuple[SiteKey, str]] = set()

    def site(self, key: str, origin: str | None) -> Site:
        """Return a site that this origin may use. Raises WireError."""
        site = self._sites.get(SiteKey(key))
        if site is None:
            raise WireError(WireCode.UNKNOWN_SITE, "There is no such site here. Look at data-site of the script tag.")
        if origin is None or normalise_origin(origin) not in self._origins[site.key]:
            self._tell_refused(site.key, origin)
            raise WireError(WireCode.ORIGIN_NOT_ALLOWED, f"The site {site.key} does not list this page's origin.")
        return site

    def _tell_refused(self, site: SiteKey, origin: str | None) -> None:
        """Tell the operator, once for each origin: a list that lacks one looks like a chat that does not work."""
        refused = (site, (origin or "none")[:200])
        if refused not in self._refused and len(self._refused) < _REFUSED_TOLD:
            self._refused.add(refused)
            remedy = f"where it is a page of yours, add it to sites.{site}.origins"
            log.warning("origin_not_allowed", site=site, origin=refused[1], remedy=remedy)

    def some_site_allows(self, origin: str) -> bool:
        """Tell whether an origin may use any of the sites: all that can be known before a token is shown."""
        origin = normalise_origin(origin)
        return any(origin in origins for origins in self._origins.values())

    def show(self, token: str, site: Site | None = None) -> Shown:
        """Read a visitor's token, that of `site` where one is given. Raises WireError."""
        shown = self._tokens.read(token, self._clock.now())
        if site is not None and shown.site != site.key:
            raise WireError(WireCode.BAD_TOKEN, "This token belongs to another site.")
        return shown

    def issue(self, visitor: VisitorId, site: Site) -> str:
        """Return a token for a visitor."""
        return self._tokens.issue(visitor, site.key, self._clock.now())

    def profile(self, site: Site, hello: HelloFrame) -> Profile:
        """Return what a hello says of the visitor, its identity proved. Raises WireError."""
        claimed = hello.identity or Identity()
        if claimed.id and not proves(claimed.hash or "", claimed.id, site.identity_secrets):
            raise WireError(WireCode.BAD_IDENTITY, "The hash does not prove this identity.")
        return Profile(
            identity=claimed.id or None,
            name=claimed.name or None,
            email=claimed.email or None,
            locale=(hello.locale or "")[:64] or None,
            timezone=(hello.timezone or "")[:64] or None,
            page=(hello.page or PageInfo()).to_page(),
        )

    def message(self, visitor: VisitorId) -> None:
        """Count a message. Raises WireError."""
        if wait := self._messages.take(visitor):
            raise _slow_down("So many messages in a minute are not taken.", wait)

    def small_frame(self, visitor: VisitorId) -> None:
        """Count a frame that is no message. Raises WireError."""
        if wait := self._small_frames.take(visitor):
            raise _slow_down("So many frames are not taken.", wait)

    def opening(self, address: str) -> None:
        """Count a conversation. Raises WireError."""
        if wait := self._openings.take(address):
            raise _slow_down("So many new conversations from one address are not taken.", wait)

    def not_opened(self, address: str) -> None:
        """Take back a counted conversation that was not opened after all."""
        self._openings.give_back(address)

    def uploading(self, address: str) -> None:
        """Count an upload. Raises WireError."""
        if wait := self._uploads.take(address):
            raise _slow_down("So many files from one address are not taken.", wait)

    def enter(self, address: str) -> None:
        """Count a connection. Raises WireError."""
        if self._most_connections and self._connections[address] >= self._most_connections:
            raise _slow_down("So many connections from one address are not taken.", 30.0)
        self._connections[address] += 1

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._connections.total()

    def leave(self, address: str) -> None:
        """Take back a counted connection."""
        self._connections[address] -= 1
        if not self._connections[address]:
            del self._connections[address]


def _slow_down(detail: str, wait: float) -> WireError:
    return WireError(WireCode.RATE_LIMITED, detail, retry_after=round(wait + 0.05, 1))


def normalise_origin(origin: str) -> str:
    """Return scheme, host and port as a browser writes them; what is no address is returned as it is."""
    try:
        parts = urlsplit(origin.strip())
        port = parts.port
    except ValueError:
        return origin
    if not parts.scheme or not parts.hostname:
        return origin
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + ("" if port in {None, _PORTS.get(parts.scheme)} else f":{port}")


def client_address(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return whom to count as: the peer or, behind trusted proxies, the nearest address that is not one of them.

    `forwarded` are the values of X-Forwarded-For. Of an IPv6 address the /64 counts: a single host owns it.
    """
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    found = peer
    while hops and _within(found, trusted):
        hop = _bare(hops.pop())
        if hop is None:
            break
        found = hop
    try:
        address = ip_address(found)
    except ValueError:
        return found
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Network((address, 64), strict=False))
    return found


def _within(text: str, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)


def _bare(hop: str) -> str | None:
    """Return the address of one hop, without a port; None where it is none."""
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        return str(ip_address(hop))
    except ValueError:
        return None
