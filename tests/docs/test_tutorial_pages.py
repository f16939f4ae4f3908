"""The pages of the tutorials: solutions in place of stubs, and links that work on a site."""

import nbformat
import pytest

from docs.extensions import tutorials


def code(source, *tags, outputs=()):
    cell = nbformat.v4.new_code_cell(source, outputs=list(outputs))
    cell.metadata.tags = list(tags)
    return cell


def notebook(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


def test_a_solution_takes_the_place_and_the_name_of_its_stub():
    solution = "def our_count(n):\n    return 1 + our_count(n - 1) if n else colour_of(0)"
    given = notebook(
        code("def my_count(n):\n    return ...", "exercise"),
        code("chapter.check(my_count)", "check"),
        code(solution, "solution"),
    )
    stub, exercise, check = tutorials.solved(given).cells
    assert "return ..." in stub.source
    assert exercise.source == (
        "def my_count(n):\n    return 1 + my_count(n - 1) if n else colour_of(0)"
    )
    assert check.source == "chapter.check(my_count)"
    assert given.cells[0].source.endswith("return ...")


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ("01_measure_overlap.ipynb", "01_measure_overlap.html"),
        ("../docs/reference/glossary.md", "../reference/glossary.html"),
        ("https://example.org/docs/page.md", "https://example.org/docs/page.md"),
        ("rpn.py", "rpn.py"),
    ],
)
def test_a_link_in_an_output_leads_to_a_page(link, page):
    output = nbformat.v4.new_output("display_data", data={"text/html": f'<a href="{link}">x</a>'})
    shown = notebook(code("chapter", outputs=[output]))
    tutorials._link_pages(shown)
    assert shown.cells[0].outputs[0].data["text/html"] == f'<a href="{page}">x</a>'


def test_a_link_in_a_table_that_a_cell_shows_leads_to_a_page():
    table = {"text/markdown": "| [04](04_label_anchors.ipynb) |"}
    shown = notebook(code("table", outputs=[nbformat.v4.new_output("display_data", data=table)]))
    tutorials._link_pages(shown)
    assert shown.cells[0].outputs[0].data["text/markdown"] == "| [04](04_label_anchors.html) |"


def test_a_link_in_a_text_leads_to_a_page_of_the_documentation():
    text = "[anchor](../docs/reference/glossary.md), [the program](rpn.py)"
    shown = notebook(nbformat.v4.new_markdown_cell(text))
    tutorials._link_pages(shown)
    assert shown.cells[0].source == "[anchor](../reference/glossary.md), the program"


def test_what_notebooks_read_lies_beside_them(tmp_path):
    tutorials.copy_companions(tmp_path)
    assert {"drawings.py", "rpn.py"} <= {path.name for path in tmp_path.iterdir()}
