"""What is kept between builds is made anew when what it depends on has changed."""

from docs.extensions import checksum
from docs.extensions.checksum import library_checksum


def test_it_counts_code_styles_models_and_what_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(checksum, "ROOT", tmp_path)
    seen = [library_checksum()]
    for name in ("a.py", "page.css", "shipped/model.npz"):
        path = tmp_path / "minirpn" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
        seen.append(library_checksum())
    (tmp_path / "notebook").touch()
    seen.append(library_checksum(tmp_path / "notebook"))
    monkeypatch.setattr(checksum.metadata, "version", lambda name: "another")
    seen.append(library_checksum())
    assert len(set(seen)) == 6


def test_it_counts_nothing_that_python_keeps(tmp_path, monkeypatch):
    monkeypatch.setattr(checksum, "ROOT", tmp_path)
    (tmp_path / "minirpn/__pycache__").mkdir(parents=True)
    before = library_checksum()
    (tmp_path / "minirpn/__pycache__/a.pyc").touch()
    assert library_checksum() == before
