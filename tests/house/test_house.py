"""The rules of the house: who may import whom, how long things are, and what never appears."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "kellgren"
SOURCES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text("utf-8")) for name, path in SOURCES.items()}
MOST_FUNCTION_LINES, MOST_FILE_LINES = 60, 320

# Which library may be imported where; whatever is not listed is everyone's.
HOMES = {
    "torch": ("training/",),
    "torchvision": ("training/",),
    "timm": ("training/architectures/", "training/gate_making/feature_network.py"),
    "safetensors": ("training/",),
    "onnx": ("training/",),
    "sklearn": ("data/splits.py", "training/gate_making/fit.py"),
    "matplotlib": ("libraries.py",),
    "pydicom": ("imaging/dicom/", "output/dicom/", "pacs/"),
    "pynetdicom": ("pacs/",),
    "highdicom": ("output/dicom/",),
    "fastapi": ("web/",),
    "uvicorn": ("web/", "cli/serve.py"),
    "filelock": ("training/",),
    "imagecodecs": ("imaging/dicom/", "imaging/integrity/tiff.py"),
    "simplejpeg": ("imaging/integrity/",),
    "onnxruntime": ("libraries.py",),
    "openvino": ("libraries.py",),
    "typer": ("cli/",),
    "rich": ("cli/",),
    "ray": ("libraries.py",),
    "fsspec": ("cluster/",),
    "pyarrow": ("reading_tables/parquet_table.py",),
}
UNPICKLERS = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}


def imports(tree: ast.AST) -> Iterator[str]:
    """The top-level names of all that is imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]


def nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, Any]]:
    """The parts of these kinds in all files, each with its file's name."""
    for name, tree in TREES.items():
        yield from ((name, node) for node in ast.walk(tree) if isinstance(node, kinds))


@cache
def imported_by_each() -> dict[str, set[str]]:
    """What each file of the package imports."""
    return {name: set(imports(tree)) for name, tree in TREES.items()}


def ran(*words: str) -> None:
    """Run a tool of the environment in the repository's root; what it finds is the failure."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_there_is_a_house() -> None:
    assert {"grades.py", "ensemble.py", "cli/__init__.py"} <= SOURCES.keys()


def test_rooms_import_downwards_only() -> None:
    code = "import sys; from importlinter.cli import lint_imports_command as go; sys.exit(go())"
    ran("-c", code, "--config", ".importlinter", "--no-cache")


def test_ruff_finds_nothing() -> None:
    ran("-m", "ruff", "check")


def test_ruff_would_format_nothing() -> None:
    ran("-m", "ruff", "format", "--check")


def test_mypy_is_strict_and_content() -> None:
    ran("-m", "mypy", "--strict")


def test_what_is_imported_is_declared() -> None:
    ran("-m", "deptry", ".")


@pytest.mark.parametrize("library", sorted(HOMES))
def test_each_library_stays_in_its_rooms(library: str) -> None:
    strays = [
        name
        for name, known in imported_by_each().items()
        if library in known and not name.startswith(HOMES[library])
    ]
    assert strays == []


def test_nothing_is_ever_unpickled() -> None:
    for name, tree in TREES.items():
        assert not UNPICKLERS & imported_by_each()[name], name
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                given = {word.arg: ast.unparse(word.value) for word in node.keywords}
                where = f"{name}:{node.lineno}"
                assert called not in ("torch.load", "onnx.load_external_data"), where
                assert given.get("allow_pickle", "False") == "False", where
                assert given.get("weights_only", "True") == "True", where
                if called.endswith("load_state_dict_from_url"):
                    assert given.get("check_hash") == given.get("weights_only") == "True", where
                if called.endswith("np.load"):
                    assert given.get("allow_pickle") == "False", where


def test_files_and_functions_are_short() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in SOURCES.items()}
    assert {name: count for name, count in lines.items() if count > MOST_FILE_LINES} == {}
    functions = {
        f"{name}: {node.name}": (node.end_lineno or 0) - node.lineno + 1
        for name, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    }
    assert {name: count for name, count in functions.items() if count > MOST_FUNCTION_LINES} == {}


def test_sources_hold_no_leftovers() -> None:
    left = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b|[\t\u200b-\u200f]")
    texts = {name: path.read_text("utf-8") for name, path in SOURCES.items()}
    assert {name: found for name, text in texts.items() if (found := left.findall(text))} == {}
    machine = re.compile(r"(?<![\w.])(/home/|/tmp/|/root/|/Users/|[A-Z]:\\)")
    strings = [
        (name, node.value) for name, node in nodes(ast.Constant) if isinstance(node.value, str)
    ]
    assert [(name, string) for name, string in strings if machine.search(string)] == []


def test_libraries_do_not_print() -> None:
    printing = {"print", "input", "eval", "exec"}
    for name, node in nodes(ast.Call):
        if isinstance(node.func, ast.Name):
            assert node.func.id not in printing, f"{name}:{node.lineno}"
    for name, node in nodes(ast.ImportFrom):
        assert all(alias.name != "*" for alias in node.names), f"{name}:{node.lineno}"


def test_every_file_says_what_it_is_for() -> None:
    assert [name for name, tree in TREES.items() if not ast.get_docstring(tree)] == []
    future = "from __future__ import annotations"
    annotated = {name for name, _ in nodes(ast.arg, ast.AnnAssign)}
    assert [name for name in annotated if future not in SOURCES[name].read_text("utf-8")] == []
