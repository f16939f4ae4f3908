"""Code spans that lead somewhere: to the page of a public name, to the source of a test.

`minirpn.boxes.iou` on any page links to its entry in the reference, and
`tests/unit/test_boxes.py::test_x` to the source of that test, on a page which this extension writes
for each file of tests that the pages name.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from docs.extensions import DOCS, heading, write
from docs.extensions.pages import markdown

FOLDER = DOCS / "reference" / "tests"
_NAME = re.compile(r"minirpn(\.\w+)+")
_TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")


def named_tests() -> dict[str, list[str]]:
    """Return the tests that the pages name: file -> names, in the order of the pages."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for page in markdown():
        if page.is_relative_to(DOCS):
            for file, name in _TEST.findall(page.read_text()):
                found[file][name] = None
    return {file: list(names) for file, names in sorted(found.items())}


def docname(file: str) -> str:
    """Return the name of the page of a file, as Sphinx names pages."""
    return f"reference/{file.removesuffix('.py')}"


def page(file: str, names: list[str]) -> str:
    """Return the page of a file: the tests that are named, then all of it."""
    source = f"/../{file}"
    lines = [":orphan:\n:nosearch:\n", heading(file, "=")]
    for name in names:
        lines.append(heading(name, "-"))
        lines.append(f".. literalinclude:: {source}\n   :pyobject: {name}\n")
    lines += [heading("The whole file", "-"), f".. literalinclude:: {source}\n   :lineno-match:\n"]
    return "\n".join(lines)


def write_pages() -> None:
    """Write a page for each file of tests, and delete those that no page names any more."""
    named = named_tests()
    for stale in set(FOLDER.rglob("*.rst")) - {DOCS / f"{docname(file)}.rst" for file in named}:
        stale.unlink()
    for file, names in named.items():
        write(DOCS / f"{docname(file)}.rst", page(file, names))


class Links(SphinxPostTransform):
    """Make each code span that is a name or a test a cross-reference, before those are resolved."""

    default_priority = 5  # Sphinx resolves at 10

    def run(self, **kwargs: Any) -> None:
        """Wrap the spans of one page. One that is unknown stays as it is."""
        for span in list(self.document.findall(nodes.literal)):
            if isinstance(span.parent, nodes.reference | addnodes.pending_xref):
                continue
            text = span.astext()
            test = _TEST.fullmatch(text)
            if test and docname(test[1]) in self.env.found_docs:
                address = self.app.builder.get_relative_uri(self.env.docname, docname(test[1]))
                link = nodes.reference(refuri=f"{address}#{nodes.make_id(test[2])}", internal=True)
            elif _NAME.fullmatch(text):
                link = addnodes.pending_xref(
                    refdomain="py",
                    reftype="obj",
                    reftarget=text,
                    refexplicit=True,
                    refwarn=False,
                    refdoc=self.env.docname,
                )
            else:
                continue
            span.replace_self(link)
            link += span


def setup(app: Any) -> dict[str, bool]:
    """Make Sphinx write the pages before it looks for pages, and link to them."""
    app.connect("builder-inited", lambda app: write_pages())
    app.add_post_transform(Links)
    return {"parallel_read_safe": True}
