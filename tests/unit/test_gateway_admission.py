"""Tokens, identities, origins, limits, addresses."""

import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network

import pytest

from bridge.errors import WireCode, WireError
from bridge.gateway import wire
from bridge.gateway.admission import Admission, Limits, Rate, client_address, normalise_origin
from bridge.gateway.tokens import LIFE, RENEWABLE, Tokens
from bridge.model import Site, SiteKey, VisitorId

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SHOP = Site(SiteKey("shop"), "Shop", frozenset({"https://Shop.example:443"}), (), identity_secrets=("new", "old"))
OPEN = Site(SiteKey("open"), "Open", frozenset({"null"}), ())


class TurnedClock:
    def __init__(self):
        self.time = NOW
        self.passed = 0.0

    def now(self):
        return self.time

    def steady(self):
        return self.passed

    async def sleep(self, seconds):
        raise AssertionError


@pytest.fixture
def clock():
    return TurnedClock()


def admission(clock, limits=Limits()):  # noqa: B008 - frozen
    sites = {site.key: site for site in (SHOP, OPEN)}
    return Admission(sites, "https://chat.example/", Tokens([b"secret"]), limits, clock)


def code(call, *args):
    with pytest.raises(WireError) as caught:
        call(*args)
    return caught.value.code


# --- tokens


def test_a_token_is_read_as_it_was_issued():
    tokens = Tokens([b"secret"])
    token = tokens.issue(VisitorId(5), SHOP.key, NOW)
    shown = tokens.read(token, NOW)
    assert (shown.visitor, shown.site, shown.token) == (5, "shop", token)


def test_a_token_is_renewed_past_half_its_life_and_within_a_year_of_its_end():
    tokens = Tokens([b"secret"])
    token = tokens.issue(VisitorId(5), SHOP.key, NOW)
    assert tokens.read(token, NOW + LIFE / 2 - timedelta(seconds=1)).token == token
    for later in (LIFE / 2, LIFE * 2, LIFE + RENEWABLE):
        shown = tokens.read(token, NOW + later)
        assert shown.visitor == 5
        assert tokens.read(shown.token, NOW + later + LIFE / 3).token == shown.token
    assert code(tokens.read, token, NOW + LIFE + RENEWABLE + timedelta(seconds=1)) is WireCode.BAD_TOKEN


def test_a_rotated_secret_still_reads_and_renews():
    token = Tokens([b"old"]).issue(VisitorId(5), SHOP.key, NOW)
    shown = Tokens([b"new", b"old"]).read(token, NOW)
    assert shown.visitor == 5
    assert Tokens([b"new"]).read(shown.token, NOW).visitor == 5
    assert code(Tokens([b"new"]).read, token, NOW) is WireCode.BAD_TOKEN


def test_no_changed_token_is_read():
    tokens = Tokens([b"secret"])
    token = tokens.issue(VisitorId(5), SHOP.key, NOW)
    payload, signature = token.split(".")
    other = tokens.issue(VisitorId(6), SHOP.key, NOW).split(".")[0]
    forged = [
        "",
        ".",
        "a.b.c",
        "é.é",
        payload,
        f"{other}.{signature}",
        f"{payload}.{signature[:-4]}",
        token[::-1],
        "x" * 9999,
    ]
    forged += [token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :] for i in range(0, len(token) - 1, 3)]
    for bad in forged:
        assert code(tokens.read, bad, NOW) is WireCode.BAD_TOKEN


def test_a_token_is_of_one_site(clock):
    door = admission(clock)
    token = door.issue(VisitorId(5), SHOP)
    assert door.show(token, SHOP).visitor == 5
    assert code(door.show, token, OPEN) is WireCode.BAD_TOKEN


# --- identity


def hello(**identity):
    return wire.HelloFrame(v=1, site="shop", identity=wire.Identity(**identity))


@pytest.mark.parametrize("secret", ["new", "old"])
def test_an_identity_is_proved_by_any_of_the_sites_secrets(clock, secret):
    proof = hmac.new(secret.encode(), b"u1", hashlib.sha256).hexdigest()
    profile = admission(clock).profile(SHOP, hello(id="u1", hash=proof, name="Ann", email="a@b.c"))
    assert (profile.identity, profile.name, profile.email) == ("u1", "Ann", "a@b.c")


@pytest.mark.parametrize("hash", [None, "", "é", "0" * 64])
def test_an_identity_without_its_proof_is_refused(clock, hash):
    assert code(admission(clock).profile, SHOP, hello(id="u1", hash=hash)) is WireCode.BAD_IDENTITY


