"""Write the generated files of docs/reference: commands, Python interface, schema of readings.

    python scripts/make_reference.py

`commands.md` comes from the tree of commands that `kellgren` runs, `python.md` from the names in
`kellgren.__all__` and their docstrings, `readings.schema.json` from the models of readings. All are
found by import, so a module may move without a change here. The example in `predictions.md` is what
`kellgren grade` writes with the bundle of the package. The tests make all of it again and compare:
run this after changing one of the sources, or the bundle.
"""

from __future__ import annotations

import enum
import functools
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer.main

import kellgren
from kellgren.cli import app
from kellgren.reading_schema import readings_schema

HERE = Path(__file__).parents[1] / "docs" / "reference"
MADE = "<!-- Made by `python scripts/make_reference.py`: change the source, not this page. -->\n"
LINE = 88  # characters after which a signature is written one parameter a line
_EXTRA = re.compile(r"(?:^|\s)\s*\[([^\[\]]*)\]$")
_MARKUP = re.compile(r"\[/?[a-z ]+\]")
_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields|Example|Examples):$")
_ENTRY = re.compile(r"^(\*{0,2}\w[\w., ]*?)(?: \([^)]*\))?: ")
_TITLES = {"Args": "Arguments", "Example": "Example", "Examples": "Example"}


def prose(text: str) -> str:
    """Text as Markdown that shows it as it is."""
    return re.sub(r"([<*])", r"\\\1", text)


# --- the command line -------------------------------------------------------------------------


def commands_page() -> str:
    """Every command with its arguments, options and examples, as one page."""
    sections = list(_sections(typer.main.get_command(app), ("kellgren",), None))
    head = (
        f"# Commands and options\n\n{MADE}\n"
        "Every command, as `--help` shows it. Exit codes, environment variables and the checks\n"
        "of a film: [command line](command-line.md).\n"
    )
    return "\n".join([head, *sections])


def _sections(command: Any, path: tuple[str, ...], parent: Any) -> Iterator[str]:
    """A command's section and those of the commands below it; hidden ones are left out."""
    context = command.make_context(path[-1], [], parent=parent, resilient_parsing=True)
    below = {
        name: inner
        for name, inner in getattr(command, "commands", {}).items()
        if not getattr(inner, "hidden", False)
    }
    yield _section(command, path, context, below)
    for name, inner in below.items():
        yield from _sections(inner, (*path, name), context)


def _section(command: Any, path: tuple[str, ...], context: Any, below: dict[str, Any]) -> str:
    shown = [p for p in command.get_params(context) if not getattr(p, "hidden", False)]
    arguments = [p for p in shown if p.param_type_name == "argument"]
    words = [" ".join(path), *(["COMMAND"] if below else []), "[OPTIONS]"]
    for argument in arguments:
        name = argument.get_help_record(context)[0].split(" <")[0].upper()
        words.append(name if argument.required else f"[{name}]")
    lines = [f"## {' '.join(path)}\n", prose(inspect.cleandoc(command.help or "")) + "\n"]
    lines += [f"```text\n{' '.join(words)}\n```\n"]
    if below:
        lines += [
            f"- [`{' '.join((*path, name))}`](#{'-'.join((*path, name))}): "
            + prose((inner.help or "").split("\n\n")[0].replace("\n", " "))
            for name, inner in below.items()
        ]
        lines.append("\nOptions:\n")
    lines += [_parameter(parameter, context) for parameter in shown]
    lines.append("")
    if command.epilog:
        examples = _MARKUP.sub("", command.epilog).split(" · ")
        lines.append("```bash\n" + "\n".join(e.split(": ")[-1] for e in examples) + "\n```\n")
    return "\n".join(lines)


def _parameter(parameter: Any, context: Any) -> str:
    """One argument or option: names and type, what it does, then default, range and variable."""
    names, help_text = parameter.get_help_record(context)
    extra = _EXTRA.search(help_text)
    meaning = prose(help_text[: extra.start()] if extra else help_text).strip()
    facts = ", ".join(map(_fact, extra[1].split("; "))) if extra else ""
    return f"- `{names}`: " + " ".join(part for part in (meaning, facts and f"({facts})") if part)


