"""Sphinx's settings for the site. `make docs` stages the sources first (`website/stage.py`)."""

import inspect
import pkgutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from docutils import nodes  # noqa: E402
from docutils.parsers.rst import Directive  # noqa: E402
from docutils.statemachine import StringList  # noqa: E402

import pullback  # noqa: E402
from website.chinese_search import EnglishAndChinese  # noqa: E402
from website.docstrings import restructured  # noqa: E402
from website.names import MODULES, module  # noqa: E402

project = "pullback"
author = "the authors of pullback"
copyright = author
version = release = pullback.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
myst_enable_extensions = ["attrs_block", "dollarmath"]
myst_heading_anchors = 4
exclude_patterns = ["files/**"]

autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_docstring_signature = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"
add_module_names = False

smartquotes = False  # a font for Chinese draws them wide

html_theme = "furo"
html_title = f"pullback {version}"
html_static_path = [str(HERE / "static")]
html_favicon = str(HERE / "static/icon.svg")
html_css_files = ["site.css"]
html_js_files = ["versions.js"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True


class Docstring(Directive):
    """`.. docstring:: path`: the text of a module's docstring, or of an object's under another name than its own."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes of the text."""
        lines = restructured((inspect.getdoc(pkgutil.resolve_name(self.arguments[0])) or "").splitlines())
        node = nodes.container()
        self.state.nested_parse(StringList(lines, source=self.arguments[0]), self.content_offset, node)
        return [node]


def process_docstring(app, what, name, obj, options, lines):  # the parameters are autodoc's
    """Rewrite the lines of a docstring in place."""
    lines[:] = restructured(lines)


def set_language(app, page, template, context, doctree):
    """Chinese pages say that they are."""
    if page.startswith("zh/"):
        context["language"] = "zh"


def show_added_keywords():
    """Sphinx looks for defaults in the source: of functions that `publish` gives a keyword that is not there, it must
    take the signature as it is. It does where there is no source.
    """
    for path in MODULES:
        for value in vars(module(path)).values():
            if inspect.isfunction(value) and "__signature__" in vars(value) and hasattr(value, "__wrapped__"):
                value.__wrapped__ = len


def setup(app):
    """Register what is above."""
    show_added_keywords()
    app.add_directive("docstring", Docstring)
    app.add_search_language(EnglishAndChinese)
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("html-page-context", set_language)


html_search_language = "en-zh"
