"""Settings of the documentation; build with ``sphinx-build -W docs docs/_build/html``."""

import minirpn

project = "minirpn"
author = "The minirpn developers"
release = version = minirpn.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb"}
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"

napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "pydata_sphinx_theme"
html_title = "minirpn"
html_theme_options = {"navigation_depth": 2, "show_prev_next": False}
html_show_sourcelink = False