def _fact(fact: str) -> str:
    """What help says in brackets: required, a default, a variable, or a range of numbers."""
    word, colon, value = fact.partition(": ")
    if fact == "required":
        return fact
    return f"{word.replace('env var', 'environment variable')} `{value}`" if colon else f"`{fact}`"


# --- the Python interface ---------------------------------------------------------------------


class Raw:
    """A piece of source text inside a signature, shown without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def kind(thing: object) -> str:
    """The heading under which a public name stands."""
    if isinstance(thing, type):
        if issubclass(thing, BaseException):
            return "Errors"
        return "Enumerations" if issubclass(thing, enum.Enum) else "Classes"
    return "Functions" if callable(thing) else "Values"


def python_page() -> str:
    """Every name of `kellgren.__all__` with its docstring, as one page."""
    public = {name: getattr(kellgren, name) for name in kellgren.__all__}
    lines = [
        f"# Python interface\n\n{MADE}",
        "What `import kellgren` offers. [How to use it](../how-to/use-from-python.md).\n",
    ]
    for heading in ("Functions", "Classes", "Enumerations", "Errors", "Values"):
        named = {name: thing for name, thing in public.items() if kind(thing) == heading}
        if named:
            lines.append(f"## {heading}\n")
        for name, thing in named.items():
            lines.append(f"### {name.replace('_', chr(92) + '_')}\n")
            lines.append(_described(name, thing, set(map(id, public.values()))))
    return "\n".join(lines)


def _described(name: str, thing: Any, public: set[int]) -> str:
    if not isinstance(thing, type):
        if callable(thing) and not hasattr(thing, "__origin__"):
            return f"{_signature(f'kellgren.{name}', thing)}\n{document(thing)}"
        value = str(thing) if hasattr(thing, "__origin__") else type(thing).__name__
        return f"`{value}`\n"
    parts = []
    if issubclass(thing, BaseException):
        above = [base.__name__ for base in thing.__bases__]
        parts.append(f"A kind of {', '.join(f'`{base}`' for base in above)}.\n")
    if not issubclass(thing, enum.Enum) and (
        not issubclass(thing, BaseException) or "__init__" in vars(thing)
    ):
        parts.append(_signature(f"kellgren.{name}", thing))
    parts.append(document(thing))
    if issubclass(thing, enum.Enum):
        parts += [f"- `{name}.{member.name}`: `{member.value!r}`" for member in thing]
        parts.append("")
    for member, value in members(thing, public):
        parts.append(f"#### {name}.{member}\n")
        inner = getattr(value, "__func__", value)
        if inspect.isfunction(inner):
            parts.append(_signature(f"{name}.{member}", getattr(thing, member), inner is value))
        parts.append(document(_function(value)))
    return "\n".join(parts)


def members(cls: type, public: set[int]) -> list[tuple[str, Any]]:
    """The public methods and properties of a class.

    Those that it has from classes of this package that are not public themselves count too:
    nothing else would document them.
    """
    public_members: dict[str, Any] = {}
    for base in cls.__mro__:
        own = base is cls or (base.__module__.startswith("kellgren") and id(base) not in public)
        for name, member in vars(base).items() if own else ():
            if not name.startswith("_") and _function(member) is not None:
                public_members.setdefault(name, member)
    return list(public_members.items())


def _function(member: Any) -> Callable[..., Any] | None:
    """What a method, a property or a cached one runs; None for whatever else a class holds."""
    for attribute in ("__func__", "fget", "func"):
        if isinstance(member, classmethod | staticmethod | property | functools.cached_property):
            member = getattr(member, attribute, member)
    return member if inspect.isfunction(member) else None


def _signature(name: str, thing: Callable[..., Any], bound: bool = False) -> str:
    """The call of something, annotations as they are written, as a block of code."""
    signature = inspect.signature(thing)
    parameters = [_plain(p) for p in signature.parameters.values()][1 if bound else 0 :]
    returned = signature.return_annotation
    if isinstance(thing, type) or returned is inspect.Signature.empty:
        returned = inspect.Signature.empty
    elif isinstance(returned, str):
        returned = Raw(returned)
    whole = str(signature.replace(parameters=parameters, return_annotation=returned))
    if len(name) + len(whole) > LINE:
        arrow = "" if returned is inspect.Signature.empty else f" -> {returned!r}"
        rows = [str(p) for p in parameters]
        kinds = [p.kind for p in parameters]
        if (
            inspect.Parameter.KEYWORD_ONLY in kinds
            and inspect.Parameter.VAR_POSITIONAL not in kinds
        ):
            rows.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
        whole = "(\n" + "".join(f"    {row},\n" for row in rows) + f"){arrow}"
    return f"```py\n{name}{whole}\n```\n"


def _plain(parameter: inspect.Parameter) -> inspect.Parameter:
    annotation, default = parameter.annotation, parameter.default
    if isinstance(annotation, str):
        annotation = Raw(annotation)
    if isinstance(default, enum.Enum):
        default = Raw(f"{type(default).__name__}.{default.name}")
    elif default is not parameter.empty and re.search(r"[<>]", repr(default)):
        default = Raw("...")
    return parameter.replace(annotation=annotation, default=default)


def document(thing: Any) -> str:
    """A docstring of Google's style as Markdown: sections as lists."""
    lines = inspect.cleandoc(thing.__doc__ or "").splitlines()
    out: list[str] = []
    section = ""
    for line in lines:
        opened = _SECTION.match(line)
        if opened:
            section = opened[1]
            out.append(f"{_TITLES.get(section, section)}:\n")
        elif not section or not line.strip() or not line.startswith(" "):
            section = "" if line.strip() else section
            out.append(line)
        else:
            out.append(_entry(line[4:], section))
    return "\n".join(out).strip() + "\n"


