"""Reads YAML as plain values, within limits: no anchors, aliases and tags, no deep nesting, no long numbers."""

from __future__ import annotations

import re
from typing import Final, cast

import yaml

from streamseg.errors import SettingsError
from streamseg.settings import MAX_DEPTH

MAX_BYTES: Final = 64 * 1024
"""Bytes of a document, and characters of a text."""
_LONGEST_NUMBER: Final = 40
_QUOTED: Final = re.compile(r"'([^']*)'")


def is_yaml_text(text: str) -> bool:
    """Whether YAML allows every character of a text; file names may have others."""
    return yaml.reader.Reader.NON_PRINTABLE.search(text) is None


def read_yaml(text: str) -> object:
    """Read one document: dictionaries with text as keys, lists, texts, numbers, truth values and None.

    A date is a text.

    Raises:
        SettingsError: It is not YAML, or beyond a limit. The message has the place and the cause, and repeats nothing
            of the document, which may hold a password.
    """
    if len(text) > MAX_BYTES:
        raise SettingsError(f"more than {MAX_BYTES >> 10} KiB")
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        return None if node is None else loader.value(node)
    except yaml.MarkedYAMLError as error:
        raise SettingsError(_explain(error)) from None  # the cause quotes the document
    except yaml.reader.ReaderError as error:
        raise SettingsError(f"position {error.position}: a character that YAML does not allow") from None
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.NodeEvent = self.peek_event()  # type: ignore[no-untyped-call]
        if event.anchor is not None:
            raise _refused("anchors and aliases are not allowed; write the value again", event)
        if getattr(event, "tag", None) is not None:
            raise _refused("tags are not allowed; write the plain value", event)
        if self._depth > MAX_DEPTH:
            raise _refused(f"nested more than {MAX_DEPTH} levels deep", event)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def value(self, node: yaml.Node) -> object:
        """The plain value of a node."""
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        if not isinstance(node, yaml.MappingNode):
            return self._scalar(cast(yaml.ScalarNode, node))
        tree: dict[str, object] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _refused("a key is not a text", key)
            if key.value in tree:
                raise _refused("a key is given twice", key)
            tree[key.value] = self.value(item)
        return tree

    def _scalar(self, node: yaml.ScalarNode) -> object:
        kind = node.tag.rpartition(":")[2]
        if kind in ("int", "float") and len(node.value) > _LONGEST_NUMBER:
            raise _refused(f"a number of more than {_LONGEST_NUMBER} characters; put a text in quotes", node)
        try:
            match kind:
                case "int":
                    return self.construct_yaml_int(node)
                case "float":
                    return self.construct_yaml_float(node)
                case "bool":
                    return self.construct_yaml_bool(node)
                case "null":
                    return None
        except ValueError:  # 0x_
            raise _refused("not a number; put a text in quotes", node) from None
        return node.value


def _refused(problem: str, place: yaml.NodeEvent | yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=cast(yaml.error.Mark, place.start_mark))


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = _QUOTED.sub(_hide_text, error.problem or "")
    mark = error.problem_mark or error.context_mark
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _hide_text(quoted: re.Match[str]) -> str:
    """Keep single characters and YAML's own names, such as `<scalar>`."""
    return quoted[0] if len(quoted[1]) <= 2 or quoted[1].startswith("<") else "'...'"
