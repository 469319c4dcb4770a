"""`draw`: what a picture says about a program, its derivative, its loops and rules; as text, SVG and HTML."""

import html.parser
import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import debug, lax
from pullback._pictures.folding import folded
from pullback._pictures.graphs import Box, Node


def log1pexp(x):
    return pnp.log(1.0 + pnp.exp(x))


def graphs(picture):
    return picture._graphs


def operations(graph):
    return [node for node in graph.root.nodes() if node.kind in ("operation", "call", "rule", "fold")]


def box(graph, title):
    found = [item for item in all_boxes(graph.root) if item.title == title]
    assert len(found) == 1, (title, [item.title for item in all_boxes(graph.root)])
    return found[0]


def all_boxes(outer):
    for item in outer.items:
        if isinstance(item, Box):
            yield item
            yield from all_boxes(item)


def test_every_operation_has_its_type_and_line():
    (graph,) = graphs(debug.draw(log1pexp)(2.0))
    assert [(n.title, n.detail) for n in operations(graph)] == [
        ("exp", "f32[]"),
        ("add 1.0", "f32[]"),
        ("log", "f32[]"),
    ]
    line = log1pexp.__code__.co_firstlineno + 1
    assert all(n.calls[-1].line == line and n.calls[-1].function == "log1pexp" for n in operations(graph))


def test_a_derivative_has_the_number_of_its_operation():
    before, after = graphs(debug.draw(log1pexp, transform="grad")(2.0))
    assert [n.number for n in operations(before)] == [1, 2, 3]
    backward = [(n.title, n.number) for n in operations(after) if n.backward and n.number]
    assert backward == [("div 1.0", 3), ("mul", 1)]  # the addition has the derivative 1
    assert [(n.title, n.number) for n in operations(after) if not n.backward] == [
        ("exp", 1),
        ("add 1.0", 2),
        ("log", 3),
    ]


def test_derivatives_on_the_same_line_are_told_apart():
    def f(x):
        return pnp.sin(x) * pnp.cos(pnp.sin(x) + 3.0)

    before, after = graphs(debug.draw(f, transform="grad")(2.0))
    titles = {n.number: n.title for n in operations(before)}
    assert list(titles.values()) == ["sin", "sin", "add 3.0", "cos", "mul"]
    # both sines have derivatives of their own
    assert {n.number for n in operations(after) if n.backward and n.number} >= {1, 2, 4, 5}


def test_a_drawn_gradient_is_linked_by_line():
    def f(x):
        y = pnp.exp(x)
        return pnp.sin(y)

    (graph,) = graphs(debug.draw(pb.grad(f))(1.0))
    numbers = {n.title: n.number for n in operations(graph) if not n.backward}
    assert numbers["exp"] != numbers["sin"]
    backward = [n.number for n in operations(graph) if n.backward]
    assert backward
    assert set(backward) <= set(numbers.values())
    assert [item.title for item in all_boxes(graph.root)] == ["forward pass", "backward pass"]


def test_residuals_are_those_that_reverse_mode_keeps():
    def mlp(w, v, x):
        return pnp.sum(pnp.tanh(pnp.tanh(x @ w) @ v) ** 2)

    args = pnp.ones((3, 4)), pnp.ones((4, 2)), pnp.ones((8, 3))
    picture = debug.draw(mlp, transform="grad")(*args)
    kept = pb.ad_checkpoint.saved_residuals(mlp, *args)
    assert picture.residuals == len(kept)
    assert picture.residual_bytes == sum(r.nbytes for r in kept)
    assert f"keeps {len(kept)} residuals" in picture.text


def test_several_results_of_a_call_are_kept_each():
    inner = pb.jit(lambda x: pnp.sin(x) * pnp.cos(x))

    def f(x):
        return pnp.sum(inner(x))

    picture = debug.draw(f, transform="grad")(pnp.ones(5))
    kept = pb.ad_checkpoint.saved_residuals(f, pnp.ones(5))
    assert (picture.residuals, picture.residual_bytes) == (len(kept), sum(r.nbytes for r in kept))


