"""Settings of the documentation; build with ``sphinx-build -W docs docs/_build/html``.

``-D tutorials_execute=0`` shows the tutorials without outputs. ``-D browser_site=0`` leaves out the
site that runs them in a visitor's browser, ``-D plot_gallery=0`` the pictures of the gallery, ``-D
examples=0`` the report and the page of explain. With all four a build takes less than a minute.
"""

import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import minirpn
from docs.extensions import ROOT

project = "minirpn"
author = copyright = "The minirpn developers"
release = version = minirpn.__version__

extensions = [
    "myst_nb",
    "sphinx-mathjax-offline",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_argparse_cli",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
    "docs.extensions.browser",
    "docs.extensions.examples",
    "docs.extensions.gallery",
    "docs.extensions.library",
    "docs.extensions.links",
    "docs.extensions.settings",
    "docs.extensions.tutorials",
]
# The last ones are for download beside the pages of the gallery.
exclude_patterns = ["_build", "_templates", "gallery/*.ipynb"]
templates_path = ["_templates"]
source_suffix = {".rst": "restructuredtext", ".md": "myst-nb", ".ipynb": "myst-nb"}
default_role = "py:obj"
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
# Notebooks come executed from docs.extensions.tutorials.
nb_execution_mode = "off"
# What is folded in a tutorial is a solution.
nb_code_prompt_show = "Show the solution"
nb_code_prompt_hide = "Hide the solution"

napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_ivar = True
# Types stand with the parameters they belong to: a signature stays one line.
autodoc_typehints = "description"
autodoc_typehints_format = "short"
# By their names, as in the source.
_ALIASES = "Array Grads ImageLike ImageSize Matching OtherArray Pair Table"
autodoc_type_aliases = {name: name for name in _ALIASES.split()}
python_maximum_signature_line_length = 120
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
# `config=LabelConfig()`, not its fields and their values.
autodoc_preserve_defaults = True

html_theme = "pydata_sphinx_theme"
html_title = f"minirpn {version}"
html_logo = html_favicon = "_static/logo.svg"
html_static_path = ["_static"]
html_css_files = ["minirpn.css", "reference.css"]
# Addresses of the project that pyproject.toml names, each behind a symbol of the theme's.
_SYMBOLS = {"Paper": "fa-solid fa-file-lines", "Source": "fa-solid fa-code-branch"}
_urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
html_theme_options = {
    "logo": {"text": html_title},
    "icon_links": [
        {"name": name, "url": url, "icon": _SYMBOLS.get(name, "fa-solid fa-link")}
        for name, url in _urls.items()
    ],
    "navigation_depth": 3,
    # Only the branch of the page that is open: all of them on each page make the build long.
    "collapse_navigation": True,
    "header_links_before_dropdown": 6,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
html_show_sourcelink = False
# As the visitor's system has it, light or dark.
html_context = {"default_mode": "auto"}
# Prompts and what a command prints are not copied.
copybutton_exclude = ".linenos, .gp, .go"

# The gallery: docs/gallery/scripts, run into docs/gallery; and pages that the program writes.
# -D plot_gallery=0 and -D examples=0 leave out the pictures and these pages.
sphinx_gallery_conf = {
    "examples_dirs": "gallery/scripts",
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("minirpn",),
    "capture_repr": (),
    "image_srcset": ["2x"],
    "download_all_examples": False,
    "min_reported_time": 600,  # seconds: no page says how long its script took
    "show_signature": False,
    "write_computation_times": False,
}
