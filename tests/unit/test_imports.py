"""Who may import whom, held by walking every import."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted([*ROOT.glob("bridge/**/*.py"), *ROOT.glob("adapters/**/*.py")])

# Rooms from the ground up: a room may use those of lower floors, and what is of its own room.
FLOORS = {
    "bridge.model": 0, "bridge.errors": 0, "bridge.ids": 0, "bridge.values": 0,
    "bridge.hints": 1, "bridge.ports": 1,
    "bridge.deliveries": 2, "bridge.storage": 2,
    "bridge.routing": 3, "bridge.richtext": 3, "bridge.presence": 3, "bridge.commands": 3, "bridge.planning": 3,
    "bridge.answering": 3, "bridge.clock": 3, "bridge.pacing": 3, "bridge.wakeups": 3, "bridge.log": 3,
    "bridge.discovery": 3, "bridge.sources": 3, "bridge.disk": 3,
    "bridge.conversations": 4, "bridge.look": 4, "bridge.config": 4,
    "bridge.inbound": 5, "bridge.outbox": 5, "bridge.lane": 5, "bridge.health": 4, "bridge.sending": 5,
    "bridge.store": 6, "bridge.gateway": 6,
    "bridge.app": 7,
    "bridge.checking": 8, "bridge.operating": 8, "bridge.backups": 8, "bridge.wizard": 8,
    "bridge.__main__": 9,
}  # fmt: skip
OPEN_TO_ADAPTERS = {
    "bridge.model", "bridge.errors", "bridge.hints", "bridge.ports", "bridge.richtext", "bridge.commands",
}  # fmt: skip
OWNERS = {"slack_sdk": "slack", "telegram": "telegram", "discord": "discord"}
DATABASES = {"sqlite3", "aiosqlite"}
SQL = re.compile(
    r"\b(?:SELECT\s.+\sFROM|INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE|PRAGMA)\b",
    re.DOTALL,
)


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            # `from bridge import log` names a module, `from bridge.log import Level` something within one.
            yield from (
                f"{module}.{alias.name}" if module in {"bridge", "adapters"} else module for alias in node.names
            )


def pairs() -> list[tuple[str, str]]:
    return sorted({(name_of(path), imported) for path in MODULES for imported in imports(path)})


def test_every_module_of_the_core_has_its_floor() -> None:
    assert {room_of(name_of(path)) for path in MODULES if name_of(path).startswith("bridge.")} == set(FLOORS)


def test_the_core_is_built_from_the_ground_up() -> None:
    wrong = []
    for module, imported in pairs():
        room, other = room_of(module), room_of(imported)
        if room in FLOORS and other in FLOORS and room != other and FLOORS[room] <= FLOORS[other]:
            ground = FLOORS[room] == FLOORS[other] < 6  # neighbours within a floor, but for store and gateway
            if not ground:
                wrong.append((module, imported))
    assert wrong == []


def test_the_core_imports_no_adapter() -> None:
    assert [pair for pair in pairs() if pair[0].startswith("bridge") and pair[1].startswith("adapters")] == []


def test_an_adapter_imports_only_what_is_open_to_it() -> None:
    wrong = []
    for module, imported in pairs():
        if module.startswith("adapters."):
            own = room_of(module)
            foreign = imported.startswith("adapters.") and room_of(imported) != own
            closed = imported.startswith("bridge") and room_of(imported) not in OPEN_TO_ADAPTERS
            if foreign or closed:
                wrong.append((module, imported))
    assert wrong == []


def test_an_sdk_stays_within_its_adapter() -> None:
    wrong = [
        (module, imported)
        for module, imported in pairs()
        if (sdk := imported.split(".")[0]) in OWNERS and room_of(module) != f"adapters.{OWNERS[sdk]}"
    ]
    assert wrong == []


def test_the_web_stays_at_the_edge() -> None:
    wrong = [
        (module, imported)
        for module, imported in pairs()
        if imported.split(".")[0] == "aiohttp" and module.startswith("bridge") and room_of(module) != "bridge.gateway"
    ]
    assert wrong == []


def test_databases_stay_in_the_store() -> None:
    wrong = [
        (module, imported)
        for module, imported in pairs()
        if imported.split(".")[0] in DATABASES and room_of(module) != "bridge.store"
    ]
    assert wrong == []


def strings(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text("utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def test_sql_stays_in_the_store() -> None:
    outside = [path for path in MODULES if room_of(name_of(path)) != "bridge.store"]
    assert [str(path) for path in outside if any(SQL.search(text) for text in strings(path))] == []


def test_the_model_needs_the_standard_library_alone() -> None:
    for module in ("bridge.model", "bridge.errors", "bridge.values"):
        path = ROOT / (module.replace(".", "/") + ".py")
        needed = set(imports(path)) - {"bridge.values"}
        assert {imported.split(".")[0] for imported in needed} <= sys.stdlib_module_names


LIBRARIES = {"slack": {"slack_sdk"}, "telegram": {"telegram"}, "discord": {"discord"}, "desk": set[str]()}


@pytest.mark.parametrize("kind", LIBRARIES)
def test_one_platform_loads_no_other_ones_library(kind: str) -> None:
    script = (
        "import sys; import bridge.__main__, bridge.app; from bridge.discovery import load; load(sys.argv[1]);"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    loaded = set(
        subprocess.run([sys.executable, "-c", script, kind], capture_output=True, check=True).stdout.decode().split()
    )
    assert "aiohttp" in loaded
    assert loaded & set().union(*LIBRARIES.values()) == LIBRARIES[kind]


@pytest.mark.parametrize("word", ["utils", "helpers", "common", "manager"])
def test_no_module_is_called_after_nothing(word: str) -> None:
    assert [str(path) for path in MODULES if word in path.stem] == []
