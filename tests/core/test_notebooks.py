"""What notebooks show (`_repr_html_`) of jaxprs, reports, meshes and shardings, and treescope of arrays."""

import html.parser

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import debug
from pullback._core.notebooks import grid, jaxpr_html, preformatted, table
from pullback.sharding import Mesh, NamedSharding, PartitionSpec

HOSTILE = "<script>alert(1)</script>--\"'&"


class Page(html.parser.HTMLParser):
    """The tags, the text, and the cells of tables; tags must nest."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.text = ""
        self.cells = []
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & {*self._open}:
            self.cells[-1] += data


@pytest.mark.parametrize(
    "made",
    [
        preformatted(HOSTILE),
        table(HOSTILE, [HOSTILE], [[HOSTILE]]),
        table(HOSTILE, [], []),
        grid(HOSTILE, [[HOSTILE, HOSTILE]]),
        jaxpr_html(f"{{ lambda ; a:f32[]. let b:f32[] = {HOSTILE} a in (b,) }}"),
    ],
)
def test_text_is_escaped(made):
    page = Page(made)
    assert "script" not in page.tags
    assert HOSTILE in page.text


def test_a_jaxpr_keeps_its_text():
    def f(x):
        return pb.lax.scan(lambda c, t: (pnp.sin(c) * t, c), x, pnp.ones(3))

    for shown in (pb.make_jaxpr(f)(1.0), pb.make_jaxpr(f)(1.0).jaxpr):
        page = Page(shown._repr_html_())
        assert page.text == str(shown)
        assert page.tags.count("b") >= 3  # the scan, and in it two operations


def test_names_in_a_jaxpr_are_escaped():
    def f(x):
        return pnp.sin(x)

    f.__name__ = HOSTILE
    page = Page(pb.make_jaxpr(lambda x: pb.jit(f)(x))(1.0)._repr_html_())
    assert "script" not in page.tags
    assert HOSTILE in page.text


def test_reports():
    def f(x):
        return pnp.exp(x) - 1.0

    def bad(x):
        return pnp.log(x - 1.0)

    with debug.compile_report() as compiled:
        pb.jit(lambda x: x * 1.0625 + 2.0)(2.0)
    for report in (debug.find_nan(bad)(0.0), pb.check_rules(pnp.sin, 1.0), compiled, debug.find_inaccuracy(f)(1e-6)):
        page = Page(report._repr_html_())
        lines = [line.strip() for line in str(report).splitlines()]
        assert lines[-1] in page.text or lines[0] in page.text
    page = Page(debug.find_inaccuracy(f)(1e-6)._repr_html_())
    assert "expm1(x) for exp(x) - 1" in page.cells
    assert Page(debug.find_inaccuracy(pnp.expm1)(1e-6)._repr_html_()).text.endswith("no digits lost")
    page = Page(pb.vjp(lambda x, w: pnp.sin(x) * w, 2.0, 3.0)[1].saved()._repr_html_())
    assert page.cells[:3] == ["bytes", "type", "where it is made"]
    assert page.cells.count("f32[]") == 3


def test_nothing_compiled():
    with debug.compile_report() as report:
        pass
    assert Page(report._repr_html_()).text == "nothing was traced or compiled"


def test_shardings():
    mesh = Mesh(np.array(pb.devices()[:1]), ("x",))
    assert Page(mesh._repr_html_()).cells == ["CPU 0"]
    for spec in (PartitionSpec(), PartitionSpec("x"), PartitionSpec("x", None), PartitionSpec(None, None, "x")):
        page = Page(NamedSharding(mesh, spec)._repr_html_())
        assert repr(spec) in page.text
        assert ("td" in page.tags) == (len(spec) < 3)


def test_treescope_shows_arrays():
    treescope = pytest.importorskip("treescope", reason="the extra `test` is not installed")
    text = treescope.render_to_text({"w": pnp.arange(6.0).reshape(2, 3), "n": pnp.asarray(2)})
    assert "<pullback.Array float32(2, 3) [≥0, ≤5]>" in text
    assert "Array([[0., 1., 2.]," in text
    drawn = treescope.render_array(pnp.arange(6.0).reshape(2, 3))
    assert "arrayviz_container" in drawn.treescope_part.html_src
    page = treescope.render_to_html(pb.make_jaxpr(pnp.sin)(1.0), compressed=False)
    assert "Rich HTML representation" in page


def test_treescope_shows_low_precision_and_tracers():
    treescope = pytest.importorskip("treescope", reason="the extra `test` is not installed")
    x = pnp.asarray([[1.0, 2.0], [np.nan, 3.0]], "bfloat16")
    assert "<pullback.Array bfloat16(2, 2) [≥1, ≤3] not finite: 1>" in treescope.render_to_text(x)
    assert "arrayviz_container" in treescope.render_array(x).treescope_part.html_src
    seen = []

    def f(x):
        seen.append(treescope.render_to_text(x))
        return x

    pb.make_jaxpr(f)(pnp.ones(3))
    assert "f32[3]" in seen[0]
    assert "pullback.Array" not in seen[0]
