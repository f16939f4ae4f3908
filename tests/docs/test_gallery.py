"""The scripts of the gallery run by themselves, and the pages are as new as the library."""

import ast
import runpy
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

import minirpn
from docs.extensions import ROOT

pytest.importorskip("sphinx_gallery", reason="needs the extra 'docs'")

from filelock import FileLock, Timeout

from docs.extensions import gallery

SCRIPTS = sorted(gallery.SCRIPTS.glob("*.py"))
MOST_LINES = 40


def by_name(path):
    return path.stem


def code_of(path):
    """Return the tree of a script without its text above."""
    first, *rest = ast.parse(path.read_text()).body
    assert isinstance(first.value, ast.Constant)
    return rest


@pytest.fixture
def pyplot(monkeypatch):
    """Give pyplot without windows, and close what a script has left open."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: None)
    yield plt
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("path", SCRIPTS, ids=by_name)
def test_a_downloaded_script_draws_figures(path, pyplot, tmp_path, monkeypatch):
    shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(path.name, run_name="__main__")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]  # nothing is left behind
    figures = [pyplot.figure(number) for number in pyplot.get_fignums()]
    assert figures
    for figure in figures:
        assert figure.get_figwidth() <= 5.2  # inches: wider ones cannot be read on a telephone
        figure.draw_without_rendering()
        for ax in figure.axes:
            for axis in (ax.xaxis, ax.yaxis):
                ticks = [tick for tick in axis.get_ticklabels() if tick.get_visible()]
                if any(tick.get_text() for tick in ticks):
                    assert axis.get_label_text(), f"{path.name}: numbers without a name"


@pytest.mark.parametrize("path", SCRIPTS, ids=by_name)
def test_a_script_is_short(path):
    lines = {
        node.lineno for part in code_of(path) for node in ast.walk(part) if hasattr(node, "lineno")
    }
    assert len(lines) <= MOST_LINES


@pytest.mark.parametrize("path", SCRIPTS, ids=by_name)
def test_a_script_uses_what_is_public(path):
    for node in (node for part in code_of(path) for node in ast.walk(part)):
        if isinstance(node, ast.Import):
            modules = {alias.name.partition(".")[0] for alias in node.names}
            assert modules <= {"matplotlib", "minirpn", "numpy", "tempfile"}
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            assert node.module in ("minirpn", "pathlib")
            assert node.module != "minirpn" or names <= set(minirpn.__all__)
        elif isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_")


def test_another_library_makes_the_pictures_again(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "FOLDER", tmp_path)
    monkeypatch.setattr(gallery, "_STATE", tmp_path / "state")
    kept = tmp_path / "plot_1.py.md5"
    kept.touch()
    gallery.forget_old_pictures()
    assert not kept.exists()  # no build has said of which library these are
    kept.touch()
    gallery.forget_old_pictures()
    assert kept.exists()
    monkeypatch.setattr(gallery, "library_checksum", lambda: "another")
    gallery.forget_old_pictures()
    assert not kept.exists()


def test_one_build_at_a_time_runs_the_scripts(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "FOLDER", tmp_path)
    monkeypatch.setattr(gallery, "_STATE", tmp_path / "state")
    listeners = {}
    app = SimpleNamespace(connect=lambda _, call, priority: listeners.update({priority: call}))
    gallery.setup(app)
    before, after = sorted(listeners)
    assert before < 500 < after  # sphinx-gallery's own
    listeners[before](app)
    with pytest.raises(Timeout):
        FileLock(tmp_path / ".lock").acquire(timeout=0)
    listeners[after](app)
    FileLock(tmp_path / ".lock").acquire(timeout=0)


@pytest.mark.slow
@pytest.mark.parametrize("broken", [False, True])
def test_a_script_that_fails_stops_the_build(broken, tmp_path):
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "README.txt").write_text("Pictures\n========\n")
    shutil.copy(gallery.SCRIPTS / "plot_09_smooth_l1.py", scripts)
    if broken:
        text = '"""\nBroken\n======\n"""\nraise ValueError("this fails")\n'
        (scripts / "plot_10.py").write_text(text)
    settings = (ROOT / "docs/conf.py").read_text().partition("sphinx_gallery_conf = ")[2]
    settings = settings.replace("gallery/scripts", "scripts")
    head = 'extensions = ["sphinx_gallery.gen_gallery"]\nroot_doc = "gallery/index"\n'
    (tmp_path / "conf.py").write_text(f"{head}sphinx_gallery_conf = {settings}")
    command = [sys.executable, "-m", "sphinx", "-q", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode != 0) is broken, done.stderr
    assert ("this fails" in done.stderr) is broken
    assert broken or list((tmp_path / "gallery/images").glob("*smooth_l1*.png"))
