"""SQL as a tree, so that one query can be written in three dialects and made smaller while it still fails."""

SLIPHER, POSTGRES, DUCKDB = "slipher", "postgres", "duckdb"


class Absent(Exception):
    """A dialect has no form of a construct."""


class Node:
    """A piece of SQL: text and other pieces in order.

    `kind` says what may take its place when a failing query is made smaller. `others` has the parts of dialects that write it
    in another way; None there: the dialect has no such thing.
    """

    __slots__ = ("kind", "parts", "others", "type")

    def __init__(self, kind, parts, others=None, type=None):
        self.kind, self.parts, self.others, self.type = kind, list(parts), others or {}, type

    def write(self, dialect, out):
        parts = self.others.get(dialect, self.parts)
        if parts is None:
            raise Absent(dialect)
        for part in parts:
            if isinstance(part, str):
                out.append(part)
            else:
                part.write(dialect, out)

    def sql(self, dialect):
        out = []
        self.write(dialect, out)
        return "".join(out)

    def children(self):
        """The pieces below, each once."""
        seen = {}
        for parts in (self.parts, *(parts for parts in self.others.values() if parts)):
            seen.update((id(part), part) for part in parts if not isinstance(part, str))
        return list(seen.values())

    def replaced(self, old, new):
        """A copy with `new` wherever `old` is (the very object); self if it is nowhere."""
        if self is old:
            return new
        changed = {id(child): child.replaced(old, new) for child in self.children()}
        if all(changed[id(child)] is child for child in self.children()):
            return self
        swap = lambda parts: parts and [part if isinstance(part, str) else changed[id(part)] for part in parts]
        others = {dialect: swap(parts) for dialect, parts in self.others.items()}
        return Node(self.kind, swap(self.parts), others, self.type)

    def below(self):
        """Every piece below, itself not."""
        for child in self.children():
            yield child
            yield from child.below()


class List(Node):
    """Pieces with `separator` between them, any of which may be left out down to `least`. Nothing at all when it is empty."""

    __slots__ = ("items", "before", "separator", "after", "least")

    def __init__(self, items, before="", separator=", ", after="", least=0):
        super().__init__("list", [])
        self.items, self.before, self.separator, self.after, self.least = list(items), before, separator, after, least

    def write(self, dialect, out):
        if not self.items:
            return
        out.append(self.before)
        for index, item in enumerate(self.items):
            if index:
                out.append(self.separator)
            item.write(dialect, out)
        out.append(self.after)

    def children(self):
        return self.items

    def replaced(self, old, new):
        if self is old:
            return new
        items = [item.replaced(old, new) for item in self.items]
        if all(a is b for a, b in zip(items, self.items)):
            return self
        return self.with_items(items)

    def with_items(self, items):
        return List(items, self.before, self.separator, self.after, self.least)


def simplest(type):
    """The plainest value of a type: what an expression becomes when it does not matter."""
    literal = type and type.plain
    return [Node(type.kind, [literal], type=type)] if literal else []


def smaller(node):
    """Trees like this one with one piece replaced by something smaller, the largest steps first."""
    places = [node, *node.below()]
    steps = []
    for place in places:
        for other in replacements(place):
            steps.append((weight(place) - weight(other), place, other))
    steps.sort(key=lambda step: -step[0])
    for gain, place, other in steps:
        if gain > 0:
            yield node.replaced(place, other)


def replacements(place):
    """What may stand in the place of a piece."""
    if isinstance(place, List):
        if len(place.items) > place.least:
            if place.least == 0 and len(place.items) > 1:
                yield place.with_items([])
            for index in range(len(place.items)):
                yield place.with_items(place.items[:index] + place.items[index + 1 :])
        return
    if place.kind is None:
        return
    yield from simplest(place.type)
    for below in place.below():
        if below.kind == place.kind:
            yield below


def weight(node):
    """How much there is of a tree: text counts by its length."""
    out = []
    try:
        node.write(SLIPHER, out)
    except Absent:
        node.write(DUCKDB, out)
    return len("".join(out))
