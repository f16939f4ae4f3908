"""Pages that the program writes stand beside the documentation, and guides link to them."""

from types import SimpleNamespace

import pytest

pytest.importorskip("sphinx", reason="needs the extra 'docs'")

from docs.extensions import DOCS, examples, gallery

GUIDES = {"howto/read-a-run": "report", "howto/explain-a-step": "explain"}
PAGES = [page for page, _ in examples.PAGES.values()]


def app(outdir=None, *, wanted=True, kind="html"):
    config = SimpleNamespace(examples=wanted)
    return SimpleNamespace(config=config, builder=SimpleNamespace(format=kind), outdir=outdir)


def linked(docname, text, **options):
    source = [text]
    examples.link(app(**options), docname, source)
    return source[0]


@pytest.mark.parametrize(("page", "name"), GUIDES.items())
def test_a_guide_links_to_its_example(page, name):
    found = linked(page, (DOCS / f"{page}.md").read_text())
    assert f'<a href="../examples/{examples.PAGES[name][0]}">' in found
    assert "<!-- example" not in found


def test_the_gallery_links_to_both():
    found = linked("gallery/index", (gallery.SCRIPTS / "README.txt").read_text())
    for page in PAGES:
        assert f'.. raw:: html\n\n   <p>An example: <a href="../examples/{page}">' in found
    assert "<!-- example" not in found


def test_the_first_page_links_without_leaving_the_folder():
    assert '<a href="examples/report.html">' in linked("index", "<!-- example: report -->")


@pytest.mark.parametrize("options", [{"wanted": False}, {"kind": "latex"}])
def test_without_the_examples_there_is_no_link(options):
    text = (DOCS / "howto/read-a-run.md").read_text()
    assert linked("howto/read-a-run", text, **options) == text


def test_a_switch_leaves_them_out(tmp_path, monkeypatch):
    config = SimpleNamespace(examples="0")
    examples.prepare(None, config)
    assert config.examples is False
    monkeypatch.setattr(examples, "kept", lambda: pytest.fail("made for nothing"))
    built(app(tmp_path, wanted=config.examples))
    built(app(tmp_path, kind="latex"))
    assert not list(tmp_path.iterdir())


def built(sphinx, error=None):
    examples.begin(sphinx)
    examples.build(sphinx, error)


@pytest.fixture
def makes(tmp_path, monkeypatch):
    """Keep the pages elsewhere, make them in no time, and count how often."""
    monkeypatch.setattr(examples, "KEPT", tmp_path / "kept")
    made = []

    def make(folder):
        made.append(folder)
        for page in PAGES:
            (folder / page).parent.mkdir(exist_ok=True)
            (folder / page).write_text(f"{page} {len(made)}")

    monkeypatch.setattr(examples, "make", make)
    return made


def test_a_build_copies_what_is_kept(makes, tmp_path):
    for _ in range(2):
        built(app(tmp_path / "site"))
    for page in PAGES:
        assert (tmp_path / "site/examples" / page).read_text() == f"{page} 1"
    assert len(makes) == 1


def test_another_library_makes_them_again(makes, monkeypatch):
    examples.kept()
    monkeypatch.setattr(examples, "library_checksum", lambda *more: f"another, {more[0].name}")
    folder = examples.kept()
    assert (folder / PAGES[0]).read_text() == f"{PAGES[0]} 2"
    assert (folder / "library.sha256").read_text() == "another, examples.py"


def test_what_could_not_be_made_is_not_kept(makes, monkeypatch):
    examples.kept()

    def fail(folder):
        raise RuntimeError("no training")

    with monkeypatch.context() as patch:
        patch.setattr(examples, "make", fail)
        patch.setattr(examples, "library_checksum", lambda *more: "another")
        with pytest.raises(RuntimeError, match="no training"):
            examples.kept()

    examples.kept()  # of the first library again, but half of them may be of the other
    assert len(makes) == 2


def test_a_build_that_failed_gets_no_pages(makes, tmp_path):
    built(app(tmp_path / "site"), ValueError("a page cannot be built"))
    assert not (tmp_path / "site").exists()


def test_a_build_fails_with_its_examples(monkeypatch, tmp_path):
    def fail():
        raise RuntimeError("no training")

    monkeypatch.setattr(examples, "kept", fail)
    with pytest.raises(RuntimeError, match="no training"):
        built(app(tmp_path))


@pytest.mark.slow
def test_a_command_that_fails_says_why(tmp_path):
    with pytest.raises(RuntimeError, match=r"minirpn report nothing: .*nothing"):
        examples.run(tmp_path, "report", "nothing")


@pytest.mark.slow
def test_the_program_writes_the_pages(tmp_path):
    config = tmp_path / "few.toml"
    config.write_text("[synthetic]\nimages = 30\n")
    examples.make(tmp_path, "--steps", "4", "--config", str(config))
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")) == (
        sorted(PAGES)
    )
    report, step = ((tmp_path / page).read_text() for page in PAGES)
    assert examples.RUN.rpartition("/")[2] in report
    assert examples.IMAGE in step
    for text in (report, step):
        assert "minirpn-examples" not in text  # nothing about the folders of the machine
