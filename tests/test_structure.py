"""The structure that DESIGN fixes: imports in one direction, nothing that runs what peers send, readable modules."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent / "mpcrt"

# What each room may import; errors and text may be imported by all.
MAY_IMPORT = {
    "text": set(),
    "errors": set(),
    "ring": set(),
    "plan": {"ring"},
    "numerics": {"plan", "ring"},
    "tracing": {"plan", "numerics", "ring"},
    "transport": set(),
    "protocols": {"ring", "plan", "transport"},
    "cluster": {"transport"},
    "runtime": {"ring", "plan", "numerics", "tracing", "transport", "protocols", "cluster"},
    "trust": {"runtime"},
    "cli": {"runtime", "cluster", "transport", "protocols", "plan", "ring"},
}
# What only some rooms may import from outside.
ONLY_IN = {
    "jax": {"tracing", "runtime"},
    "zmq": {"transport", "cluster"},
    "yaml": {"cluster"},
    "click": {"cli"},
    "argparse": set(),
    "pickle": set(),
    "cloudpickle": set(),
    "marshal": set(),
    "shelve": set(),
    "multiprocessing": set(),
}
FILES = sorted(p for p in ROOT.rglob("*.py"))


def room(path: pathlib.Path) -> str:
    relative = path.relative_to(ROOT)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports(tree: ast.AST):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the direction"
            yield from (f"mpcrt.{a.name}" for a in node.names) if node.module == "mpcrt" else (node.module,)


def test_there_is_something_to_check():
    assert len(FILES) > 30
    assert {room(p) for p in FILES} - {"__init__", "__main__"} <= set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    here = room(path)
    for name in imports(ast.parse(path.read_text())):
        parts = name.split(".")
        if parts[0] == "mpcrt" and here not in ("__init__", "__main__"):
            target = parts[1] if len(parts) > 1 else "mpcrt"
            assert target in {here, "errors", "text"} | MAY_IMPORT[here], f"{path.name}: {here} must not import {name}"
        elif parts[0] in ONLY_IN:
            assert here in ONLY_IN[parts[0]], f"{path.name}: {here} must not import {name}"
        assert not name.startswith("jax._src"), f"{path.name} imports private {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_runs_what_a_peer_sent(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("eval", "exec", "compile", "__import__"), f"{path.name}:{node.lineno}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_can_be_held_in_the_head(path):
    lines = path.read_text().count("\n")
    assert lines <= 400, f"{path.name} has {lines} lines: two rooms in one?"


def test_only_some_rooms_touch_the_outside():
    for path in FILES:
        if room(path) in ("cluster", "trust", "cli", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
                spot = f"{node.value.id}.{node.attr}"
                assert spot not in ("os.environ", "os.getenv", "sys.argv"), f"{path.name}:{node.lineno} reads {spot}"


def test_randomness_comes_from_one_module():
    for path in FILES:
        if path.relative_to(ROOT) == pathlib.Path("ring/prg.py"):
            continue
        for name in imports(ast.parse(path.read_text())):
            assert name not in ("secrets", "random"), f"{path.name} imports {name}"
        assert "urandom" not in path.read_text(), f"{path.name} draws randomness of its own"
