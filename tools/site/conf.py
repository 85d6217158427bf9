"""Sphinx' settings for the site: see the docstring of ``tools/site/__init__.py``."""

from tinygrad_rnn.compat.version import package

project = "tinygrad_rnn"
version = release = package
copyright = "the tinygrad_rnn authors. MIT licence"  # what Sphinx calls it

extensions = ["myst_parser", "sphinx.ext.autodoc"]
extensions += [f"tools.site.{name}" for name in ("formulas", "docstrings", "navigation", "excerpts")]
root_doc = "index"
nitpicky = True
suppress_warnings = ["myst.strikethrough"]

myst_enable_extensions = ["attrs_inline", "dollarmath", "html_image"]
myst_heading_anchors = 6
myst_dmath_allow_space = False
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"

html_theme = "furo"
html_title = "tinygrad_rnn"
templates_path = ["templates"]
html_static_path = ["static"]
html_favicon = "static/icon.svg"
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_search_summary = False  # excerpts.py does it
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"footer_icons": [], "navigation_with_keys": True}
python_display_short_literal_types = True
toc_object_entries_show_parents = "hide"
