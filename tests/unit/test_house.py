"""Rules of the house that no reader should have to check. Every message names the file and what mends it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import thingpass

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "thingpass"
FILES = sorted(SOURCE.rglob("*.py"))
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "requirements/*.md", "examples/**/*.md")
    for path in ROOT.glob(pattern)
)

ROOMS = (
    *("x509", "mqtt", "proto3"),  # libraries of their own: nothing of thingpass but themselves
    *("tls", "bus", "store"),
    *("audit", "messaging", "telemetry", "authority", "identity", "devices"),
    *("servers", "simulation", "api", "app", "cli"),
)
"""From the ground up: a room imports from rooms before it. Below all stand the single files, GROUND."""
GROUND = {path.stem for path in SOURCE.glob("*.py")} - {"app", "__main__"}
LIBRARIES = ("x509", "mqtt", "proto3")
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "core", "stuff"}

TREES = {path: ast.parse(path.read_text()) for path in FILES}


def assert_none(faults: list[str]) -> None:
    assert not faults, "\n" + "\n".join(faults)


def at(path: Path, line: int = 1) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def room_of(path: Path) -> str:
    relative = path.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and room of every import of ours, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "thingpass":
            names = [f"thingpass.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.startswith("thingpass.") and not name.startswith("thingpass.__"):
                yield node.lineno, name.split(".")[1]


def rank(room: str) -> int:
    return ROOMS.index(room) if room in ROOMS else -1


def test_rooms_import_only_from_rooms_below() -> None:
    faults = []
    for path, tree in TREES.items():
        room = room_of(path)
        if room == "__main__":
            continue
        if room not in (*ROOMS, *GROUND):
            faults.append(f"{at(path)}: give {room} its place in ROOMS of {Path(__file__).name}")
        for line, imported in imports_of(tree):
            if room in LIBRARIES and imported != room:
                faults.append(f"{at(path, line)}: {room}/ is a library of its own; {imported} is not in it")
            elif rank(imported) > rank(room):
                faults.append(
                    f"{at(path, line)}: {room} may not import {imported}, which stands above it; hand it in "
                    "as a value or a Protocol, or move what both need down"
                )
    assert_none(faults)


def test_files_below_the_rooms_have_no_cycle() -> None:
    needs = {
        path.stem: {imported for _, imported in imports_of(tree)} & GROUND
        for path, tree in TREES.items()
        if room_of(path) in GROUND
    }
    while ready := [name for name, imported in needs.items() if not imported & needs.keys()]:
        for name in ready:
            del needs[name]
    assert not needs, f"these import each other in a circle: {needs}"


def test_file_names_say_what_is_inside() -> None:
    assert_none([f"{at(path)}: name it after what it holds" for path in FILES if path.stem in BANNED_NAMES])


def test_sql_stays_in_the_store() -> None:
    sql = re.compile(
        r"\b(SELECT\s[^\n]*\bFROM\b|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE)\b"
    )
    assert_none(
        [
            f"{at(path, node.lineno)}: SQL lives in store/ and nowhere else"
            for path, tree in TREES.items()
            if room_of(path) != "store"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and sql.search(node.value)
        ]
    )


def test_nothing_is_left_for_later() -> None:
    left = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
    assert_none(
        [f"{at(path)}: {found[0]}: do it" for path in FILES if (found := left.search(path.read_text()))]
    )


def test_public_signatures_do_not_say_any() -> None:
    """What a coroutine takes and yields inside, and the columns of a row, have no better name."""
    allowed = re.compile(r"Coroutine\[Any, Any, |tuple\[Any, \.\.\.\]")
    assert_none(
        [
            f"{at(path, node.lineno)}: {node.name} says Any; use object or a type of its own"
            for path, tree in TREES.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
            for annotation in annotations_of(node)
            if re.search(r"\bAny\b", allowed.sub("", ast.unparse(annotation)))
        ]
    )


def annotations_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [part for part in (*(argument.annotation for argument in arguments), node.returns) if part]


def test_every_file_says_what_it_is_for() -> None:
    assert_none(
        [f"{at(path)}: begin with a docstring" for path, tree in TREES.items() if not ast.get_docstring(tree)]
    )


def test_version_is_the_top_of_the_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[(\d[^\]]*)\]", text, re.MULTILINE)
    assert released, "CHANGELOG.md: no section ## [VERSION]"
    assert released[0] == thingpass.__version__, "CHANGELOG.md: its newest version and __version__ must agree"


@pytest.mark.parametrize("name", ["run", "test", "tb-client"])
def test_lock_file_is_exact_hashed_and_names_no_registry(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    for entry in entries:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==\S+ .*\\$", entry), (
            f"requirements/{name}.txt: {entry}: run make lock"
        )
    assert text.count("--hash=sha256:") >= len(entries)
    assert "://" not in text, f"requirements/{name}.txt names an address: run make lock"


def test_lock_files_hold_what_pyproject_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {re.split(r"[<>=\[; ]", requirement)[0].lower() for requirement in project["dependencies"]}
    locks = [
        dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "requirements" / f"{name}.txt").read_text(), re.M))
        for name in ("run", "test")
    ]
    run, test = locks
    assert asked <= run.keys(), f"requirements/run.txt lacks {asked - run.keys()}: run make lock"
    assert run.items() <= test.items(), "requirements/test.txt must hold all of run.txt: run make lock"


def test_links_between_pages_lead_somewhere() -> None:
    faults = []
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in target or target.startswith("mailto:"):
                continue
            path, _, anchor = target.partition("#")
            linked = (page.parent / path).resolve() if path else page
            if not linked.exists():
                faults.append(f"{at(page)}: there is no {target}")
            elif anchor and linked.suffix == ".md" and anchor not in anchors_of(linked):
                faults.append(f"{at(page)}: {linked.name} has no heading #{anchor}")
    assert_none(faults)


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_both_readmes_have_the_same_commands() -> None:
    english, chinese = (
        re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / name).read_text(), re.DOTALL | re.MULTILINE)
        for name in ("README.md", "README.zh.md")
    )

    def commands(blocks: list[tuple[str, str]]) -> list[str]:
        lines = [line for kind, text in blocks if kind == "bash" for line in text.splitlines()]
        return [re.sub(r"\s*#.*", "", line) for line in lines]

    assert commands(english) == commands(chinese), (
        "README.md and README.zh.md: the same commands, in one order"
    )


def test_every_page_opens_with_a_title() -> None:
    assert_none(
        [f"{at(page)}: begin with # TITLE" for page in PAGES if not page.read_text().startswith("# ")]
    )
