"""Sphinx's settings for the site, in which ``make site`` builds the staged pages (``scripts/publish/site.py``).

Nothing is fetched, neither here nor by the reader's browser: formulas become MathML, which browsers draw themselves.
"""

import os

from docutils.nodes import SkipNode
from latex2mathml.converter import convert

project = "The Arabic FunctionGemma course"
author = "the authors of the Arabic FunctionGemma course"
language = "en"
exclude_patterns = []

extensions = ["myst_nb"]
nb_execution_mode = "off"  # the notebooks' stored outputs are the ones that the verdicts were taken from
nb_ipywidgets_js = {}
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
myst_heading_anchors = 4  # #the-ledger, as GitHub has it
myst_enable_extensions = ["dollarmath"]

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False  # the notebooks' outputs would be there twice
html_show_sphinx = False
html_show_copyright = False  # the licences are in README
html_context = {"default_mode": "auto"}  # the reader's own choice, light or dark
html_math_renderer = "mathml"
html_theme_options = {
    "repository_url": f"https://github.com/{os.environ['COURSE_REPOSITORY']}",
    "use_repository_button": True,
    "use_download_button": False,
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "show_toc_level": 2,
}


def inline(self, node):
    """Write a formula that stands in a line."""
    self.body.append(convert(node.astext()))
    raise SkipNode


def block(self, node):
    """Write a formula that has lines of its own."""
    self.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise SkipNode


def in_its_direction(app, pagename, templatename, context, doctree):
    """The body of a page whose front matter says ``lang: ar`` runs from right to left."""
    if (context.get("meta") or {}).get("lang") == "ar":
        context["body"] = f'<div dir="rtl" lang="ar">{context["body"]}</div>'


def setup(app):
    app.add_html_math_renderer("mathml", inline_renderers=(inline, None), block_renderers=(block, None))
    app.connect("html-page-context", in_its_direction)
