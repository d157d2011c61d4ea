"""Base class, ranges and reader of all settings structs. Every error names its key."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, TypeVar, get_args, get_origin

import msgspec

from streamseg.errors import SettingsError
from streamseg.spelling import suggestion

MAX_DEPTH: Final = 16
"""Levels of a tree of settings, and parts of a key."""
LONGEST_TEXT: Final = 4096
"""Characters of a text."""

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=1024)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all settings: immutable, keyword only, without unknown keys."""


_Settings = TypeVar("_Settings", bound=Settings)


def read_settings(tree: object, kind: type[_Settings], key: str = "") -> _Settings:
    """Convert a plain tree to a settings struct.

    Args:
        tree: Dictionaries, lists, strings and numbers, as from YAML.
        kind: The struct.
        key: Key of the tree, with which every error starts; empty for the whole tree.

    Raises:
        SettingsError: The message has the key, what was wrong and what was expected.
    """
    for leaf, value in _leaves(tree, key):
        _check_value(leaf, value)
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(str(error), kind, key, tree)) from error
    except UnicodeEncodeError as error:  # of a text that is no file name, or of a key
        place = next((leaf for leaf, value in _leaves(tree, key) if value == error.object), key or "settings")
        raise SettingsError(f"{place}: {error.object!a} is not Unicode") from error


def check_settings(settings: Settings, key: str = "") -> None:
    """Check a struct that was created in Python, where msgspec does not validate.

    Raises:
        SettingsError: As for `read_settings`.
    """
    read_settings(msgspec.to_builtins(settings), type(settings), key)


def _leaves(node: object, key: str, depth: int = 0) -> Iterator[tuple[str, object]]:
    """Every value that holds no others, with its key."""
    if depth > MAX_DEPTH:
        raise SettingsError(f"{key.partition('.')[0]}: nested more than {MAX_DEPTH} levels deep")
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, _join(key, str(name)), depth + 1)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _leaves(value, _join(key, str(index)), depth + 1)
    else:
        yield key, node


def _check_value(key: str, value: object) -> None:
    """Refuse what msgspec would take and nothing could use."""
    match value:
        case int() if not -(2**63) <= value < 2**63:
            raise SettingsError(f"{key}: the number does not fit into 64 bits")
        case float() if not math.isfinite(value):
            raise SettingsError(f"{key}: {value} is not a finite number")
        case str() if len(value) > LONGEST_TEXT:
            raise SettingsError(f"{key}: a text of {len(value)} characters; expected at most {LONGEST_TEXT}")
        case str() if not _usable(value):
            raise SettingsError(f"{key}: {value!a} holds a character that no file name and no text can have")


def _usable(text: str) -> bool:
    """Whether a text may be a file name; one that is not UTF-8 may be."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _explain(message: str, kind: type[Settings], prefix: str, tree: object) -> str:
    text, _, path = message.partition(" - at `$")
    inner = re.sub(r"\[(\d+)\]", r".\1", path.rstrip("`")).lstrip(".")
    key = _join(prefix, inner)
    choice = re.match(r"Invalid enum value (.+)", text)
    unknown = re.match(r"Object contains unknown field `(.+)`", text)
    missing = re.match(r"Object missing required field `(.+)`", text)
    if unknown:
        known = _known_keys(_annotation(kind, inner))
        return (
            f"{_join(key, unknown[1])}: unknown key; expected one of {', '.join(known)}{suggestion(unknown[1], known)}"
        )
    if choice:
        choices = [str(one) for one in _choices(_annotation(kind, inner))]
        close = suggestion(choice[1].strip("'"), choices)
        return f"{key}: {choice[1]} is not a choice; expected one of {', '.join(choices)}{close}"
    if missing:
        return f"{_join(key, missing[1])}: missing; give it a value" + (
            " (--source, or `sources: [{url: ...}]` in the file)" if missing[1] in ("sources", "url") else ""
        )
    wrong = re.match(r"Expected `(.+)`, got `(.+)`", text)
    if wrong and "str" in wrong[1].split(" | ") and wrong[2] in ("int", "float", "bool"):
        return (
            f"{key}: expected text, and without quotes this is a {'number' if wrong[2] != 'bool' else 'yes or no'}; "
            f"""write --set '{key}="..."', or {inner.rpartition(".")[2]}: "..." in the file"""
        )
    if wrong and "array" in wrong[1] and wrong[2] == "str" and _struct_inside(_annotation(kind, inner)) is None:
        return f"{key}: expected a list; write [{_value(tree, inner)}]"
    return f"{key or 'settings'}: {text[0].lower()}{text[1:]}"


def _value(tree: object, key: str) -> object:
    for name in key.split("."):
        tree = tree[int(name)] if isinstance(tree, list | tuple) else tree[name] if isinstance(tree, dict) else tree
    return tree


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key and name else key or name


def _annotation(kind: object, key: str) -> object:
    node = kind
    for name in [part for part in key.split(".") if part and not part.isdecimal()]:
        settings = _struct_inside(node)
        node = (
            next((field.type for field in msgspec.structs.fields(settings) if field.name == name), None)
            if settings
            else None
        )
    return node


def _known_keys(annotation: object) -> tuple[str, ...]:
    settings = _struct_inside(annotation)
    return tuple(field.name for field in msgspec.structs.fields(settings)) if settings else ()


def _struct_inside(annotation: object) -> type[msgspec.Struct] | None:
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return annotation
    return next((found for part in get_args(annotation) if (found := _struct_inside(part)) is not None), None)


def _choices(annotation: object) -> tuple[object, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for part in get_args(annotation) if (found := _choices(part))), ())
