"""A page as a browser's parser sees it."""

from html.parser import HTMLParser

from hornbook.report.render import write_report

VOID = {"meta", "link", "img", "br", "wbr", "hr", "input", "path", "use", "rect", "line"}


class Page(HTMLParser):
    """Tags, attributes and text of a page as a browser's parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.svgs: list[list[str]] = []
        self.styles: list[str] = []
        self.cells: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "svg":
            self.svgs.append([])
        if tag in ("td", "dd"):
            self.cells.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "style" in self.open:
            self.styles.append(data)
            return
        self.texts.append(data)
        if "svg" in self.open and data.strip():
            self.svgs[-1].append(data)
        if "td" in self.open or "dd" in self.open:
            self.cells[-1] += data

    @property
    def text(self):
        return "".join(self.texts)


def page_of(run, folder):
    write_report(*run, folder / "report.html")
    return Page((folder / "report.html").read_text(encoding="utf-8"))


def holds(cells, row):
    """Whether the cells of a row stand in the page one after the other."""
    return any(cells[place : place + len(row)] == row for place in range(len(cells)))
