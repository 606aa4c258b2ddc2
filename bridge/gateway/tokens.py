"""What a visitor shows: the token that the gateway signed, and the hash by which a site proves who it is. Pure."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from bridge.errors import WireCode, WireError
from bridge.model import SiteKey, VisitorId

LIFE = timedelta(days=30)
RENEWABLE = timedelta(days=365)
"""How long after its end a token is still renewed."""
_LONGEST = 1024


class _Claims(msgspec.Struct, array_like=True):
    site: str
    visitor: int
    issued: int
    expires: int


_decode = msgspec.json.Decoder(_Claims).decode


@dataclass(frozen=True, slots=True)
class Shown:
    """What a good token says. `token` is the one to go on with: the same, or a renewed one."""

    visitor: VisitorId
    site: SiteKey
    token: str


class Tokens:
    """Signs and reads visitors' tokens. Of the secrets the first signs; the others are only read."""

    def __init__(self, secrets: Sequence[bytes]) -> None:
        self._keys = [hmac.digest(secret, b"visitor token", hashlib.sha256) for secret in secrets]

    def issue(self, visitor: VisitorId, site: SiteKey, now: datetime) -> str:
        """Return a fresh token."""
        payload = msgspec.json.encode(_Claims(site, visitor, int(now.timestamp()), int((now + LIFE).timestamp())))
        return f"{_text(payload)}.{_text(_signature(self._keys[0], payload))}"

    def read(self, token: str, now: datetime) -> Shown:
        """Return what a token says, renewed past half its life. Raises WireError."""
        payload, newest = self._verify(token)
        try:
            claims = _decode(payload)
        except ValueError:  # signed by us, in a form that is not ours any more
            raise _BAD from None
        second = now.timestamp()
        if second > claims.expires + RENEWABLE.total_seconds():
            raise _BAD
        visitor, site = VisitorId(claims.visitor), SiteKey(claims.site)
        if newest and second < (claims.issued + claims.expires) / 2:
            return Shown(visitor, site, token)
        return Shown(visitor, site, self.issue(visitor, site, now))

    def _verify(self, token: str) -> tuple[bytes, bool]:
        """Return what was signed, and whether with the newest key."""
        try:
            payload, signature = (_bytes(part) for part in token[:_LONGEST].split("."))
        except ValueError:  # not two parts, not base64, not ASCII
            raise _BAD from None
        for index, key in enumerate(self._keys):
            if hmac.compare_digest(signature, _signature(key, payload)):
                return payload, index == 0
        raise _BAD


def proves(hash: str, identity: str, secrets: Sequence[str]) -> bool:
    """Tell whether one of a site's secrets made this hash of an identity."""
    given = hash.lower().encode()
    digests = (hmac.new(secret.encode(), identity.encode(), hashlib.sha256).hexdigest() for secret in secrets)
    return any(hmac.compare_digest(given, digest.encode()) for digest in digests)


_BAD = WireError(WireCode.BAD_TOKEN, "This token is not valid any more. Start again without one.")


def _signature(key: bytes, payload: bytes) -> bytes:
    return hmac.digest(key, payload, hashlib.sha256)


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
