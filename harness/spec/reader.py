"""YAML with line numbers: every complaint names file, line, key, and what was expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import yaml

from harness.errors import SpecError

_SIZE = re.compile(r"(\d+)([KMGT]?)\Z")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int | None:
    """``"512M"`` to bytes; None where ``text`` is no size."""
    match = _SIZE.match(text.strip().upper())
    return int(match[1]) * _UNITS[match[2]] if match else None


class View:
    """One mapping of a declaration, read key by key; ``done()`` refuses what nobody asked for."""

    def __init__(self, file: Path, node: yaml.MappingNode, where: str = "") -> None:
        self.file = file
        self._node = node
        self._where = where
        self._values: dict[str, yaml.Node] = {}
        self._lines: dict[str, int] = {}
        self._asked: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in self._values:
                self._fail(key, name, "each key once", "the key a second time")
            self._values[name] = value
            self._lines[name] = key.start_mark.line + 1

    def has(self, key: str) -> bool:
        return key in self._values

    def fail(self, key: str, expected: str, got: str = "") -> NoReturn:
        """Raise for ``key``, which was read but does not make sense."""
        if key not in self._values:
            self._misspelt(key)
        self._fail(self._values.get(key, self._node), key, expected, got)

    @contextmanager
    def telling(self, key: str) -> Iterator[None]:
        """What is wrong with that which ``key`` names is told with where it is named."""
        try:
            yield
        except SpecError as error:
            line = self._values.get(key, self._node).start_mark.line + 1
            where = f"{self.file}:{line}: {self._path(key)}"
            raise SpecError(f"{where}: {error.what}", hint=error.hint) from None

    def text(self, key: str, default: str | None = None) -> str:
        node = self._get(key, "a string", default is not None)
        if node is None:
            return default or ""
        if not isinstance(node, yaml.ScalarNode) or node.tag.endswith(":null"):
            self._fail(node, key, "a string", _shown(node))
        return str(node.value)

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        node = self._get(key, "a whole number", default is not None)
        if node is None:
            return default or 0
        return self._integer(node, key, least)

    def size(self, key: str) -> int:
        """Bytes, written as ``1G`` or ``512M``."""
        node = self._get(key, "a size such as 1G or 512M", False)
        value = parse_size(str(node.value)) if isinstance(node, yaml.ScalarNode) else None
        if not value:
            self._fail(node, key, "a size such as 1G or 512M", _shown(node))
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; a missing key is an empty list."""
        return tuple(self._items(key, "a list of strings", self._text_item))

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers; a missing key is an empty list."""
        return tuple(self._items(key, "a list of whole numbers", self._integer))

    def views(self, key: str) -> tuple[View, ...]:
        """A list of mappings, or one mapping; a missing key is an empty list."""
        node = self._values.get(key)
        if isinstance(node, yaml.MappingNode):
            self._asked.add(key)
            return (View(self.file, node, self._path(key)),)
        return tuple(self._items(key, "a mapping or a list of mappings", self._view_item))

    def matrix(self, key: str) -> tuple[tuple[int, ...], ...]:
        """A list of lists of whole numbers; a missing key is an empty list."""
        return tuple(self._items(key, "a list of lists of whole numbers", self._row_item))

    def pairs(self, key: str) -> Iterator[tuple[str, View]]:
        """The keys of the mapping ``key`` in order, each with a view to read it through."""
        node = self._values.get(key)
        self._asked.add(key)
        if node is None:
            return
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, key, "a mapping", _shown(node))
        inner = View(self.file, node, self._path(key))
        for name in inner._values:
            yield name, inner

    def done(self) -> None:
        """Refuse the first key that nothing has read."""
        for name in self._values:
            if name not in self._asked:
                near = difflib.get_close_matches(name, self._asked, 1)
                known = near[0] + "?" if near else "one of " + ", ".join(sorted(self._asked))
                self._unknown(name, known)

    def _misspelt(self, key: str) -> None:
        """A key that is missing may stand there by another name, which nobody has asked for."""
        unread = [name for name in self._values if name not in self._asked]
        for name in difflib.get_close_matches(key, unread, 1, 0.75):
            self._unknown(name, f"{key}?")

    def _unknown(self, name: str, expected: str) -> NoReturn:
        raise SpecError(
            f"{self.file}:{self._lines[name]}: unknown key {self._path(name)!r}; "
            f"expected {expected}"
        )

    def _get(self, key: str, expected: str, optional: bool) -> yaml.Node | None:
        self._asked.add(key)
        node = self._values.get(key)
        if node is None and not optional:
            self._misspelt(key)
            self._fail(self._node, key, expected, "nothing: the key is missing")
        return node

    def _items(
        self, key: str, expected: str, read: Callable[[yaml.Node, str, int], Any]
    ) -> Iterator[Any]:
        self._asked.add(key)
        node = self._values.get(key)
        if node is None or node.tag.endswith(":null"):
            return
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, key, expected, _shown(node))
        for index, item in enumerate(node.value):
            yield read(item, f"{key}[{index}]", 0)

    def _text_item(self, node: yaml.Node, key: str, _least: int) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._fail(node, key, "a string", _shown(node))
        return str(node.value)

    def _view_item(self, node: yaml.Node, key: str, _least: int) -> View:
        if not isinstance(node, yaml.MappingNode):
            self._fail(node, key, "a mapping", _shown(node))
        return View(self.file, node, self._path(key))

    def _row_item(self, node: yaml.Node, key: str, _least: int) -> tuple[int, ...]:
        if not isinstance(node, yaml.SequenceNode):
            self._fail(node, key, "a list of whole numbers", _shown(node))
        return tuple(self._integer(item, key, 0) for item in node.value)

    def _integer(self, node: yaml.Node, key: str, least: int) -> int:
        if not isinstance(node, yaml.ScalarNode) or not node.tag.endswith(":int"):
            self._fail(node, key, "a whole number", _shown(node))
        try:
            value = int(node.value, 0)
        except ValueError:
            self._fail(node, key, "a whole number", _shown(node))
        if value < least:
            self._fail(node, key, f"a whole number of at least {least}", node.value)
        return value

    def _path(self, key: str) -> str:
        return f"{self._where}.{key}" if self._where else key

    def _fail(self, node: yaml.Node | None, key: str, expected: str, got: str) -> NoReturn:
        line = (node or self._node).start_mark.line + 1
        tail = f", got {got}" if got else ""
        raise SpecError(f"{self.file}:{line}: {self._path(key)}: expected {expected}{tail}")


def _shown(node: yaml.Node | None) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value[:60])
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def load(file: Path) -> View:
    """The top mapping of ``file``."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SpecError(f"{file}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{file}: cannot be read: {error}") from None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise SpecError(f"{file}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{file}: not YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode):
        raise SpecError(f"{file}:1: expected a mapping of keys, got {_shown(node)}")
    return View(file, node)


def declared(folder: Path, name: str, kind: str) -> Path:
    """The file that declares ``name``: ``folder/name.yaml``, or ``name`` itself if it is a path.

    Raises SpecError with the names that there are.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    file = folder / f"{name}.yaml"
    if "/" not in name and file.is_file():
        return file
    names = names_in(folder)
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]}?" if near else "there are: " + ", ".join(names)
    raise SpecError(f"no {kind} {name!r} in {folder}", hint=hint)


def names_in(folder: Path) -> Sequence[str]:
    """The names declared in ``folder``, sorted."""
    return sorted(file.stem for file in folder.glob("*.yaml"))
