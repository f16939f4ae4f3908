"""Settings of the documentation; build with ``sphinx-build -W docs docs/_build/html``.

``-D tutorials_execute=0`` builds in seconds, with tutorials that have no outputs; ``-D
browser_site=0`` leaves out the site that runs them in a visitor's browser.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import minirpn

project = "minirpn"
author = "The minirpn developers"
release = version = minirpn.__version__

extensions = [
    "myst_nb",
    "sphinx-mathjax-offline",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "docs.extensions.browser",
    "docs.extensions.commands",
    "docs.extensions.library",
    "docs.extensions.settings",
    "docs.extensions.tutorials",
]
exclude_patterns = ["_build"]
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
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# By their names, as in the source.
autodoc_type_aliases = {name: name for name in ("Array", "ImageSize", "ImageLike", "Matching")}
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}

html_theme = "pydata_sphinx_theme"
html_title = "minirpn"
html_static_path = ["_static"]
html_css_files = ["minirpn.css"]
html_theme_options = {"navigation_depth": 2, "show_prev_next": False}
html_show_sourcelink = False
