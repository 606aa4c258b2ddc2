"""The configuration: what is read, and how each thing that can be wrong is told."""

from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from bridge import discovery
from bridge.config import Config, demo_config, load
from bridge.errors import ConfigError
from bridge.model import AdapterName, Destination, SiteKey

LEAST = """
[adapters.desk]
type = "desk"

[sites.shop]
origins = ["https://shop.example"]
destinations = ["desk"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(file: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    file.write_text(text, "utf-8")
    return load(file, environ or {})


def problems(file: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(file, text, environ)
    return [str(problem).replace(str(file), "FILE") for problem in caught.value.problems]


def test_little_is_enough(file: Path) -> None:
    config = read(file, LEAST)
    assert (config.gateway.host, config.gateway.port, config.gateway.secret) == ("127.0.0.1", 8080, None)
    assert config.store.path == Path("data/threadbridge.db")
    assert config.data == Path("data")
    assert config.adapters[AdapterName("desk")].type == "desk"
    site = config.site_table()[SiteKey("shop")]
    assert (site.name, site.look, site.origins) == ("shop", {}, {"https://shop.example"})
    assert site.destinations == ((Destination(AdapterName("desk")),),)


def test_everything_is_read(file: Path) -> None:
    config = read(
        file,
        """
        gateway.public_url = "https://chat.example/"
        gateway.secret = ["the new secret of the gateway", "the old secret of the gateway"]
        gateway.trusted_proxies = "10.0.0.0/8"
        gateway.data = "kept"
        store.url = "sqlite:////srv/t.db"
        limits.messages_per_minute = 0
        adapters.desk = { type = "desk", token = "long-enough-for-a-token" }
        [sites.shop]
        name = "Shop"
        origins = ["https://shop.example:8443", "null"]
        destinations = ["desk:a,b", "desk:c"]
        identity_secret = "quiet, and long enough"
        accent = "#a0B1c2"
        greeting = "Hello"
        position = "left"
        theme = "dark"
        """,
    )
    assert config.gateway.public_url == "https://chat.example"
    assert [secret.get_secret_value() for secret in config.gateway.secret or ()] == [
        "the new secret of the gateway",
        "the old secret of the gateway",
    ]
    assert config.gateway.trusted_proxies == (ip_network("10.0.0.0/8"),)
    assert (config.store.path, config.data) == (Path("/srv/t.db"), Path("kept"))
    assert config.limits.messages_per_minute == 0
    site = config.site_table()[SiteKey("shop")]
    assert [[str(d) for d in spread] for spread in site.destinations] == [["desk:a", "desk:b"], ["desk:c"]]
    assert site.identity_secrets == ("quiet, and long enough",)
    assert site.look == {
        "accent": "#a0B1c2",
        "greeting": "Hello",
        "position": "left",
        "theme": "dark",
    }


def test_the_environment_wins(file: Path) -> None:
    config = read(
        file,
        LEAST,
        {
            "THREADBRIDGE__GATEWAY__PORT": "9000",
            "THREADBRIDGE__GATEWAY__SECRET": "12345678901234567890",
            "threadbridge__sites__shop__name": "Named",
            "THREADBRIDGE__SITES__SHOP__DESTINATIONS": '["desk:a"]',
            "THREADBRIDGE__ADAPTERS__DESK__TOKEN": "12345678901234567890",
            "PATH": "/usr/bin",
        },
    )
    assert config.gateway.port == 9000
    assert config.gateway.secret is not None
    site = config.site_table()[SiteKey("shop")]
    assert (site.name, site.destinations) == ("Named", ((Destination(AdapterName("desk"), "a"),),))
    assert site.origins == {"https://shop.example"}


def test_the_environment_is_enough() -> None:
    config = load(
        None,
        {
            "THREADBRIDGE__ADAPTERS__DESK__TYPE": "desk",
            "THREADBRIDGE__SITES__SHOP": '{"origins": ["https://a.example"], "destinations": ["desk"]}',
        },
    )
    assert SiteKey("shop") in config.sites


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gateway.prot = 1", 'FILE: gateway.prot: found an unknown key; expected "port" (did you mean that?)'),
        ("gateway.port = 99999", "FILE: gateway.port: found 99999; expected less than or equal to 65535"),
        ("gateway = 5", "FILE: gateway: found 5; expected a section"),
        ("gatewy = {}", 'FILE: gatewy: found an unknown key; expected "gateway" (did you mean that?)'),
        ("gateway.secret = 5", "FILE: gateway.secret: found a value that is not shown; expected a list"),
        (
            "gateway.secret = []",
            "FILE: gateway.secret: found a value that is not shown; expected signs visitors' tokens",
        ),
        (
            'gateway.secret = ""',
            "FILE: gateway.secret: found a value that is not shown; expected at least 16 characters",
        ),
        ("gateway.data = 5", "FILE: gateway.data: found 5; expected a path as a text"),
        (
            'adapters.two = { type = "desk", token = "short" }',
            "a value that is not shown; expected at least 16 letters",
        ),
        ('adapters.desk.budget = "5"', 'FILE: adapters.desk.budget: found "5"; expected how many in how many seconds'),
        ('gateway.trusted_proxies = ["x"]', "FILE: gateway.trusted_proxies[0]: found"),
        ('gateway.public_url = "chat.example"', 'expected an origin such as "https://chat.example.com"'),
        ('store.url = "postgresql://u:pw@db/x"', 'expected "sqlite:///PATH"'),
        ('store.url = "threadbridge.db"', 'found "threadbridge.db"; expected "sqlite:///PATH"'),
        ('wakeups.url = "redis://:pw@r"', 'expected "memory://"; this version has no other'),
        ("limits.messages_per_minute = -1", "found -1; expected greater than or equal to 0"),
        ('adapters.two.type = "desk"', "FILE: adapters.two.type: found a second desk; expected one desk"),
        ("adapters.two = {}", "FILE: adapters.two.type: found nothing; expected one of desk, discord, slack, telegram"),
        ('adapters.two.type = "slcak"', 'FILE: adapters.two.type: found "slcak"; expected one of desk'),
        ('adapters.a__b.type = "desk"', "FILE: adapters.a__b: found"),
        ('adapters.desk.tokn = "x"', 'FILE: adapters.desk.tokn: found an unknown key; expected "token"'),
        ("sites.shop.x = 1", "FILE: sites.shop.x: found an unknown key; expected one of accent, title"),
        (
            'sites.b = { destinations = ["desk"] }',
            "FILE: sites.b.origins: found nothing; expected origins of the pages",
        ),
        ('sites.b = { origins = ["http://b"] }', "FILE: sites.b.destinations: found nothing; expected where conver"),
        ('sites.b = { origins = ["http://b"], destinations = [] }', "FILE: sites.b.destinations: found an empty list"),
        ('sites.b = { origins = ["http://b"], destinations = ["nix"] }', 'found "nix"; expected the NAME of an'),
        ('sites.b = { origins = ["http://b"], destinations = ["desk:"] }', 'expected "NAME", "NAME:channel"'),
        ('sites.b = { origins = ["http://b"], destinations = ["desk", "desk"] }', 'found "desk" twice; expected each'),
        ('sites.shop.position = "top"', "FILE: sites.shop.position: found \"top\"; expected 'left' or 'right'"),
        ('sites.shop.accent = "red"', 'found "red"; expected the widget\'s colour, "#rrggbb"'),
        ("sites.shop.side = -1", "FILE: sites.shop.side: found -1; expected greater than or equal to 0"),
        ("sites.shop.bottom = 501", "FILE: sites.shop.bottom: found 501; expected less than or equal to 500"),
        ('sites.shop.logo = "logo.svg"', 'sites.shop.logo: found "logo.svg"; expected an address such as "https://'),
        ('sites.shop.logo = "//cdn"', 'a path of the gateway\'s such as "/logo.svg"'),
        ('sites.shop.team = ["Ada"]', 'FILE: sites.shop.team[0]: found "Ada"; expected a section'),
        ('sites.shop.team = [{ nam = "Ada" }]', "FILE: sites.shop.team[0].name: found nothing; expected how the pers"),
        (
            "sites.shop.team = [" + '{ name = "A" },' * 6 + "]",
            "FILE: sites.shop.team: found a list; expected at most 5 items",
        ),
        ('sites.shop.questions = [" "]', 'FILE: sites.shop.questions[0]: found " "; expected a text'),
        (f"sites.shop.questions = {['?'] * 7}", "sites.shop.questions: found a list; expected at most 6 items"),
        (
            'sites.shop.privacy = "https://a.example"',
            'sites.shop.privacy: found "https://a.example"; expected a consent',
        ),
        (
            'sites.shop.privacy = "/privacy"',
            'found "/privacy"; expected an address such as "https://shop.example/privacy"',
        ),
        ('sites.shop.voice = "loud"', 'FILE: sites.shop.voice: found "loud"; expected true or false'),
        ("x = \n", "FILE: line 1, column 5: found invalid value; expected valid TOML"),
    ],
)
def test_what_is_wrong_is_told(file: Path, text: str, told: str) -> None:
    whole = text if text.startswith("x =") else _together(text)
    assert any(told in line for line in problems(file, whole)), problems(file, whole)


def test_browsers_are_told_what_differs_from_the_defaults(file: Path) -> None:
    file.write_text(LEAST)
    assert load(file, {}).site_table()[SiteKey("shop")].look == {}
    options = """
        accent = "#123456"
        side = 0
        bottom = 20
        team = [{ name = " Ada ", picture = "/ada.jpg" }, { name = "Ben" }]
        questions = ["Where is my order?"]
        notice = ""
        sound = false
    """
    file.write_text(LEAST + options)
    assert load(file, {}).site_table()[SiteKey("shop")].look == {
        "accent": "#123456",
        "side": 0,
        "team": [{"name": "Ada", "picture": "/ada.jpg"}, {"name": "Ben"}],
        "questions": ["Where is my order?"],
        "notice": "",
        "sound": False,
    }


def _together(line: str) -> str:
    least = 'adapters.desk.type = "desk"\nsites.shop.origins = ["https://a"]\nsites.shop.destinations = ["desk"]\n'
    return least + line


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.example/",
        "https://a.example/shop",
        "a.example",
        "ftp://a.example",
        "https://",
        "https://a:x",
        "",
        "*",
    ],
)
def test_what_is_no_origin_is_told(file: Path, origin: str) -> None:
    found = problems(file, LEAST.replace("https://shop.example", origin))
    assert len(found) == 1
    assert found[0].startswith("FILE: sites.shop.origins[0]: found")


def test_everything_is_told_at_once(file: Path) -> None:
    text = 'gateway.port = "x"\nadapters.a.type = "nix"\nsites.b = { origins = ["c"], destinations = ["d"] }'
    keys = [line.split(": ")[1] for line in problems(file, text)]
    assert keys == ["gateway.port", "sites.b.origins[0]", "adapters.a.type", "sites.b.destinations"]


def test_nothing_at_all(file: Path) -> None:
    assert problems(file, "") == [
        "FILE: adapters: found nothing; expected at least one section [adapters.NAME], which says where staff answer",
        "FILE: sites: found nothing; expected at least one section [sites.KEY], which says who may embed the widget",
    ]


def test_a_problem_of_the_environment_names_the_variable(file: Path) -> None:
    environ = {
        "THREADBRIDGE__GATEWAY__PORT": "x",
        "THREADBRIDGE__GATEWY__PORT": "1",
        "THREADBRIDGE__SITES__SHOP__ORIGINS": "[",
    }
    found = problems(file, LEAST, environ)
    assert len(found) == 3
    assert found[0].startswith("environment: THREADBRIDGE__GATEWY__PORT: found an unknown section")
    assert found[1].startswith('environment: THREADBRIDGE__GATEWAY__PORT: found "x"; expected a whole number')
    assert found[2].startswith('environment: THREADBRIDGE__SITES__SHOP__ORIGINS: found "["; expected a list')


@pytest.mark.parametrize("secret", ["hunter2", "xoxb-1-2-abc", "123456789:AAabcdefghijklmnopqrstuvwxyz"])
def test_no_secret_is_shown(file: Path, secret: str) -> None:
    found = problems(
        file,
        f"""
        gateway.secret = {{ a = "{secret}" }}
        store.url = "postgresql://user:{secret}@db/x"
        wakeups.url = "redis://:{secret}@r"
        adapters.desk = {{ type = "desk", token = "{secret}", tokn = "{secret}" }}
        sites.shop = {{ origins = ["https://a"], destinations = ["desk"], identity_secret = [["{secret}"]] }}
        """,
    )
    assert len(found) >= 5
    assert secret not in "\n".join(found)


def test_a_token_in_the_wrong_place_is_not_shown(file: Path) -> None:
    found = problems(file, LEAST + 'position = "xoxb-1-2-abc"')
    assert found == ["FILE: sites.shop.position: found a text of 12 characters; expected 'left' or 'right'"]


def test_a_byte_order_mark_is_passed_over(file: Path) -> None:
    assert read(file, "\ufeff" + LEAST) == read(file, LEAST)


def test_a_file_that_cannot_be_read(file: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; expected a configuration: `threadbridge init`"):
        load(file, {})
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="bytes that are not UTF-8"):
        load(file, {})
    with pytest.raises(ConfigError, match="file: found"):
        load(file.parent, {})


def test_an_sdk_that_is_missing_is_named_with_its_remedy(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'slack_sdk'", name="slack_sdk")

    monkeypatch.setattr("importlib.metadata.EntryPoint.load", missing)
    with pytest.raises(discovery.NotInstalled) as caught:
        discovery.load("slack")
    assert str(caught.value) == "slack_sdk installed: pip install 'threadbridge[slack]'"
    found = problems(file, LEAST)
    assert found == [
        "FILE: adapters.desk.type: found \"desk\"; expected slack_sdk installed: pip install 'threadbridge[desk]'"
    ]


def test_the_demo_needs_nothing(tmp_path: Path) -> None:
    config = demo_config(tmp_path, 8123)
    assert config.data == tmp_path
    assert config.site_table()[SiteKey("demo")].origins == {"http://127.0.0.1:8123", "http://localhost:8123"}
    assert config.adapters[AdapterName("desk")].type == "desk"