def _entry(line: str, section: str) -> str:
    """A line of a section: the begin of an entry, its continuation, or plain text."""
    if section in ("Args", "Attributes", "Raises"):
        if line.startswith(" "):
            return "  " + line.strip()
        return _ENTRY.sub(lambda match: f"- `{match[1]}`: ", line)
    return line


# --- the schema of readings -------------------------------------------------------------------


def schema_file() -> str:
    """What `kellgren grade --schema` prints."""
    return json.dumps(readings_schema(), indent=2) + "\n"


# --- the example of a reading -----------------------------------------------------------------


def example() -> str:
    """What `kellgren grade --json -` writes of a knee and of a file that shows none, folded."""
    files = ("examples/9177337R.png", "pyproject.toml")
    words = ("grade", *files, "--joint-space", "off", "--json", "-")
    run = (sys.executable, "-m", "kellgren", *words)
    done = subprocess.run(run, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
    return _folded(json.loads(done.stdout))


def _folded(value: Any, indent: int = 0) -> str:
    """JSON in which all that fits on a line stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or indent + len(line) <= LINE:
        return line
    keys = [f"{json.dumps(key)}: " for key in value] if isinstance(value, dict) else None
    inner = list(value.values()) if isinstance(value, dict) else value
    parts = [_folded(part, indent + 2) for part in inner]
    lines = [key + part for key, part in zip(keys or [""] * len(parts), parts, strict=True)]
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    space = " " * (indent + 2)
    return f"{opening}\n{space}" + f",\n{space}".join(lines) + f"\n{' ' * indent}{closing}"


def _with_example(page: str) -> str:
    """The page with the example made anew."""
    head, rest = page.split("```json\n", 1)
    return f"{head}```json\n{example()}\n```{rest.split('```', 1)[1]}"


FILES = {
    "commands.md": commands_page,
    "python.md": python_page,
    "readings.schema.json": schema_file,
}

if __name__ == "__main__":
    for name, made in FILES.items():
        page = made()
        (HERE / name).write_text(page, "utf-8")
        print(HERE / name)
    told = HERE / "predictions.md"
    told.write_text(_with_example(told.read_text("utf-8")), "utf-8")
    print(told)
