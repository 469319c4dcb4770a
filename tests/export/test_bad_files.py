"""Damaged, foreign, huge and hostile files: one error that names the field, nothing run, nothing large allocated."""

import hashlib
import json
import random
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

import pullback as pb
import pullback.numpy as pnp
from pullback import export
from pullback._xla import mlir
from pullback.export import _layout, _program
from pullback.export._flatbuffers import MalformedFileError

X = np.array([0.5, 1.5], dtype="float32")


@pb.custom_vjp
def ruled(x):
    return pnp.sin(x)


ruled.defvjp(lambda x: (ruled(x), x), lambda x, ct: (ct * pnp.cos(x),))


def fun(tree):
    def step(carry, _):
        return ruled(carry) + np.arange(2, dtype="float32"), None

    return {"out": pb.lax.scan(step, tree["x"], None, length=2)[0]}, tree["n"] + 1


EXPORTED = export.export(pb.jit(fun))({"x": X, "n": 3})
DATA = bytes(EXPORTED.serialize(vjp_order=1))
TABLE, PROGRAM = _layout.take_apart(DATA)


def sealed(table=TABLE, program=PROGRAM):
    """A file with a right seal, whatever is in it."""
    return bytes(_layout.assemble(table, program))


def document():
    packed = _program.HEADER.unpack_from(PROGRAM)[1]
    return json.loads(zlib.decompress(PROGRAM[_program.HEADER.size : _program.HEADER.size + packed]))


def with_document(changed, arrays=None):
    packed_before = _program.HEADER.unpack_from(PROGRAM)[1]
    arrays = PROGRAM[_program.HEADER.size + packed_before :] if arrays is None else arrays
    text = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
    packed = zlib.compress(text)
    return sealed(program=_program.HEADER.pack(1, len(packed), len(text)) + packed + arrays)


def refused(data, field):
    """The file, or its program when it is needed, is refused by an error that names the field."""
    with pytest.raises(ValueError, match="deserialize: ") as info:
        _ = export.deserialize(data).program
    assert type(info.value) is MalformedFileError
    assert field in str(info.value), info.value
    assert len(str(info.value)) < 600
    return info.value


def test_the_file_is_right():
    assert sealed() == DATA
    assert len(export.deserialize(DATA).program.eqns) == len(EXPORTED.program.eqns)


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"PK\x03\x04" + bytes(100), b"{}" * 40, bytes(1000), b"\xff" * 1000, b"pullback"]
)
def test_foreign_files(data):
    with pytest.raises(MalformedFileError, match="deserialize: "):
        export.deserialize(data)


def test_other_objects_are_refused():
    for value in ("text", None, 3, ["a"]):
        with pytest.raises(TypeError, match="expected the bytes of a file"):
            export.deserialize(value)


def test_every_damaged_byte_is_found():
    """Flips at 300 places, some of them in the seal, and cuts everywhere: all of them are refused before use."""
    rng = random.Random(0)
    for _ in range(300):
        at, bit = rng.randrange(len(DATA)), 1 << rng.randrange(8)
        damaged = bytearray(DATA)
        damaged[at] ^= bit
        with pytest.raises(ValueError, match=r"deserialize: (seal|file)"):
            export.deserialize(damaged)
    for _ in range(200):
        with pytest.raises(ValueError, match="deserialize: "):
            export.deserialize(DATA[: rng.randrange(len(DATA))])
    with pytest.raises(ValueError, match="deserialize: seal"):
        export.deserialize(DATA + b"more")


def test_tables_of_random_bytes_do_no_harm():
    """Flips in the table under a right digest, as of someone who means harm: our error, or a file that is read."""
    rng = random.Random(1)
    begin = len(_layout.assemble(TABLE, b"")) - 56
    table = DATA[:begin]
    tracemalloc.start()
    read = 0
    for _ in range(400):
        damaged = bytearray(table)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(begin)
            damaged[at] = rng.choice((0, 1, 0x7F, 0xFF, rng.randrange(256)))
        body = bytes(damaged) + PROGRAM
        body += struct.pack("<QQ", begin, len(body))
        try:
            export.deserialize(body + hashlib.sha256(body).digest() + b"pullback")
            read += 1
        except MalformedFileError:  # any other error ends the test
            continue
    assert 0 < read < 400
    assert tracemalloc.get_traced_memory()[1] < 50 * len(DATA) + 10_000_000
    tracemalloc.stop()


