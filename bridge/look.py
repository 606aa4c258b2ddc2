"""A site's look: what the widget shows and how it behaves. The docstring below a key is its documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from bridge.sources import Section


def _web_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme == "https" and bool(parts.hostname) and not any(map(str.isspace, text))
    except ValueError:
        valid = False
    if text and not valid:
        raise ValueError('an address such as "https://shop.example/privacy"')
    return text


def _picture(text: str) -> str:
    if text.startswith("/") and not text.startswith("//") and not any(map(str.isspace, text)):
        return text
    try:
        return _web_address(text)
    except ValueError:
        raise ValueError(
            'an address such as "https://shop.example/logo.svg", or a path of the gateway\'s such as "/logo.svg"'
        ) from None


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("a text")
    return text.strip()


Pixels = Annotated[int, Field(ge=0, le=500)]
Picture = Annotated[str, Field(max_length=2000), AfterValidator(_picture)]
Said = Annotated[str, AfterValidator(_said)]


class Member(Section):
    """One person of the team."""

    name: Annotated[Said, Field(max_length=60)]
    """How the person is called."""
    picture: Picture = ""
    """The person's picture. Without it: the first letter of the name."""


class Look(Section):
    """The part of `[sites.KEY]` that browsers are told."""

    accent: str = Field("#3355dd", pattern=r"^#[0-9a-fA-F]{6}$")
    """The widget's colour, "#rrggbb"."""
    title: str = Field("", max_length=80)
    """The head of the panel. Without it: the name."""
    greeting: str = Field("", max_length=500)
    """What an empty conversation shows first."""
    position: Literal["left", "right"] = "right"
    """The corner of the page in which the launcher stands."""
    side: Pixels = 20
    """Pixels between the launcher and the side of the page."""
    bottom: Pixels = 20
    """Pixels between the launcher and the bottom of the page."""
    theme: Literal["auto", "light", "dark"] = "auto"
    """Light, dark, or as the visitor's system is."""
    logo: Picture = ""
    """A picture for the head of the panel: an address, or a path of the gateway's. Without it: the title's first
    letter."""
    team: tuple[Member, ...] = Field((), max_length=5)
    """Who answers: name, and a picture where there is one. An empty conversation shows them."""
    questions: tuple[Annotated[Said, Field(max_length=200)], ...] = Field((), max_length=6)
    """What visitors often ask, as buttons in an empty conversation."""
    consent: str = Field("", max_length=1000)
    """What a visitor has to agree to before the first message. Without it: nothing."""
    privacy: Annotated[str, Field(max_length=2000), AfterValidator(_web_address)] = ""
    """The address of the privacy policy, a link in the consent."""
    notice: str = Field("measured", max_length=200)
    """How soon somebody usually answers: as measured, a text of one's own, or nothing where it is empty."""
    voice: bool = True
    """Whether visitors can record voice messages."""
    sound: bool = True
    """Whether an answer makes a sound."""

    @field_validator("privacy")
    @classmethod
    def _stands_in_the_consent(cls, address: str, info: ValidationInfo) -> str:
        if address and not info.data.get("consent"):
            raise ValueError("a consent beside it, in which it is the link")
        return address

    def look(self) -> Mapping[str, Any]:
        """Return what differs from the defaults, which browsers know."""
        return self.model_dump(mode="json", include=set(Look.model_fields), exclude_defaults=True)
