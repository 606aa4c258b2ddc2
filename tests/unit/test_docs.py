"""The documents say what there is: every key, every command, and no link leads nowhere."""

import re
import tomllib
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

from bridge import config, discovery
from bridge.__main__ import cli
from bridge.errors import WireCode

ROOT = Path(__file__).parents[2]
OPERATIONS = (ROOT / "docs/operations.md").read_text("utf-8")
EXAMPLE = ROOT / "config.example.toml"
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
SHIPPED = ["desk", "slack", "telegram", "discord"]
SECTIONS: dict[str, type[BaseModel]] = {
    "gateway": config.GatewaySettings,
    "store": config.StoreSettings,
    "wakeups": config.WakeupSettings,
    "limits": config.LimitSettings,
    "sites.KEY": config.SiteSettings,
}


def keys_of_example(section: str) -> set[str]:
    """Keys of a section of the example, those that are commented out included."""
    text = EXAMPLE.read_text("utf-8")
    body = re.search(rf"^\[{re.escape(section)}\].*?\n(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    assert body, f"no [{section}] in the example"
    return set(re.findall(r"^(?:# )?(\w+) =", body[1], re.MULTILINE))


@pytest.mark.parametrize("section", SECTIONS)
def test_example_and_operations_have_every_setting(section: str) -> None:
    fields = set(SECTIONS[section].model_fields)
    assert keys_of_example(section.replace("KEY", "shop")) == fields
    documented = set()
    for row in re.findall(rf"^\| (`{re.escape(section)}\.[^|]*)\|", OPERATIONS, re.MULTILINE):
        documented |= {key.rpartition(".")[2] for key in re.findall(r"`([^`]+)`", row)}
    assert documented == fields


@pytest.mark.parametrize("kind", SHIPPED)
def test_example_and_set_up_have_every_setting_of_an_adapter(kind: str) -> None:
    fields = set(discovery.load(kind).Settings.model_fields)
    assert keys_of_example(f"adapters.{kind}") == fields | {"type"}
    guide = ROOT / f"docs/setup/{kind}.md"
    text = guide.read_text("utf-8") if kind != "desk" else OPERATIONS
    assert {key for key in fields if f"`{key}`" not in text} == set()


def test_the_example_is_a_configuration_once_tokens_are_in(tmp_path: Path) -> None:
    text = EXAMPLE.read_text("utf-8")
    tomllib.loads(text)
    filled = tmp_path / "config.toml"
    filled.write_text(text.replace('token = "..."', 'token = "of-discord"').replace(":AA...", ":AAx"), "utf-8")
    loaded = config.load(filled, {})
    assert {adapter.type for adapter in loaded.adapters.values()} == set(SHIPPED)
    assert loaded.gateway == config.GatewaySettings(host="127.0.0.1", port=8080)
    assert loaded.limits == config.LimitSettings()


def test_every_command_and_option_is_documented() -> None:
    group = typer.main.get_command(cli)
    commands = group.commands  # type: ignore[attr-defined]
    assert commands
    for name, command in commands.items():
        assert f"`threadbridge {name}" in OPERATIONS
        for option in command.params:
            for spelling in (each for each in option.opts if each.startswith("--") and each != "--help"):
                assert spelling in OPERATIONS, f"{name} {spelling}"


def test_every_error_code_is_documented() -> None:
    protocol = (ROOT / "docs/protocol.md").read_text("utf-8")
    assert {code for code in WireCode if f"`{code}`" not in protocol} == set()


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text("utf-8"), flags=re.DOTALL)
    text = re.sub(r"`[^`]*`", "", text)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_trap_that_authors_are_told_of_has_its_test() -> None:
    told = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/adapters.md").read_text("utf-8")))
    written = {
        name for file in ROOT.glob("tests/*/test_*.py") for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert told
    assert told - written == set()
