"""Reads a page as a browser's parser would: what is text, what is markup, what is fetched."""

from __future__ import annotations

from html.parser import HTMLParser

FETCHING = {"src", "href", "srcset", "data", "poster", "action", "background"}


class PageReader(HTMLParser):
    """Elements, visible text, addresses and scripts of a page."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self._inside: str | None = None
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            (self.scripts if tag == "script" else self.styles).append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles[-1] += data
        else:
            self.text.append(data)

    @property
    def visible(self) -> str:
        return " ".join(" ".join(self.text).split())

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def addresses(self, *, links: bool = True) -> list[str]:
        """What the elements point to; without `links`, only what a browser fetches by itself."""
        return [
            value
            for tag, attributes in self.elements
            for name, value in attributes.items()
            if name in FETCHING and value and (links or tag != "a")
        ]

    @property
    def handlers(self) -> list[str]:
        return [name for _, attributes in self.elements for name in attributes if name.startswith("on")]