def test_a_scan_is_a_box_with_its_carry():
    def f(x, ts):
        def step(c, t):
            return pnp.sin(c) * t, c + t

        return lax.scan(step, x, ts)

    (graph,) = graphs(debug.draw(f)(1.0, pnp.ones(5)))
    loop = box(graph, "scan × 5")
    assert [item.title for item in loop.items if item.kind == "port"] == ["carry", "slice", "carry", "stacked"]
    assert [item.title for item in loop.items if item.kind == "operation"] == ["sin", "mul", "add"]
    again = [edge for edge in graph.edges if edge.again]
    assert [(edge.source.title, edge.target.title) for edge in again] == [("carry", "carry")]


def test_branches_and_loops_are_boxes_in_boxes():
    def f(x):
        def body(c):
            return lax.cond(c > 2.0, lambda c: c * 2.0, lambda c: c + 1.0, c)

        return lax.while_loop(lambda c: c < 10.0, body, x)

    (graph,) = graphs(debug.draw(f)(1.0))
    loop = box(graph, "while")
    assert [item.title for item in loop.items if isinstance(item, Box)] == ["body", "condition"]
    assert [item.title for item in all_boxes(box(graph, "body"))] == ["cond", "branch 0", "branch 1"]
    # what decides is connected with what is chosen
    chosen = next(n for n in box(graph, "cond").items if isinstance(n, Node))
    readers = [edge.source.title for edge in graph.edges if edge.target is chosen]
    assert "convert_element_type" in readers


def test_steps_of_a_loop_are_linked_with_their_derivatives():
    def f(x, ts):
        def step(c, t):
            return pnp.sin(c) * t, None

        return lax.scan(step, x, ts)[0]

    before, after = graphs(debug.draw(f, transform="grad")(1.0, pnp.ones(5)))
    sin = next(n for n in operations(before) if n.title == "sin")
    backward = box(after, "backward pass")
    inner = [item for item in all_boxes(backward) if item.title == "scan × 5"]
    assert len(inner) == 1
    assert sin.number in [n.number for n in inner[0].nodes()]


def test_a_custom_rule_is_marked():
    @pb.custom_vjp
    def safe(x):
        return log1pexp(x)

    def fwd(x):
        return log1pexp(x), x

    def bwd(x, g):
        return (g * pb.nn.sigmoid(x),)

    safe.defvjp(fwd, bwd)
    before, after = graphs(debug.draw(safe, transform="grad")(2.0))
    (call,) = operations(before)
    assert (call.kind, call.title, call.count) == ("rule", "safe", 3)
    assert [n.title for n in operations(call.inside())] == ["exp", "add 1.0", "log"]
    rule = [n for n in operations(after) if n.kind == "rule" and n.backward]
    assert rule
    assert all(n.number == call.number for n in rule)
    assert "custom rule" in debug.draw(safe)(2.0).text


def test_a_call_is_folded():
    @pb.jit
    def inner(x):
        return pnp.sin(x) * 2.0

    def f(x):
        return inner(x) + 1.0

    (graph,) = graphs(debug.draw(f)(1.0))
    call = operations(graph)[0]
    assert (call.kind, call.title, call.count) == ("call", "jit inner", 2)
    assert debug.draw(f)(1.0).operations == [3]


def test_vmap_beside_one_example():
    before, after = graphs(debug.draw(lambda w, x: w @ x, transform="vmap")(pnp.ones((5, 2, 3)), pnp.ones((5, 3))))
    assert [n.detail for n in operations(before)] == ["f32[2]"]
    assert operations(after)[-1].detail == "f32[5,2]"
    assert {n.number for n in operations(after)} == {1}


@pytest.mark.parametrize(("transform", "inputs", "results"), [
    ("vjp", ["x", "cotangent of result"], ["result", "∂x"]),
    ("jvp", ["x", "tangent of x"], ["result", "tangent of result"]),
    ("grad", ["x"], ["∂x"]),
])  # fmt: skip
def test_inputs_and_results_have_names(transform, inputs, results):
    after = graphs(debug.draw(pnp.sin, transform=transform)(1.0))[1]
    ends = [(n.kind, n.title) for n in after.root.nodes() if n.kind in ("input", "result")]
    assert ends == [*(("input", name) for name in inputs), *(("result", name) for name in results)]


