"""YAML values: the safe subset without tags, bounded in depth and in what its aliases expand to."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from secrets_app.types.bounds import Facts, refused
from secrets_app.types.json_document import MAX_DEPTH, MAX_NODES

# An integer of more digits is no number that anyone meant, and base 60 takes quadratic time to read.
MAX_NUMBER_LENGTH = 400

if TYPE_CHECKING:
    _SafeLoader = yaml.SafeLoader
else:
    # libyaml reads 64 KiB in milliseconds, the loader in Python in half a second.
    _SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def inspect_yaml(value: str) -> Facts:
    """Return the number of documents, the first one's kind and, of a collection, its number of members.

    Raises InvalidValue if it is not YAML, is empty, has tags, nests deeper than 64, expands to more than
    100,000 nodes, has an alias within its own anchor, or repeats a key.
    """
    try:
        _Measure().run(yaml.parse(value, Loader=_SafeLoader))
        documents = parse_yaml(value)
    except yaml.YAMLError as error:
        # A parser's message quotes the document, and its mark holds it: only line and column are kept.
        place = _place(getattr(error, "problem_mark", None))
    else:
        if not documents:
            raise refused("The YAML contains only comments or blank lines.")
        first = documents[0]
        facts: Facts = {"documents": len(documents), "kind": "scalar"}
        if isinstance(first, dict | list):
            facts["kind"] = "mapping" if isinstance(first, dict) else "sequence"
            facts["members"] = len(first)
        return facts
    raise refused(f"Invalid YAML{place}.")


def parse_yaml(value: str) -> list[object]:
    """Return the documents of YAML that `inspect_yaml` has passed. Raises YAMLError for any other."""
    return list(yaml.load_all(value, Loader=_DocumentLoader))


def _place(mark: Any) -> str:
    return "" if mark is None else f" at line {mark.line + 1}, column {mark.column + 1}"


class _DocumentLoader(_SafeLoader):
    """PyYAML's safe loader that also refuses repeated keys, and turns every failure into a YAMLError."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[yaml.MappingNode] = set()

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's
        """Construct as the base class does. Raises ConstructorError also for impossible numbers and dates."""
        if node.tag.endswith(":int") and len(node.value) > MAX_NUMBER_LENGTH:
            raise _unreadable(node)
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, OverflowError):
            pass
        raise _unreadable(node)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge `<<` as the base class does, after looking for repeated keys.

        Merging puts the merged pairs before the node's own, which may repeat them: a second look at the same
        node (an alias) would take that for a fault.
        """
        if node not in self._checked:
            self._checked.add(node)
            seen: set[object] = set()
            for key_node, _value_node in node.value:
                if not isinstance(key_node, yaml.ScalarNode):
                    raise refused(
                        f"The YAML has a key that is not a plain word{_place(key_node.start_mark)}: name it."
                    )
                # `<<` and `=` have no constructor of their own; their text distinguishes them.
                special = key_node.tag in _SPECIAL_KEYS
                key = (key_node.tag, key_node.value) if special else self.construct_object(key_node)
                if key in seen:
                    raise refused(f"The YAML repeats a key{_place(key_node.start_mark)}: keep one of them.")
                seen.add(key)
        super().flatten_mapping(node)


_SPECIAL_KEYS: Final = frozenset({"tag:yaml.org,2002:merge", "tag:yaml.org,2002:value"})
# PyYAML resolves a lone `=` to a type that it then cannot construct; it is text.
_DocumentLoader.add_constructor("tag:yaml.org,2002:value", lambda _loader, node: str(node.value))


def _unreadable(node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, None, node.start_mark)


@dataclass
class _Extent:
    """How many nodes a node stands for, itself included, and how many levels, with aliases expanded."""

    anchor: str | None = None
    nodes: int = 1
    levels: int = 0


@dataclass
class _Measure:
    """One pass over the parser's events, which stops at the first that breaks a bound.

    The parser works lazily and without recursion, so what lies beyond the bound is never read.
    """

    open: list[_Extent] = field(default_factory=list)
    anchors: dict[str, _Extent] = field(default_factory=dict)
    nodes: int = 0

    def run(self, events: Iterator[Any]) -> None:
        """Measure all events. Raises InvalidValue at the first one that breaks a bound."""
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors.clear()
            elif isinstance(event, yaml.AliasEvent):
                self._add(self._target(event))
            elif isinstance(event, yaml.ScalarEvent):
                self._add(self._begun(event))
            elif isinstance(event, yaml.CollectionStartEvent):
                self.open.append(self._begun(event))
                self._check_levels(0)
            elif isinstance(event, yaml.CollectionEndEvent):
                extent = self.open.pop()
                extent.levels += 1
                self._add(extent)

    def _begun(self, event: Any) -> _Extent:
        if event.tag:
            raise refused(
                f"The YAML has a tag (a word that begins with !){_place(event.start_mark)}: remove it."
            )
        if event.anchor:
            # The name no longer means an older node, and not yet this one: an alias inside it is a loop.
            self.anchors.pop(event.anchor, None)
        return _Extent(event.anchor)

    def _target(self, event: Any) -> _Extent:
        extent = self.anchors.get(event.anchor)
        if extent is None:
            place = _place(event.start_mark)
            raise refused(
                f"The YAML has an alias without a finished anchor before it{place}: write the value out."
            )
        return _Extent(None, extent.nodes, extent.levels)

    def _add(self, extent: _Extent) -> None:
        self._check_levels(extent.levels)
        if extent.anchor:
            self.anchors[extent.anchor] = extent
        if self.open:
            parent = self.open[-1]
            parent.levels = max(parent.levels, extent.levels)
            parent.nodes += extent.nodes
            self._check_nodes(parent.nodes)
        else:
            self.nodes += extent.nodes
            self._check_nodes(self.nodes)

    def _check_levels(self, further: int) -> None:
        if len(self.open) + further > MAX_DEPTH:
            raise refused(f"The YAML nests deeper than {MAX_DEPTH} levels: flatten it.")

    def _check_nodes(self, nodes: int) -> None:
        if nodes > MAX_NODES:
            raise refused(f"The aliases of the YAML expand to more than {MAX_NODES:,} nodes: write it flat.")
