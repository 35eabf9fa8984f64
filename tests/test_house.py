"""The rules that keep this a house: who may import whom, what is pure, how long a file may be, what is never written.

The rules are read off the source, so a broken one names file and line.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("gateway_proxy", "engine", "monitor", "gateway_sim")
FILE_LINES_MAX = 450
FUNCTION_LINES_MAX = 70

#: What a pure file may import beside our own pure files: words and mathematics, no clock, no chance, no outside.
PURE_LIBRARIES = {
    "__future__", "abc", "annotated_types", "array", "base64", "bisect", "collections", "copy", "dataclasses",
    "datetime", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "hdrh", "heapq", "itertools", "json",
    "math", "msgspec", "numbers", "numpy", "operator", "orjson", "re", "statistics", "string", "sys", "types", "typing",
    "zoneinfo",
}  # fmt: skip

#: What no file may import that calls itself pure in its docstring.
IMPURE_LIBRARIES = {
    "asyncio", "ib_async", "logging", "multiprocessing", "os", "random", "secrets", "selectors", "socket", "sqlite3",
    "subprocess", "threading", "time", "urllib", "uuid", "zmq",
}  # fmt: skip

#: Layers of the proxy, lowest first; a file imports from its own layer and from those below it only.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("gateway_proxy.errors", "gateway_proxy.logs", "gateway_proxy.notify"),
    ("gateway_proxy.bus.messages", "gateway_proxy.bus.topics", "gateway_proxy.bus"),
    ("gateway_proxy.core.events", "gateway_proxy.core.effects"),
    ("gateway_proxy.core",),
    ("gateway_proxy.core.proxy",),
    ("gateway_proxy.settings", "gateway_proxy.config", "gateway_proxy.schema"),
    ("gateway_proxy.translate",),
    ("gateway_proxy",),  # shells: whatever is not named more precisely
    ("gateway_proxy.cli",),
    ("gateway_proxy.__main__",),
)  # fmt: skip
#: What engines, monitor and other programs use; `notify` is a module of functions.
PUBLIC_MODULES = ("gateway_proxy", "gateway_proxy.notify")
#: The bus is its own house: of the proxy it knows words only.
BUS_MAY_IMPORT = ("gateway_proxy.bus", "gateway_proxy.errors")


@dataclass(frozen=True)
class Import:
    """`module` is what is imported, as precisely as the source tells; `runs` is False under TYPE_CHECKING."""

    importer: str
    module: str
    line: int
    runs: bool
    at_top: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.module}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES: dict[str, Path] = {
    module_name(path): path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))
}
TREES: dict[str, ast.Module] = {name: ast.parse(path.read_text(), str(path)) for name, path in SOURCES.items()}


def imports_of(name: str) -> Iterator[Import]:
    def walk(node: ast.AST, runs: bool, at_top: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(name, alias.name, child.lineno, runs, at_top)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name}:{child.lineno}: write the whole module name"
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    yield Import(name, full if full in SOURCES else str(child.module), child.lineno, runs, at_top)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from walk(child, False, at_top)
            else:
                yield from walk(child, runs, at_top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    yield from walk(TREES[name], True, True)


IMPORTS: list[Import] = [found for name in SOURCES for found in imports_of(name)]


def is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def layer_of(module: str) -> int | None:
    """The layer whose entry names the module most precisely; None outside the proxy."""
    matches = [
        (len(entry), height) for height, entries in enumerate(LAYERS) for entry in entries if is_in(module, entry)
    ]
    return max(matches)[1] if matches else None


def test_core_imports_no_clock_no_chance_and_no_outside():
    """A core that cannot read a clock or a socket behaves the same in a test, in a simulation and in the market."""
    broken = [
        found
        for found in IMPORTS
        if is_in(found.importer, "gateway_proxy.core")
        and found.module.split(".")[0] not in (*PURE_LIBRARIES, *PACKAGES)
    ]

    assert broken == [], "\n".join(map(str, broken))


def test_files_that_call_themselves_pure_are():
    """The docstring of a module is a promise; "Pure: …" or "Pure." in it can be relied on."""
    pure = {name for name, tree in TREES.items() if re.search(r"(?:^|\. |\n)Pure[.:]", ast.get_docstring(tree) or "")}

    broken = [found for found in IMPORTS if found.importer in pure and found.module.split(".")[0] in IMPURE_LIBRARIES]

    assert broken == [], "\n".join(map(str, broken))


def test_core_imports_core_and_words_only():
    broken = [
        found
        for found in IMPORTS
        if is_in(found.importer, "gateway_proxy.core")
        and is_in(found.module, "gateway_proxy")
        and not is_in(found.module, "gateway_proxy.core")
        and found.module not in ("gateway_proxy.errors", "gateway_proxy.bus.messages", "gateway_proxy.bus.topics")
    ]

    assert broken == [], "\n".join(map(str, broken))


def test_every_import_of_the_proxy_points_downwards():
    """Words below rules below the joined core below shells below commands."""
    broken = []
    for found in IMPORTS:
        mine, theirs = layer_of(found.importer), layer_of(found.module)
        if found.runs and mine is not None and theirs is not None and theirs > mine and not is_lazy_surface(found):
            broken.append(found)

    assert broken == [], "\n".join(map(str, broken))


def is_lazy_surface(found: Import) -> bool:
    return found.importer == "gateway_proxy"


def test_bus_knows_nothing_above_it():
    """Any program may use the contract without bringing the proxy along."""
    broken = [
        found
        for found in IMPORTS
        if is_in(found.importer, "gateway_proxy.bus")
        and found.module.split(".")[0] in (*PACKAGES, "ib_async", "numba")
        and not any(is_in(found.module, allowed) for allowed in BUS_MAY_IMPORT)
    ]

    assert broken == [], "\n".join(map(str, broken))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_have_no_cycle(package):
    """Read bottom up, every file can be understood before the files that use it."""
    edges: dict[str, set[str]] = {name: set() for name in SOURCES if is_in(name, package)}
    for found in IMPORTS:
        if found.importer in edges and found.module in edges and found.at_top and found.runs:
            edges[found.importer].add(found.module)
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for below in sorted(edges[name] - {name}):
                visit(below, (*path, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())


def test_simulator_shares_no_code_with_the_others():
    """It judges the proxy; a shared mistake would be invisible."""
    broken = [
        found
        for found in IMPORTS
        if is_in(found.importer, "gateway_sim") is not is_in(found.module, "gateway_sim")
        and is_in(found.module, "gateway_sim") | any(is_in(found.module, name) for name in PACKAGES)
        and "gateway_sim" in (found.importer.split(".")[0], found.module.split(".")[0])
    ]

    assert broken == [], "\n".join(map(str, broken))


@pytest.mark.parametrize("package", ["engine", "monitor", "gateway_proxy.recorder"])
def test_clients_of_the_bus_use_public_names_only(package):
    """What they need, any other program can have: `from gateway_proxy import …`, nothing deeper."""
    broken = [
        found
        for found in IMPORTS
        if is_in(found.importer, package)
        and found.module.split(".")[0] in PACKAGES
        and not is_in(found.module, package)
        and found.module not in PUBLIC_MODULES
    ]

    assert broken == [], "\n".join(map(str, broken))


def test_only_upstream_and_translate_know_ib_async():
    knowing = {found.importer for found in IMPORTS if is_in(found.module, "ib_async")}

    assert knowing <= {"gateway_proxy.upstream", "gateway_proxy.translate"}


@pytest.mark.parametrize(
    "statement", ["import gateway_proxy", "from gateway_proxy import Client, ConfigError, Contract"]
)
def test_importing_the_client_loads_nothing_heavy(statement):
    """A notebook or a small tool pays for sockets and JSON, not for the proxy's libraries."""
    heavy = "{'ib_async', 'numba', 'pandas', 'polars', 'pydantic', 'typer', 'structlog', 'textual'}"

    done = subprocess.run(
        [sys.executable, "-c", f"{statement}; import sys; print(sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )

    assert done.stdout.strip() == "[]"


def test_public_names_exist_and_are_listed():
    """`__all__` is what help and completion show; every name of it loads."""
    import gateway_proxy

    assert [name for name in gateway_proxy.__all__ if not hasattr(gateway_proxy, name)] == []


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of code from the first statement to the last; signature and docstring do not count."""
    first = function.body[1 if ast.get_docstring(function) and len(function.body) > 1 else 0]
    return (function.end_lineno or first.lineno) - first.lineno + 1


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_file_is_short_and_says_what_it_owns(name):
    """One idea per file: a docstring that names it, at most 450 lines, no function longer than a screen or two."""
    text = SOURCES[name].read_text()
    functions = [node for node in ast.walk(TREES[name]) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f"{node.name}:{node.lineno}" for node in functions if body_lines(node) > FUNCTION_LINES_MAX]

    assert text.count("\n") <= FILE_LINES_MAX
    assert long == []
    assert not text.strip() or ast.get_docstring(TREES[name])
    assert SOURCES[name].stem not in ("utils", "helpers", "common", "misc")


TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".sh",
    ".js",
    ".json",
    ".service",
    ".target",
    ".yml",
    ".html",
    ".css",
    ".lock",
    "",
}
#: Pattern and why. Written in pieces, so that this file does not contain what it forbids.
NEVER_WRITTEN = {
    r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b": "left undone",
    r"NotImplemented" r"Error": "not implemented",
    r"(?<![\w.$}])/(ro" r"ot|ho" r"me|wo" r"rk)/\w+": "a path of one machine",
    r"(?i)\b(pypi|npmjs|pythonhosted)\.(org|com)\b": "a registry host",
    r"\bpickle\.loads?\b": "code from the wire",
}  # fmt: skip


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.splitlines()]


def test_nothing_unfit_is_written_anywhere():
    """No loose ends, no machine's paths, no registry hosts."""
    found = []
    for path in tracked_files():
        # The benchmarks measure a rival that pickles.
        if path.suffix not in TEXT_SUFFIXES or not path.is_file() or {"vendor", "bench"} & set(path.parts):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            found += [
                f"{path.relative_to(ROOT)}:{number}: {why}"
                for pattern, why in NEVER_WRITTEN.items()
                if re.search(pattern, line)
            ]

    assert found == [], "\n".join(found)


def test_lock_has_hashes_and_no_addresses():
    """It must install from any mirror, and only what was reviewed."""
    text = (ROOT / "requirements.lock").read_text()
    pins = re.findall(r"^[a-z][\w.-]*==[^\n]*\\$", text, re.M)

    assert "://" not in text
    assert len(pins) > 40
    assert text.count("==") >= len(pins)
    assert len(re.findall(r"^[a-z][\w.-]*==", text, re.M)) == len(pins), "a pin without a hash"