def test_documents_of_random_changes_do_no_harm():
    """Changed entries of the document under a right digest: an error of ours, or a program that is well typed."""
    rng = random.Random(2)
    values = [None, True, -1, 0, 1, 10**6, 2**70, 1.5, "", "float32", "jit", [], [0], {}, {"jaxpr": 0}, {"dtype": "x"}]
    read = 0
    for _ in range(400):
        changed = document()
        node = changed
        while True:  # a random place
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = rng.choice(keys)
            if not isinstance(node[key], (dict, list)) or not node[key] or rng.random() < 0.1:
                node[key] = rng.choice(values)
                break
            node = node[key]
        try:
            _ = export.deserialize(with_document(changed)).program
            read += 1
        except MalformedFileError:  # any other error ends the test
            continue
    assert 0 < read < 400


def test_fields_are_named():
    def table(**changes):
        return sealed({**TABLE, **changes})

    refused(table(calling_convention_version=11), "calling_convention_version: 11, but the versions 9 to 10")
    refused(table(calling_convention_version=0), "calling_convention_version")
    refused(table(ordered_effects=[{"type_name": "Print"}]), "ordered_effects: functions with side effects")
    refused(table(in_tree=None), "in_tree: missing")
    refused(table(mlir_module_serialized=None), "mlir_module_serialized: missing")
    refused(table(nr_devices=0), "nr_devices")
    refused(table(module_kept_var_idx=[7]), "module_kept_var_idx")
    refused(table(in_avals_idxs=[0, 900]), "in_avals_idxs[1]: 900, but there are")
    refused(table(in_shardings_idxs=[5, 0]), "in_shardings_idxs[0]")
    refused(table(unique_avals=[{"dtype": 99, "shape": []}] * 3), "unique_avals[0].dtype: the number 99")
    refused(table(unique_avals=[{"dtype": 10, "shape": ["9" * 30]}] * 3), "unique_avals[0].shape")
    for dimension in ("b.c", "f(b)", "", "b +", "b^99", "((b+c)^64+d)^64", "-3", "max(b)"):
        refused(table(unique_avals=[{"dtype": 10, "shape": [dimension]}] * 3), "unique_avals[0].shape")
    refused(table(unique_avals=[{"dtype": 10, "shape": ["1"] * 99}] * 3), "unique_avals[0].shape: it has 99 axes")
    refused(table(unique_avals=[{"kind": 1}] * 3), "unique_avals[0].kind")
    refused(table(vjp={"function_name": "f"}), "vjp.")
    mesh = {"axis_sizes": [2], "axis_names": ["x", "y"], "axis_types": [1]}
    refused(table(unique_abstract_meshes=[mesh]), "unique_abstract_meshes[0]")


def test_trees_are_named():
    def tree(t):
        return sealed({**TABLE, "out_tree": t})

    leaf = {"kind": 0}
    refused(tree({"kind": 9}), "out_tree.kind: the number 9")
    refused(tree({"kind": 2, "children": [leaf] * 5}), "more leaves than there are types")
    refused(tree(leaf), "out_tree: the structure has fewer than 2 leaves")
    refused(tree({"kind": 4, "children": [leaf] * 2, "children_names": ["a", "a"]}), "out_tree.children_names")
    refused(tree({"kind": 4, "children": [leaf] * 2, "children_names": ["b", "a"]}), "out_tree.children_names")
    unknown = {"kind": 5, "custom_name": "os.system", "custom_auxdata": b"echo", "children": [leaf] * 2}
    refused(tree(unknown), "out_tree.custom_name: no type is registered as 'os.system'")
    ordered = {"kind": 5, "custom_name": "collections.OrderedDict", "custom_auxdata": b"[1]", "children": [leaf] * 2}
    refused(tree(ordered), "out_tree.custom_auxdata")
    deep = leaf
    for _ in range(150):
        deep = {"kind": 2, "children": [deep]}
    refused(tree(deep), "nested more than 100 deep")