def test_nothing_is_computed():
    seen = []

    def f(x):
        debug.callback(seen.append, x)
        return pnp.sin(x)

    debug.draw(f)(pb.ShapeDtypeStruct((1000000, 1000000), np.float32))
    assert not seen


# --- folding ---


def chain(x):
    for _ in range(1000):
        x = pnp.sin(x)
        x = x * 2.0
    return x


def affine(x, w):
    x = x @ w
    return x + 1.0


def layers(x, w):
    for _ in range(10):
        x = affine(x, w)
        x = pnp.tanh(x)
    return x


def test_a_long_program_is_folded_by_line():
    picture = debug.draw(chain)(1.0)
    assert picture.operations == [2000]
    graph = folded(graphs(picture)[0], 60)
    assert [n.count for n in operations(graph)] == [1000, 1000]
    lines = [n.calls[-1].line - chain.__code__.co_firstlineno for n in operations(graph)]
    assert lines == [2, 3]


def test_runs_are_folded_by_function():
    picture = debug.draw(layers)(pnp.ones((2, 2)), pnp.ones((2, 2)))
    graph = folded(graphs(picture)[0], 25)
    # ten calls, each followed by an operation that stays as it is
    assert [n.kind for n in operations(graph)] == ["fold", "operation"] * 10
    assert {n.count for n in operations(graph) if n.kind == "fold"} == {2}
    assert [n.title for n in operations(operations(graph)[0].inside())] == ["dot_general", "add 1.0"]


@pytest.mark.parametrize("limit", [1, 5, 20, 60])
def test_no_operation_and_no_residual_is_lost_by_folding(limit):
    for graph in graphs(
        debug.draw(lambda x, w: pnp.sum(layers(x, w)), transform="grad")(pnp.ones((2, 2)), pnp.ones((2, 2)))
    ):
        smaller = folded(graph, limit)
        assert smaller.operations == graph.operations
        assert sorted(smaller.kept) == sorted(graph.kept)


def test_a_pass_is_never_folded_with_the_other():
    graph = graphs(debug.draw(chain, transform="grad")(1.0))[1]
    smaller = folded(graph, 10)
    titles = [item.title for item in all_boxes(smaller.root)]
    assert titles == ["forward pass", "backward pass"]
    assert all(edge.kept for edge in smaller.edges if not edge.source.backward and edge.target.backward)


# --- SVG and HTML ---

HOSTILE = "<script>alert(1)</script>--]]>\"'&"


class Text(html.parser.HTMLParser):
    """The tags and the text of a page."""

    def __init__(self):
        super().__init__()
        self.tags = []
        self.text = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def graphviz():
    return pytest.importorskip("pygraphviz", reason="the extra `draw` is not installed")


def hostile():
    def f(x):
        return pnp.sin(x[HOSTILE]) * 2.0

    f.__name__ = f.__qualname__ = HOSTILE
    return f


