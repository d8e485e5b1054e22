"""A report read back by the standard library's HTML parser."""

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

VOID = {"meta", "br", "wbr", "input", "line", "path", "circle", "img", "link"}


@dataclass
class Element:
    """One element: tag, attributes, children in order (elements and text)."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Any] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside, pieces joined as they stand."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def find(self, tag: str, **attributes: str) -> list["Element"]:
        """Descendants of a tag whose attributes contain these words (`class_` for class)."""
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        found = []
        for child in self.children:
            if isinstance(child, str):
                continue
            words = {key: (child.attributes.get(key) or "").split() for key in wanted}
            if child.tag == tag and all(value in words[key] for key, value in wanted.items()):
                found.append(child)
            found += child.find(tag, **attributes)
        return found

    def everything(self) -> list["Element"]:
        """All descendants."""
        own = [child for child in self.children if isinstance(child, Element)]
        return own + [deeper for child in own for deeper in child.everything()]


class _Builder(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("document", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if any(element.tag == tag for element in self.open[1:]):
            while self.open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


def parse(html: str) -> Element:
    """The document."""
    builder = _Builder()
    builder.feed(html)
    builder.close()
    return builder.root


def by_id(page: Element, name: str) -> Element:
    """The element with this id."""
    return next(e for e in page.everything() if e.attributes.get("id") == name)


def data_of(page: Element) -> Any:
    """The JSON of the data block."""
    return json.loads(by_id(page, "data").text)