def test_a_site_without_secrets_proves_nobody(clock):
    proof = hmac.new(b"", b"u1", hashlib.sha256).hexdigest()
    assert code(admission(clock).profile, OPEN, hello(id="u1", hash=proof)) is WireCode.BAD_IDENTITY


def test_a_name_alone_is_a_claim_and_needs_no_proof(clock):
    profile = admission(clock).profile(SHOP, hello(name="Ann"))
    assert (profile.identity, profile.name) == (None, "Ann")


# --- origins


@pytest.mark.parametrize("origin", ["https://shop.example", "HTTPS://SHOP.example", "https://chat.example"])
def test_the_sites_origins_and_our_own_may_use_it(clock, origin):
    assert admission(clock).site("shop", origin) is SHOP


@pytest.mark.parametrize(
    "origin",
    [None, "", "null", "http://shop.example", "https://shop.example:8443", "https://shop.example.evil.example",
     "https://evil.example", "https://[", "shop.example"],
)  # fmt: skip
def test_no_other_origin_may(clock, origin):
    assert code(admission(clock).site, "shop", origin) is WireCode.ORIGIN_NOT_ALLOWED


def test_null_is_allowed_where_it_is_listed_and_an_absent_origin_never(clock):
    assert admission(clock).site("open", "null") is OPEN
    assert code(admission(clock).site, "open", None) is WireCode.ORIGIN_NOT_ALLOWED


def test_an_unknown_site_is_told_first(clock):
    assert code(admission(clock).site, "nothing", None) is WireCode.UNKNOWN_SITE


def test_origins_are_written_as_browsers_write_them():
    assert normalise_origin("HTTP://Example.com:80/") == "http://example.com"
    assert normalise_origin("http://[2001:DB8::1]:8080") == "http://[2001:db8::1]:8080"


# --- limits


def test_a_rate_lets_a_burst_through_and_then_its_pace(clock):
    rate = Rate(10, 60, clock)
    assert [rate.take("a") for _ in range(10)] == [0] * 10
    assert rate.take("a") == pytest.approx(6)
    assert rate.take("b") == 0
    clock.passed += 6
    assert rate.take("a") == 0
    assert rate.take("a") > 0
    rate.give_back("a")
    assert rate.take("a") == 0


@pytest.mark.parametrize("by", [timedelta(minutes=-30), timedelta(hours=1)])
def test_a_clock_that_is_set_changes_no_rate(clock, by):
    rate = Rate(60, 3600, clock)
    for _ in range(30):
        rate.take("a")
    clock.time += by
    assert [rate.take("a") for _ in range(30)] == [0] * 30
    assert rate.take("a") == pytest.approx(60)


def test_a_rate_forgets_what_says_nothing_any_more(clock, monkeypatch):
    monkeypatch.setattr("bridge.gateway.admission._MAX_KEYS", 100)
    rate = Rate(1, 60, clock)
    for key in range(1000):
        rate.take(key)
    assert len(rate._due) <= 100
    assert rate.take(999) > 0
    clock.passed += 61
    for key in range(2000, 2100):
        assert rate.take(key) == 0


def test_limits_say_when_to_come_again(clock):
    door = admission(clock, Limits(messages_per_minute=2, conversations_per_hour=1, connections_per_address=1))
    door.message(VisitorId(1))
    door.message(VisitorId(1))
    with pytest.raises(WireError) as caught:
        door.message(VisitorId(1))
    assert caught.value.code is WireCode.RATE_LIMITED
    assert 29 < caught.value.retry_after <= 31
    door.opening("10.0.0.1")
    assert code(door.opening, "10.0.0.1") is WireCode.RATE_LIMITED
    door.not_opened("10.0.0.1")
    door.opening("10.0.0.1")
    door.enter("10.0.0.1")
    door.enter("10.0.0.2")
    assert code(door.enter, "10.0.0.1") is WireCode.RATE_LIMITED
    door.leave("10.0.0.1")
    door.enter("10.0.0.1")


def test_zero_is_no_limit(clock):
    door = admission(clock)
    for _ in range(1000):
        door.message(VisitorId(1))
        door.opening("a")
        door.enter("a")


# --- addresses

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("::1/128")]


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1, 10.0.0.7"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, rubbish"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::1", ["[2001:db8:1:2:3::4]:99"], "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", [], "2001:db8:1:2::/64"),
        ("", [], ""),
    ],
)
def test_the_nearest_address_that_is_no_proxy_of_ours_counts(peer, forwarded, address):
    assert client_address(peer, forwarded, TRUSTED) == address
