"""`profile`: lines, rules and passes, the memory at the peak, the residuals; tables, flame graphs and their formats."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from refusals import raises

import pullback as pb
import pullback.numpy as pnp
from pullback import debug, lax, profiler
from pullback._pictures import compiled_memory, hlo
from pullback._pictures.flames import collapsed, flame_svg, short, speedscope, stack_of, time_of
from pullback._pictures.measuring import Place

N = 1000
BYTES = 4 * N


def head(fun):
    return fun.__code__.co_firstlineno


def inner(x):
    return pnp.sin(x)


def loss(x):
    y = inner(x)
    return pnp.sum(y * y)


def rows(report, **wanted):
    return [row for row in report.rows if all(getattr(row, key) == value for key, value in wanted.items())]


def line_of(fun, offset):
    return f"{fun.__name__} (test_profile.py:{head(fun) + offset})"


def test_operations_are_at_their_lines():
    report = debug.profile(loss)(np.ones(N, np.float32))
    assert {row.line: row.operations for row in report.rows} == {
        line_of(inner, 1): {"sin": 1},
        line_of(loss, 2): {"mul": 1, "reduce_sum": 1},
    }
    assert not report.backward_seconds
    assert report.value == loss(np.ones(N, np.float32))


def test_the_backward_pass_is_told_apart():
    report = debug.profile(pb.grad(loss))(np.ones(N, np.float32))
    (row,) = rows(report, line=line_of(inner, 1), backward=True)
    assert row.operations == {"mul": 1}
    (row,) = rows(report, line=line_of(inner, 1), backward=False)
    assert row.operations == {"sin": 1, "cos": 1}
    assert report.seconds == pytest.approx(report.forward_seconds + report.backward_seconds)
    assert report.backward_seconds > 0
    assert sum(row.seconds for row in report.rows) == pytest.approx(report.seconds)


@pytest.mark.parametrize("transform", [pb.jit, pb.checkpoint])
def test_inside_of_calls(transform):
    report = debug.profile(pb.grad(transform(loss)))(np.ones(N, np.float32))
    assert {row.line for row in report.rows} >= {line_of(inner, 1), line_of(loss, 2)}
    assert rows(report, line=line_of(inner, 1), backward=True)


def test_steps_of_a_loop_are_summed():
    def step(c, x):
        return pnp.sin(c) * x, None

    report = debug.profile(lambda x: lax.scan(step, x, pnp.ones(7))[0])(1.0)
    (row,) = rows(report, line=line_of(step, 1))
    assert row.operations == {"sin": 7, "mul": 7}


@pb.custom_vjp
def ruled(x):
    return pnp.sin(x)


def fwd(x):
    return pnp.sin(x), pnp.cos(x)


def bwd(cos, g):
    return (g * cos,)


ruled.defvjp(fwd, bwd)


def test_custom_rules_have_rows_of_their_own():
    def f(x):
        return pnp.sum(ruled(x))

    report = debug.profile(pb.grad(f))(np.ones(N, np.float32))
    (row,) = [row for row in report.rows if row.rule and row.backward]
    assert (row.line, row.operations) == (line_of(bwd, 1), {"mul": 1})
    assert "bwd" in row.rule
    (row,) = [row for row in report.rows if row.rule and not row.backward]
    assert row.operations == {"sin": 1, "cos": 1}
    # in a flame graph the rule stands below the line that called the function
    assert re.search(rf"backward pass;f \(.*:{head(f) + 1}\);bwd \(.*\);the bwd rule bwd;mul \d", report.collapsed)


# --- memory ---


def test_residuals_are_the_values_that_the_backward_pass_reads():
    report = debug.profile(pb.grad(loss))(np.ones(N, np.float32))
    kept = {(held.place.primitive, held.nbytes) for held in report.residuals}
    assert kept == {("cos", BYTES), ("sin", BYTES)}
    assert all(held.place.location.line in (head(inner) + 1, head(loss) + 2) for held in report.residuals)


def test_the_peak_is_what_was_in_use():
    def f(x):
        for _ in range(5):
            x = pnp.sin(x)  # the one before is freed
        return pnp.sum(x)

    report = debug.profile(f)(np.ones(N, np.float32))
    assert report.peak_bytes == 2 * BYTES
    assert sum(held.nbytes for held in report.peak) == report.peak_bytes
    kept = debug.profile(pb.grad(f))(np.ones(N, np.float32))
    assert sum(held.nbytes for held in kept.residuals) == 5 * BYTES
    assert kept.peak_bytes >= 6 * BYTES
    assert sum(held.nbytes for held in kept.peak) == kept.peak_bytes


def test_checkpoint_lowers_the_residuals():
    def chain(x):
        return pnp.sin(pnp.sin(pnp.sin(x)))

    def f(part):
        return lambda x: pnp.sum(part(x) * 2.0)

    x = np.ones(N, np.float32)
    plain, less = [debug.profile(pb.grad(f(part)))(x) for part in (chain, pb.checkpoint(chain))]
    assert sum(held.nbytes for held in plain.residuals) == 3 * BYTES
    assert not [held for held in less.residuals if held.place.primitive == "cos" and held.nbytes > BYTES]


def test_a_view_is_no_memory_of_its_own():
    def f(x):
        y = x * 2.0
        return y.reshape(10, -1).T

    report = debug.profile(f)(pnp.ones(N))
    assert report.peak_bytes == BYTES


# --- compiled ---


def test_compiled_lines_passes_and_rules():
    def f(w, x):
        y = ruled(x @ w)
        return pnp.sum(pnp.sort(y, 0))

    report = debug.profile(pb.grad(f), compiled=True, runs=1)(
        np.ones((64, 64), np.float32), np.ones((64, 64), np.float32)
    )
    assert report.compiled
    assert rows(report, line=line_of(f, 1), backward=False)
    assert any("sort" in row.operations for row in rows(report, line=line_of(f, 2)))
    backward = rows(report, backward=True)
    assert any("dot_general" in row.operations for row in backward)
    assert report.forward_seconds > 0
    assert report.backward_seconds > 0
    # two arguments and a result at least
    assert report.peak_bytes >= 3 * 4 * 64 * 64
    assert "by XLA's schedule" in str(report)
    np.testing.assert_allclose(report.value, pb.grad(f)(pnp.ones((64, 64)), pnp.ones((64, 64))), rtol=1e-5)


def test_compiled_loops_are_at_the_lines_of_their_steps():
    def step(c, x):
        return pnp.sort(c) * x, None

    def f(x, ts):
        return lax.scan(step, x, ts)[0]

    report = debug.profile(f, compiled=True, runs=1)(np.ones(2000, np.float32), np.ones(3, np.float32))
    (row,) = rows(report, line=line_of(step, 1))
    assert "sort" in row.operations


def test_compiled_while_a_trace_is_recorded(tmp_path):
    with profiler.trace(tmp_path), raises(RuntimeError, "a trace is being recorded"):
        debug.profile(pnp.sin, compiled=True)(1.0)


def test_compiled_memory_is_told_by_line_and_pass():
    def f(x):
        y = pnp.sort(x)
        z = pnp.sort(y * y)
        return pnp.sum(z * y)

    x = np.random.default_rng(0).standard_normal(N).astype(np.float32)
    report = debug.profile(pb.grad(f), compiled=True, runs=1)(x)
    lines = {short(held.place.location) for held in report.peak if held.place.location}
    assert lines & {line_of(f, 1), line_of(f, 2), line_of(f, 3)}
    assert sum(held.nbytes for held in report.peak) >= 2 * BYTES
    assert report.residuals
    assert all(held.place.backward is False for held in report.residuals)
    assert "memory of" in report.memory_svg


def test_memory_at_the_fullest_point_of_a_program_that_was_written_out():
    program = hlo.read(
        """
        body (p: (f32[4,4])) -> (f32[4,4]) {
          %p = (f32[4,4]{1,0}) parameter(0)
          %x = f32[4,4]{1,0} get-tuple-element(%p), index=0
          %wide = f64[4,4]{1,0} convert(%x)
          %back = f32[4,4]{1,0} convert(%wide)
          ROOT %out = (f32[4,4]{1,0}) tuple(%back)
        }
        ENTRY main (a: f32[4,4]) -> f32[4,4] {
          %a = f32[4,4]{1,0} parameter(0)
          %b = f32[4,4]{1,0} sine(%a)
          %gone = f32[2,4]{1,0} slice(%b)
          %kept = bf16[4]{0} convert(%gone)
          %state = (f32[4,4]{1,0}) tuple(%b)
          %loop = (f32[4,4]{1,0}) while(%state), condition=%body, body=%body
          %c = f32[4,4]{1,0} get-tuple-element(%loop), index=0
          ROOT %d = f32[4,4]{1,0} add(%c, %kept)
        }
        """
    )

    def by_name(instruction):
        return Place(False, (), None, instruction.name)

    peak, residuals = compiled_memory.memory_at_peak(program, by_name)
    # in the loop: what it carries, the two of its step, and what is read after it; %gone is gone
    assert {held.place.primitive: held.nbytes for held in peak} == {"b": 64, "kept": 8, "wide": 128, "back": 64}
    assert residuals == []


@pytest.mark.parametrize(
    ("text", "size"),
    [("f32[]", 4), ("(f32[2,3], pred[5])", 29), ("c64[0,3]", 0), ("bf16[7]", 14), ("s4[8]", 4), ("f8e4m3fn[3]", 3)],
)
def test_sizes_of_xlas_types(text, size):
    assert compiled_memory.size_of(text) == size


# --- what is written ---

A, B = Place(False, (), None, "sin"), Place(True, (), "the bwd rule f (defined at x.py:1)", "mul")
SECONDS = {A: 3e-3, B: 1e-3}


def test_collapsed_stacks():
    assert collapsed(SECONDS) == "backward pass;the bwd rule f;mul 1000\nforward pass;sin 3000\n"


def test_the_file_of_speedscope():
    file = json.loads(speedscope(SECONDS, "mine"))
    assert file["$schema"] == "https://www.speedscope.app/file-format-schema.json"
    names = [frame["name"] for frame in file["shared"]["frames"]]
    (profile,) = file["profiles"]
    stacks = [[names[i] for i in sample] for sample in profile["samples"]]
    assert stacks == [["forward pass", "sin"], ["backward pass", "the bwd rule f", "mul"]]
    assert profile["weights"] == [3e-3, 1e-3]
    assert profile["endValue"] == pytest.approx(4e-3)


def test_frames_know_their_files():
    file = json.loads(debug.profile(loss)(np.ones(3, np.float32)).speedscope)
    frames = {frame["name"]: frame for frame in file["shared"]["frames"]}
    frame = frames[line_of(inner, 1)]
    assert (frame["file"], frame["line"]) == (__file__, head(inner) + 1)


def test_a_flame_graph_is_proportional():
    tree = ElementTree.fromstring(flame_svg(SECONDS, "mine"))
    bars = {}
    for group in tree.iter("{http://www.w3.org/2000/svg}g"):
        title, rect = group[0].text.splitlines()[0], group[1]
        bars[title] = rect.get("class"), float(rect.get("x")), float(rect.get("width"))
    assert [bars[name][0] for name in ("forward pass", "backward pass", "the bwd rule f")] == [
        "forward",
        "backward",
        "rule",
    ]
    assert bars["forward pass"][2] == pytest.approx(3 * bars["backward pass"][2], rel=0.01)
    assert bars["forward pass"][1] < bars["backward pass"][1]
    assert bars["sin"][1:] == bars["forward pass"][1:]


def test_hostile_names_are_escaped():
    hostile = "<script>alert(1)</script>--]]>\"'&;"
    place = Place(False, (), hostile, hostile)
    tree = ElementTree.fromstring(flame_svg({place: 1.0}, hostile))
    assert hostile in "".join(tree.itertext())
    assert "script" not in {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert collapsed({place: 1.0}).count(";") == len(stack_of(place)) - 1
    page = debug.Profile(hostile, 1, {place: 1.0}, {place: 1}, 0)._repr_html_()
    assert "<script" not in page


@pytest.mark.parametrize("ending", [".svg", ".html", ".txt", ".json", ".folded"])
def test_files(ending, tmp_path):
    report = debug.profile(loss)(np.ones(3, np.float32))
    report.save(tmp_path / f"it{ending}")
    assert (tmp_path / f"it{ending}").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs"), (0.0, "0 µs")]
)
def test_times_in_words(seconds, text):
    assert time_of(seconds) == text


def test_refusals():
    with raises(ValueError, "runs must be a positive number, got 0"):
        debug.profile(loss, runs=0)
    with raises(TypeError, "profile"):
        debug.profile(3)
    with raises(TypeError, "while another function is traced"):
        pb.jit(debug.profile(loss))(1.0)
    report = debug.profile(loss)(np.ones(3, np.float32))
    with raises(ValueError, "must end with .svg, .html, .txt, .json, .folded, got 'it.png'"):
        report.save("it.png")


def test_an_error_of_the_function_passes_through():
    def f(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        debug.profile(f)(1.0)
    # and leaves nothing behind
    assert not pb.config.debug_nans
    assert len(debug.profile(loss)(np.ones(3, np.float32)).rows) == 2


def test_pictures_are_loaded_when_they_are_asked_for():
    program = (
        "import sys, pullback.debug as d; assert not any('_pictures' in m for m in sys.modules); d.draw; d.profile"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
