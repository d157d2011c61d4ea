"""Reads settings: a YAML file, overrides `key=value`, and `${NAME}` from the environment."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from streamseg.config import Config, check_config
from streamseg.errors import SettingsError
from streamseg.settings import MAX_DEPTH
from streamseg.sources.names import source_keys, source_names
from streamseg.yaml_tree import MAX_BYTES, is_yaml_text, read_yaml


@dataclass(frozen=True, slots=True)
class SettingsFile:
    """Settings as they were read from a file.

    Attributes:
        read_again: Reads them as they are in the file now.
    """

    config: Config
    read_again: Callable[[], Config]

    @classmethod
    def read(cls, path: Path, read: Callable[[], Config]) -> Self:
        """Read the settings of a file for the first time, by this function."""
        return cls(read(), partial(_read_again, path, read))


def _read_again(path: Path, read: Callable[[], Config]) -> Config:
    """Read a settings file in a run, which may not wait for the writer of a pipe."""
    if path.exists() and not path.is_file():
        raise SettingsError(f"{path} is no file any more; write the settings to a file of that name")
    return read()


Override = tuple[str, object]
"""A dotted key and its value."""
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


def load_config(
    path: Path | None,
    overrides: Sequence[Override],
    environment: Mapping[str, str],
    sources: Sequence[Mapping[str, object]] = (),
) -> Config:
    """Read a YAML file, apply overrides, and check the result.

    Args:
        path: The file; None for the defaults.
        overrides: Dotted keys and their values; a number selects an element of a list (`sources.0.url`), and a name a
            source (`sources.door.url`).
        environment: Values of `${NAME}` in strings.
        sources: Settings of the first source, of the second one and so on. They override those of the file and
            `overrides`, which may refer to a source that they add.

    Raises:
        SettingsError: The message has the key, what was wrong and what was expected.
    """
    tree = {} if path is None else _read_file(path)
    _put_sources(tree, sources)
    for key, value in overrides:
        _assign(tree, _by_place(tree, key, environment), value)
    _put_sources(tree, sources)
    return check_config(_expand(tree, "", environment))


def parse_override(text: str) -> Override:
    """Parse `dotted.key=value`, the value as YAML, or as it is if it has a character that YAML does not allow.

    Raises:
        SettingsError: The text is malformed.
    """
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise SettingsError(f"{text}: expected key=value, such as detector.conf=0.4")
    if key.count(".") >= MAX_DEPTH:
        raise SettingsError(f"{key.partition('.')[0]}.…: a key has at most {MAX_DEPTH} parts")
    if not is_yaml_text(value):
        return key, value
    try:
        return key, read_yaml(value)
    except SettingsError as error:
        raise SettingsError(f"{key}: not a YAML value ({error}); put a text in quotes") from None


def _read_file(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            tree = read_yaml(file.read(MAX_BYTES + 1).decode())
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); give a settings file; `streamseg init` writes one"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not YAML (byte {error.start}: not UTF-8)") from None
    except ValueError as error:  # the name holds a null character
        raise SettingsError(f"{str(path)!a}: no file has such a name; give a settings file") from error
    except SettingsError as error:
        raise SettingsError(f"{path}: not YAML as settings need it ({error})") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: expected keys and values at the top, such as `mode: live`")
    return tree


def _put_sources(tree: dict[str, object], sources: Sequence[Mapping[str, object]]) -> None:
    for place, settings in enumerate(sources):
        for name, value in settings.items():
            _assign(tree, f"sources.{place}.{name}", value)


def _by_place(tree: dict[str, object], key: str, environment: Mapping[str, str]) -> str:
    """The key with the place of a source for its name; a name comes before a number."""
    first, *rest = key.split(".")
    sources = tree.get("sources") or [{}]
    if first != "sources" or not rest or not isinstance(sources, list):
        return key
    names = [_VARIABLE.sub(lambda match: environment.get(match[1], match[0]), each) for each in source_names(sources)]
    name, *within = rest
    if name in names:
        return ".".join((first, str(names.index(name)), *within))
    if not name.isdecimal():
        raise SettingsError(f"{key}: there is no source {name}; expected one of {', '.join(names)}, or a number")
    return key


def _assign(tree: dict[str, object], key: str, value: object) -> None:
    node: object = tree
    *parents, last = key.split(".")
    for parent in parents:
        node = _child(node, parent, key)
    if isinstance(node, list):
        node[_index(node, last, key)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise SettingsError(f"{key}: {'.'.join(parents)} is a value, not a group of settings")


def _child(node: object, name: str, key: str) -> object:
    if isinstance(node, list):
        if name == str(len(node)):  # the next one
            node.append({})
        return node[_index(node, name, key)]
    if not isinstance(node, dict):
        raise SettingsError(f"{key}: {name} does not exist: its parent is a value, not a group of settings")
    if node.get(name) is None:
        node[name] = [{}] if name == "sources" else {}
    return node[name]


def _index(node: list[object], text: str, key: str) -> int:
    if not text.isdecimal() or len(text) > len(str(len(node))) or int(text) >= len(node):
        raise SettingsError(f"{key}: {text} is not a number below {len(node)}")
    return int(text)


def _expand(node: object, key: str, environment: Mapping[str, str]) -> object:
    if isinstance(node, dict):
        return {name: _expand(value, f"{key}.{name}".lstrip("."), environment) for name, value in node.items()}
    if isinstance(node, list):
        keys = source_keys(node) if key == "sources" else [f"{key}.{place}" for place in range(len(node))]
        return [_expand(value, each, environment) for each, value in zip(keys, node, strict=True)]
    if not isinstance(node, str):
        return node

    def replace(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise SettingsError(f"{key}: the environment variable {match[1]} is not set; set it, or write the value")
        return environment[match[1]]

    return _VARIABLE.sub(replace, node)
