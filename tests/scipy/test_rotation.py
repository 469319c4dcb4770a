"""scipy.spatial.transform against SciPy and JAX; derivatives against differences."""

import itertools

import jax.scipy.spatial.transform as theirs
import numpy as np
import pytest
import scipy.spatial.transform
from agreement import check_derivative, close

import pullback as pb
import pullback.numpy as pnp
from pullback.scipy.spatial.transform import Rotation, Slerp

rng = np.random.default_rng(0)
QUATS = rng.standard_normal((5, 4)).astype("float32")
SEQUENCES = ["".join(s) for s in itertools.product("xyz", repeat=3) if s[0] != s[1] != s[2]]
FORMS = {
    "as_matrix": (),
    "as_rotvec": (),
    "as_rotvec, degrees": (True,),
    "as_mrp": (),
    "as_quat": (),
    "as_quat, canonical": (True,),
    "as_quat, scalar first": (True, True),
    "magnitude": (),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(form):
    name, arguments = form.partition(",")[0], FORMS[form]
    for quats in (QUATS, QUATS[0]):
        exact = getattr(scipy.spatial.transform.Rotation.from_quat(quats), name)
        expected = exact(**dict(zip(("degrees",) if "rotvec" in name else ("canonical", "scalar_first"), arguments)))

        def ours(quats):
            return getattr(Rotation.from_quat(quats), name)(*arguments)

        for run in (ours, pb.jit(ours)):
            close(run(quats), np.asarray(expected, "float32"), 20)
    check_derivative(lambda quats: getattr(Rotation.from_quat(quats), name)(*arguments) / 100, QUATS)


def test_ways_in():
    r = Rotation.from_quat(QUATS)
    matrices = r.as_matrix()
    for way in ("matrix", "rotvec", "mrp"):
        back = getattr(Rotation, f"from_{way}")(getattr(r, f"as_{way}")())
        close(back.as_matrix(), np.asarray(matrices), 10)
    close(Rotation.from_rotvec(r.as_rotvec(True), True).as_matrix(), np.asarray(matrices), 10)
    # each of the four components is the largest once
    halves = np.array([[1, 0, 0, 0.1], [0, 1, 0.1, 0], [0, 0.1, 1, 0], [0.1, 0, 0, 1]], "float32")
    close(
        Rotation.from_matrix(Rotation.from_quat(halves).as_matrix()).quat, np.asarray(Rotation.from_quat(halves).quat)
    )
    check_derivative(lambda v: Rotation.from_rotvec(v).as_matrix(), rng.standard_normal((3, 3)).astype("float32"))
    check_derivative(lambda m: Rotation.from_matrix(m).quat, np.asarray(matrices))


def test_no_rotation_has_derivatives():
    turn = pb.jacobian(lambda v: Rotation.from_rotvec(v).as_rotvec())
    for run in (turn, pb.jit(turn)):
        np.testing.assert_allclose(run(np.zeros(3)), np.eye(3), atol=1e-7)
    assert np.isfinite(pb.hessian(lambda v: Rotation.from_rotvec(v).as_rotvec().sum())(np.zeros(3))).all()


@pytest.mark.parametrize("seq", [*SEQUENCES, *(s.upper() for s in SEQUENCES)])
def test_euler_angles(seq):
    exact = scipy.spatial.transform.Rotation.from_quat(QUATS)
    for run in (Rotation.as_euler, pb.jit(Rotation.as_euler, static_argnums=1)):
        close(run(Rotation.from_quat(QUATS), seq), exact.as_euler(seq).astype("float32"), 50)
    angles = rng.uniform(-1, 1, (4, 3)).astype("float32")
    built = Rotation.from_euler(seq, angles)
    close(built.as_matrix(), scipy.spatial.transform.Rotation.from_euler(seq, angles).as_matrix().astype("float32"), 10)
    # two angles of which only the sum, or the difference, is determined
    for middle in (0.0, np.pi) if seq[0] == seq[2] else (-np.pi / 2, np.pi / 2):
        edge = Rotation.from_euler(seq, np.array([0.3, middle, 0.5]))
        with pb.enable_x64():
            edge = Rotation.from_euler(seq, np.array([0.3, middle, 0.5]))
            angles = edge.as_euler(seq)
            assert angles[2] == 0
            np.testing.assert_allclose(Rotation.from_euler(seq, angles).as_matrix(), edge.as_matrix(), atol=1e-7)


def test_one_axis_and_two():
    for seq, angles in (("x", 0.4), ("Y", [0.4]), ("z", [[0.4], [0.5]]), ("xz", [0.4, 0.1])):
        exact = scipy.spatial.transform.Rotation.from_euler(seq, angles, degrees=True).as_quat()
        close(Rotation.from_euler(seq, np.asarray(angles, "float32"), True).quat, exact.astype("float32"))


def test_composition_application_and_mean():
    p, q = Rotation.from_quat(QUATS), Rotation.from_quat(QUATS[::-1])
    vectors = rng.standard_normal((5, 3)).astype("float32")
    other = theirs.Rotation.from_quat(QUATS)
    close((p * q).quat, np.asarray((other * theirs.Rotation.from_quat(QUATS[::-1])).quat))
    for inverse in (False, True):
        close(p.apply(vectors, inverse), np.asarray(other.apply(vectors, inverse)))
        close(p[0].apply(vectors, inverse), np.asarray(other[0].apply(vectors, inverse)))
    close(p.inv().quat, np.asarray(other.inv().quat))
    weights = np.arange(5, dtype="float32")
    exact = scipy.spatial.transform.Rotation.from_quat(QUATS).mean(weights).as_matrix()
    close(p.mean(weights).as_matrix(), exact.astype("float32"), 10)
    close(Rotation.concatenate([p, q]).quat, np.concatenate([p.quat, q.quat]))
    assert len(p) == 5
    assert not p.single
    assert p[1:3].quat.shape == (2, 4)
    assert Rotation.identity().quat.tolist() == [0, 0, 0, 1]
    assert Rotation.identity(3).quat.shape == (3, 4)
    drawn = Rotation.random(pb.random.key(0), 1000).as_matrix()
    assert abs(drawn.mean(0)).max() < 0.1
    check_derivative(lambda quats, v: Rotation.from_quat(quats).apply(v), QUATS, vectors)


def test_slerp():
    times = np.array([0.0, 1, 3, 4, 5], "float32")
    exact = scipy.spatial.transform.Slerp(times, scipy.spatial.transform.Rotation.from_quat(QUATS))
    at = np.array([0.0, 0.5, 1, 2.2, 4.9, 5], "float32")
    slerp = Slerp.init(times, Rotation.from_quat(QUATS))
    close(slerp(at).as_matrix(), exact(at).as_matrix().astype("float32"), 20)
    close(pb.jit(lambda s, t: s(t).as_matrix())(slerp, 2.2), exact(2.2).as_matrix().astype("float32"), 20)
    check_derivative(lambda t, quats: Slerp.init(times, Rotation.from_quat(quats))(t).quat, at[[1, 3, 4]], QUATS)


def test_refusals():
    with pytest.raises(ValueError, match=r"Rotation.from_quat: quat must have shape \(..., 4\), got \(3,\)"):
        Rotation.from_quat(np.ones(3))
    for seq in ("xxy", "xyZ", "", "abc", "xyzx", 3):
        with pytest.raises(ValueError, match="from_euler: seq must name one to three axes"):
            Rotation.from_euler(seq, np.ones(3))
    with pytest.raises(ValueError, match="as_euler: seq must name three axes"):
        Rotation.identity().as_euler("xy")
    with pytest.raises(ValueError, match="angles must have 3 in the last axis"):
        Rotation.from_euler("xyz", np.ones(2))
    with pytest.raises(TypeError, match="a single Rotation has no"):
        len(Rotation.identity())
    with pytest.raises(ValueError, match="rotations must be at least two"):
        Slerp.init(np.zeros(1), Rotation.identity(1))
    with pytest.raises(TypeError, match="rotations must be a Rotation, got"):
        Slerp.init(np.zeros(2), np.zeros((2, 4)))
    assert pb.tree.structure(Rotation(np.ones(4))).num_leaves == 1
    assert pnp.asarray(Rotation.identity().magnitude()) == 0


def test_rotations_by_python_numbers_are_not_weakly_typed():
    turn = Rotation.from_euler("z", 90, degrees=True)
    assert not turn.as_quat().weak_type
    assert not turn.as_matrix().weak_type
