"""A pytree that two processes have saved is restored in one, in two and in three."""

from textwrap import dedent

import pytest
from processes import run

pytest.importorskip("safetensors", reason="the optional package safetensors is not installed")

SAVE = """
from pullback import saving
join()
mesh = pb.make_mesh((count,), ("x",))
spread, whole = pb.NamedSharding(mesh, pb.P("x")), pb.NamedSharding(mesh, pb.P())
value = np.arange(24.0, dtype="float32").reshape(12, 2)
tree = {"w": pb.make_array_from_callback((12, 2), spread, lambda index: value[index]),
        "b": pb.device_put(np.arange(3), whole), "n": pb.device_put(pnp.bfloat16(1.5), whole)}
like = {"w": pb.ShapeDtypeStruct((12, 2), "float32", sharding=spread),
        "b": pb.ShapeDtypeStruct((3,), tree["b"].dtype, sharding=whole),
        "n": pb.ShapeDtypeStruct((), "bfloat16", sharding=whole)}
"""

LOAD = """
got = saving.load(folder, like)
assert got["w"].sharding == spread and got["b"].is_fully_replicated
rows = 12 // count
assert np.array_equal(got["w"].addressable_data(0), value[rows * rank : rows * (rank + 1)])
assert np.array_equal(mh.process_allgather(got["w"], tiled=True), value)
assert np.array_equal(got["b"], [0, 1, 2]) and float(got["n"]) == 1.5
print(sorted(os.listdir(folder)))
"""


def test_two_processes_save_and_other_numbers_restore(tmp_path):
    folder = tmp_path / "step_3"
    begin = f"folder = {str(folder)!r}\n" + SAVE
    save = begin + "saving.save(folder, tree)\n" + LOAD
    files = "['index.json', 'process_00000.safetensors', 'process_00001.safetensors']\n"
    assert run(save, save) == [files] * 2
    for count in (1, 3):
        assert run(*[dedent(begin + LOAD)] * count) == [files] * count


def test_a_process_that_dies_while_all_save_leaves_no_folder(tmp_path):
    folder = tmp_path / "step_4"
    begin = f"folder = {str(folder)!r}\n" + SAVE
    dies = begin + "mh.sync_global_devices('a'); os._exit(0)"
    saves = begin + "mh.sync_global_devices('a'); print(error_of(saving.save, folder, tree))"
    out = run(saves, dies)[0]
    assert out.startswith("ProcessFailureError: sync_global_devices('save "), out
    assert "process 1 (pid" in out
    assert not folder.exists()