def test_text_of_the_user_is_escaped_in_svg(graphviz):
    picture = debug.draw(hostile(), transform="grad")({HOSTILE: 1.0})
    tree = ElementTree.fromstring(picture.svg)
    assert "script" not in {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert HOSTILE in "".join(tree.itertext())


def test_text_of_the_user_is_escaped_in_html(graphviz):
    f = pb.jit(hostile())
    page = Text()
    page.feed(debug.draw(lambda x: f(x) + 1.0)({HOSTILE: 1.0}).html)
    assert "script" not in page.tags
    assert page.tags.count("details") == 2
    assert any(HOSTILE[:12] in text for text in page.text)


def test_names_of_scopes_and_rules_are_escaped(graphviz):
    @pb.custom_jvp
    def f(x):
        return pnp.sin(x)

    f.__name__ = HOSTILE
    f.defjvp(lambda primals, tangents: (f(*primals), pnp.cos(primals[0]) * tangents[0]))
    svg = debug.draw(lambda x: f(x) * 2.0, transform="jvp")(1.0).svg
    assert "<script" not in svg
    ElementTree.fromstring(svg)


def test_an_svg_has_every_node_and_edge(graphviz):
    picture = debug.draw(log1pexp, transform="grad")(2.0)
    tree = ElementTree.fromstring(picture.svg)
    name = "{http://www.w3.org/2000/svg}"
    nodes = [g for g in tree.iter(f"{name}g") if "node" in g.get("class", "").split()]
    assert len(nodes) == sum(len([*graph.root.nodes()]) for graph in graphs(picture))
    curves = [path.get("class") for path in tree.iter(f"{name}path")]
    assert len(curves) == sum(len(graph.edges) for graph in graphs(picture))
    assert curves.count("kept") == 2
    texts = ["".join(text.itertext()) for text in tree.iter(f"{name}text")]
    assert {"exp", "add 1.0", "log", "∂3", "keeps 4 B", "forward pass", "backward pass"} <= {t.strip() for t in texts}


def test_nothing_overlaps(graphviz):
    def f(x, ts):
        def step(c, t):
            return lax.cond(c > 0.0, lambda c: pnp.sin(c) * t, lambda c: c + 1.0, c), c

        return pnp.sum(lax.scan(step, x, ts)[1])

    from pullback._pictures.layout import laid_out

    for graph in graphs(debug.draw(f, transform="grad")(1.0, pnp.ones(5))):
        places = [*laid_out(graph).nodes.values()]
        for i, (x, y, width, height) in enumerate(places):
            for u, v, wide, high in places[:i]:
                assert abs(x - u) >= (width + wide) / 2 - 1 or abs(y - v) >= (height + high) / 2 - 1


def test_a_page_unfolds_what_is_folded(graphviz):
    picture = debug.draw(chain)(1.0)
    page = Text()
    page.feed(picture.html)
    assert page.tags.count("svg") == page.tags.count("details")  # the whole, and "inside" has none of its own
    assert "script" not in page.tags


def test_names_in_a_page_are_unique(graphviz):
    picture = debug.draw(layers, limit=10)(pnp.ones((2, 2)), pnp.ones((2, 2)))
    names = re.findall(r' id="([^"]+)"', picture.html)
    assert len(names) == len(set(names)) > 1


def test_a_picture_is_the_same_for_the_same_program(graphviz):
    assert debug.draw(log1pexp)(2.0).svg == debug.draw(log1pexp)(3.0).svg


def test_notebooks_show_a_picture(graphviz):
    picture = debug.draw(log1pexp)(2.0)
    assert picture._repr_svg_() == picture.svg
    assert picture._repr_html_().startswith("<div")
    assert repr(picture) == str(picture) == picture.text


@pytest.mark.parametrize("form", ["svg", "html", "txt"])
def test_a_picture_is_written_to_a_file(form, tmp_path, graphviz):
    picture = debug.draw(log1pexp)(2.0)
    picture.save(tmp_path / f"picture.{form}")
    written = (tmp_path / f"picture.{form}").read_text(encoding="utf-8")
    assert written == {"svg": picture.svg, "html": picture.html, "txt": picture.text}[form]


def test_without_the_layout_the_text_is_there(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    picture = debug.draw(log1pexp)(2.0)
    assert picture.text.startswith("log1pexp: 3 operations")
    assert picture._repr_svg_() is None
    assert picture._repr_html_() is None
    with raises(ImportError, "pip install pullback[draw]"):
        _ = picture.svg
    with raises(ImportError, "pip install pullback[draw]"):
        picture.save(tmp_path / "it.svg")
    assert not list(tmp_path.iterdir())


# --- refusals ---


def test_refusals():
    picture = debug.draw(log1pexp)(1.0)
    with raises(ValueError, "transform must be one of grad, vjp, jvp, vmap, jit or None, got 'hessian'"):
        debug.draw(log1pexp, transform="hessian")
    with raises(ValueError, "limit must be a positive number"):
        debug.draw(log1pexp, limit=0)
    with raises(TypeError, "draw"):
        debug.draw(3)
    with raises(TypeError, "returns one floating-point number, it returns f32[3]"):
        debug.draw(log1pexp, transform="grad")(pnp.ones(3))
    with raises(TypeError, "needs a floating-point argument"):
        debug.draw(log1pexp, transform="jvp")(3)
    with raises(ValueError, "one size, got f32[3], f32[]"):
        debug.draw(pnp.add, transform="vmap")(pnp.ones(3), 1.0)
    with raises(ValueError, "must end with .svg, .html or .txt, got 'picture.png'"):
        picture.save("picture.png")


def test_what_is_inside_of_a_line_is_folded_by_its_turns():
    def squares(x):
        return pnp.sin(x) * pnp.cos(x) + pnp.sin(x * 2.0)  # five operations

    def f(x):
        for _ in range(30):
            x = squares(x)
            x = pnp.tanh(x)
        return x

    graph = folded(graphs(debug.draw(f)(1.0))[0], 40)
    line = operations(graph)[0]
    assert line.count > 100
    inside = folded(line.inside(), 40)
    assert len(operations(inside)) == 30
    assert len({node.count for node in operations(inside)}) == 1
    assert [node.title for node in inside.root.nodes() if node.kind == "input"] == ["30 values"]


# --- what XLA makes of a program ---


def test_jit_shows_what_is_fused():
    before, after = graphs(debug.draw(log1pexp, transform="jit")(pnp.ones(1000)))
    assert [n.number for n in operations(before)] == [1, 2, 3]
    fused = operations(after)[-1]
    assert (fused.kind, fused.number) == ("call", 3)
    assert any("of operations 1, 2, 3" in note for note in fused.notes)
    assert {"exponential", "add", "log"} <= {n.title for n in operations(fused.inside())}
    assert [(n.kind, n.title) for n in after.root.nodes() if n.kind in ("input", "result")] == [
        ("input", "x"),
        ("result", "result"),
    ]


def test_jit_of_loops_and_several_results():
    def f(x, ts):
        def step(c, t):
            return pnp.sin(c) * t, c + t

        c, ys = lax.scan(step, x, ts)
        return pnp.tanh(c), pnp.sort(ys)

    before, after = graphs(debug.draw(f, transform="jit")(pnp.float32(1.0), pnp.ones(50)))
    numbers = {n.title: n.number for n in operations(before)}
    sort = next(n for n in operations(after) if n.title == "sort")
    assert sort.number == numbers["sort"]
    results = {n.title: n.detail for n in after.root.nodes() if n.kind == "result"}
    assert results == {"result[0]": "f32[]", "result[1]": "f32[50]"}
    # each result has its own way from its operation
    ends = {edge.target.title: edge.source.title for edge in after.edges if edge.target.kind == "result"}
    assert ends["result[1]"] == "sort"


def test_numbers_of_a_backward_pass_are_its_own_before_a_transformation():
    before, after = graphs(debug.draw(pb.grad(log1pexp), transform="jit")(pnp.float32(1.0)))
    assert all(not n.derived for n in (*operations(before), *operations(after)))
    assert "∂" not in debug.draw(pb.grad(log1pexp), transform="jit")(pnp.float32(1.0)).text
    assert any(n.backward for n in operations(before))


@pytest.mark.parametrize("limit", [1, 2, 12])
@pytest.mark.parametrize("transform", [None, "grad", "jit"])
def test_programs_without_operations_and_with_empty_passes(limit, transform, graphviz):
    for f in (lambda x: x, lambda x: 3.0 + 0.0 * x, pb.checkpoint(lambda x: pnp.sin(pnp.sin(x)))):
        picture = debug.draw(f, transform=transform, limit=limit)(pnp.float32(0.7))
        assert picture.text
        ElementTree.fromstring(picture.svg)
        assert "<details" in picture.html or not any(n.inside for g in graphs(picture) for n in g.root.nodes())