def test_parts_of_the_program_are_named():
    def change(*path, to):
        changed = node = document()
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = to
        return with_document(changed)

    main = document()["main"]
    refused(change("primitives", 0, to="os.system"), "there is no primitive 'os.system' here")
    refused(change("primitives", 0, to="pure_callback"), "there is no primitive 'pure_callback' here")
    refused(change("main", to=10**9), "program.main: 1000000000 is none of")
    refused(change("jaxprs", main, "in", to=[]), f"program.jaxprs[{main}]")
    refused(change("jaxprs", main, "out", to=[0]), "program.main, results")
    refused(change("types", 0, 1, to=[10**30]), "program.types[0]")
    refused(change("types", 0, 0, to="object"), "'object' is no dtype")
    refused(change("arrays", 0, 1, to=10**12), "program.arrays[0]")
    refused(change("jaxprs", to={}), "program.jaxprs: expected a list")
    loops = [i for i, name in enumerate(document()["primitives"]) if name == "scan"]
    eqn = next(i for i, e in enumerate(document()["jaxprs"][main]["eqns"]) if e[0] in loops)
    refused(change("jaxprs", main, "eqns", eqn, 3, "jaxpr", to={"jaxpr": main}), "does not come before")
    refused(change("jaxprs", main, "eqns", eqn, 3, "jaxpr", to={"pickle": "gASV"}), "'pickle' is no encoding")
    refused(change("jaxprs", main, "eqns", eqn, 3, to={}), "scan")
    refused(change("jaxprs", main, "eqns", eqn, 1, to=[10**6]), "none of the")
    refused(change("jaxprs", main, "eqns", eqn, to=[0]), "an equation has 3 or 4 parts")


def test_documents_that_are_none():
    refused(with_document(b"not json"), "program.document")
    refused(with_document(b"[" * 100_000), "program.document")
    refused(with_document(b'{"main": NaN}'), "NaN is no number of JSON")
    refused(with_document(b"[]"), "program.document: expected an object")
    refused(sealed(program=b"short"), "program: it has 5 bytes")
    refused(sealed(program=_program.HEADER.pack(2, 0, 0)), "program.schema: the version 2 is not known here")
    refused(sealed(program=_program.HEADER.pack(1, 2**60, 10)), "program.header")
    bomb = zlib.compress(bytes(10_000_000), 9)
    refused(sealed(program=_program.HEADER.pack(1, len(bomb), 10_000_000) + bomb), "program.header")
    refused(sealed(program=_program.HEADER.pack(1, len(bomb), 10) + bomb), "other than the 10 bytes")


def test_a_newer_program_can_still_be_called():
    newer = export.deserialize(sealed(program=_program.HEADER.pack(2, 0, 0)))
    out, _ = newer.call({"x": X, "n": 3})
    np.testing.assert_allclose(np.asarray(out["out"]), np.asarray(fun({"x": X, "n": 3})[0]["out"]), rtol=1e-6)
    with pytest.raises(ValueError, match="can be called, but not differentiated"):
        pb.vmap(newer.call)({"x": X[None], "n": np.array([3])})


def test_rules_are_named():
    def rules(**changes):
        changed = document()
        changed["rules"][0].update(changes)
        return with_document(changed)

    def loss(data):
        return pb.grad(lambda x: export.deserialize(data).call({"x": x, "n": 3})[0]["out"].sum())

    np.testing.assert_allclose(np.asarray(loss(rules())(X)), np.asarray(loss(DATA)(X)))
    for changes in (
        {"vjp": [0]},
        {"vjp": [10**6, 0, [True]]},
        {"forward": "magic"},
        {"captured": -1},
        {"types": [0, 0]},
    ):
        with pytest.raises(MalformedFileError, match=r"program.rules\[0\]"):
            loss(rules(**changes))(X)


def test_modules_that_are_none():
    for module in (b"", b"no module", bytes(100)):
        read = export.deserialize(sealed({**TABLE, "mlir_module_serialized": module}))
        with pytest.raises(ValueError, match=r"mlir_module_serialized: (no portable artifact|its function 'main')"):
            read.call({"x": X, "n": 3})


def test_modules_that_call_out_are_refused():
    text = (
        "module @m { func.func public @main(%n: tensor<i32>, %a: tensor<2xf32>) -> (tensor<2xf32>, tensor<i32>) {\n"
        '%0 = "stablehlo.custom_call"(%a) {call_target_name = "xla_ffi_python_cpu_callback", api_version = 4 : i32} : '
        "(tensor<2xf32>) -> tensor<2xf32>\nreturn %0, %n : tensor<2xf32>, tensor<i32>\n}}"
    )
    read = export.deserialize(sealed({**TABLE, "mlir_module_serialized": mlir.to_artifact(text)}))
    with pytest.raises(ValueError, match="it calls xla_ffi_python_cpu_callback, outside of the module"):
        read.call({"x": X, "n": 3})
