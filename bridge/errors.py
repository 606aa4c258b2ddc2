"""The error tree. Each class says what the caller should do; adapters map their vendor's codes to these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class BridgeError(Exception):
    """Anything that this project raises on purpose."""


# --- configuration: tell the operator and end -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """One thing that is wrong in a configuration. `found` must never hold a secret."""

    file: str
    key: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}: {self.key}: found {self.found}; expected {self.expected}"


class ConfigError(BridgeError):
    """The configuration cannot be used. Show every problem on its line and end with status 2."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class StartError(BridgeError):
    """The program cannot start here: a port in use, a locked or unwritable data folder. The text is one sentence."""


class BadFile(BridgeError):
    """A file is not kept. Tell whoever sent it; the text is for a person."""


# --- delivery: what an adapter says of a send -------------------------------------------------------------------------


class Scope(StrEnum):
    """How much must wait with a delivery that was put off."""

    THREAD = "thread"
    CHANNEL = "channel"
    ADAPTER = "adapter"


class DeliveryError(BridgeError):
    """A delivery did not succeed. Half of a character in a platform's words is replaced: no store takes it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason.encode("utf-8", "replace").decode())


class RetryLater(DeliveryError):
    """It was certainly not taken. Send it again `after` so many seconds, as the platform asks; None: after a backoff.

    Not at a time: until that is waited for, the host's clock may be set.

    `outage` tells a platform that cannot be reached or is broken from one that only asks to be called less often.
    """

    def __init__(
        self, reason: str, after: float | None = None, scope: Scope = Scope.CHANNEL, *, outage: bool = False
    ) -> None:
        super().__init__(reason)
        self.after = after
        self.scope = scope
        self.outage = outage


class UploadCut(RetryLater):
    """A file was cut off on its way, so it was certainly not taken. Try again; after some minutes, do without it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, scope=Scope.THREAD)


class OutcomeUnknown(DeliveryError):
    """It may have been taken. Look for its token where the adapter can, else send it again with the same token."""


class Rejected(DeliveryError):
    """It will never be taken as it is. Give it up and say so in its place; `reason` is for staff."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = str(self)


class ThreadGone(DeliveryError):
    """The thread takes nothing any more. Open a successor. `stands`: it can still be looked at."""

    def __init__(self, reason: str, *, stands: bool = False) -> None:
        super().__init__(reason)
        self.stands = stands


class AuthFailed(DeliveryError):
    """The adapter's credentials or rights do not suffice. Only the operator can help; `remedy` says how."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason} ({remedy})")
        self.remedy = remedy


# --- the wire: what a client is told ----------------------------------------------------------------------------------


class WireCode(StrEnum):
    """The contract's error codes."""

    BAD_FRAME = "bad_frame"
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"
    BAD_FILE = "bad_file"
    UNKNOWN_SITE = "unknown_site"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    BAD_TOKEN = "bad_token"
    BAD_IDENTITY = "bad_identity"
    BLOCKED = "blocked"
    RATE_LIMITED = "rate_limited"
    STORE_FULL = "store_full"
    UNAVAILABLE = "unavailable"


class WireError(BridgeError):
    """Tell the client: `code` for its program, `detail` for a person, `retry_after` in seconds."""

    def __init__(self, code: WireCode, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


# --- the store --------------------------------------------------------------------------------------------------------


class StoreError(BridgeError):
    """The store did not take it; nothing of it is stored, or it is not known whether (repeat it by its id)."""


class Unstorable(StoreError):
    """The store works and cannot take this one thing, by a defect. It is no use to try again."""


class SchemaTooNew(StoreError):
    """The store was written by a newer version of this program. Use that one."""


class Conflict(StoreError):
    """Somebody else has changed this meanwhile. Read again."""


class Merged(StoreError):
    """The visitor's log was merged into another's. The client must come back with another token."""


class StoreFull(StoreError):
    """There is no room. Nothing was stored; the caller keeps it and tries again later."""
