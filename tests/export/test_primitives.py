"""The schema has a place for the primitives of the package, by names that differ, and for their parameters."""

import importlib
import pkgutil

import numpy as np
import pytest
from op_table import TABLE
from test_op_table import DIFFERENTIABLE, PULLBACK, active_function, function

import pullback as pb
import pullback.numpy as pnp
from pullback import export, lax
from pullback._api.primitive_names import AbsentPrimitive
from pullback._core.primitive import Primitive
from pullback._core.printing import format_jaxpr
from pullback.experimental.ode import odeint
from pullback.export._primitives import _MODULE_OF, is_in_schema, primitive_named

# what calls into this process, belongs to a transformation, is made while a program is emitted, or has no meaning
# elsewhere
OUTSIDE = set(
    "add_values after by_parts call_exported custom_backward custom_partitioning custom_remat custom_remat_fwd "
    "custom_remat_rem debug_callback "
    "detach_value direction displace ffi_call follow_key inspect_sharding io_callback largest_number linear_callback "
    "lower_value "
    "pure_callback raise_value ref_get ref_set rule_output tap use_key".split()
)


def all_primitives():
    found = {}
    for module in pkgutil.walk_packages(pb.__path__, "pullback."):
        if "as_jax" in module.name or "example_libraries" in module.name:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Primitive) and not isinstance(value, AbsentPrimitive):
                found[id(value)] = value
    return list(found.values())


def test_every_primitive_has_a_place_or_a_reason():
    missing = [p.name for p in all_primitives() if not is_in_schema(p) and p.name not in OUTSIDE]
    assert missing == [], f"add them to pullback/export/_primitives.py: {missing}"


def test_every_name_is_that_of_a_primitive():
    for name in _MODULE_OF:
        assert primitive_named(name).name == name


def test_primitives_of_users_are_refused_even_under_our_names():
    mine = Primitive("sin")
    mine.abstract_eval = lambda x: x
    mine.kernel = np.cos
    mine.lower = lambda ctx, x: ctx.op("stablehlo.cosine", [x])
    exported = export.export(pb.jit(mine.bind))(pnp.ones(2))
    with pytest.raises(
        NotImplementedError, match=r"the primitive 'sin', applied at .*test_primitives\.py.* has no place"
    ):
        exported.serialize()


def check_program(fun, *args):
    exported = export.export(pb.jit(fun))(*args)
    assert format_jaxpr(export.deserialize(exported.serialize()).program) == format_jaxpr(exported.program)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_operations(row):
    check_program(function(row, PULLBACK), *row.args)


@pytest.mark.parametrize("row", DIFFERENTIABLE[::4], ids=str)
def test_derivatives_of_operations(row):
    fun, args = active_function(row, PULLBACK)

    def total(*xs):
        return sum(pnp.sum(pnp.real(out)) for out in pb.tree.leaves(fun(*xs)))

    check_program(pb.grad(total), *args)


MATRIX = np.diag([1.0, 2.0, 4.0]).astype("float32") + 0.1


@pytest.mark.parametrize("name", ["inv", "det", "cholesky", "pinv", "eigvals", "eigvalsh"])
def test_decompositions(name):
    check_program(getattr(pnp.linalg, name), MATRIX)


def doubled_while_small(x):
    return lax.while_loop(lambda c: c.sum() < 300, lambda c: c * 2, x)


def decay(x):
    return odeint(lambda y, t: -y, x, pnp.linspace(0, 1.0, 3)).sum()


def test_control_flow_and_solvers():
    x = np.array([0.5, 1.0], dtype="float32")
    check_program(doubled_while_small, x)
    check_program(decay, x)
    check_program(pb.grad(decay), x)
    policy = pb.checkpoint_policies.save_only_these_names("kept")
    for chosen in (None, pb.checkpoint_policies.dots_saveable, policy):
        check_program(pb.checkpoint(lambda x: pnp.sin(pnp.sin(x)), policy=chosen), x)


def test_policies_of_users_are_refused():
    def policy(primitive, *types, **params):
        return True

    exported = export.export(pb.jit(pb.checkpoint(pnp.sin, policy=policy)))(1.0)
    with pytest.raises(NotImplementedError, match=r"checkpoint.policy: a parameter of the type function"):
        exported.serialize()
