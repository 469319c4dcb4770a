"""The second way to give a derivative: a primitive of your own, with all its rules.

custom_jvp and custom_vjp attach rules to a Python function that pullback can already look into. A function
of another system, such as a solver or a simulator, cannot be looked into: it takes arrays of numbers, not
tracers. Make it a `Primitive`, and say for each transformation what the function means there. A rule that is
missing is only missed by the transformation that needs it.

The function here is ``x * y + z``, computed by NumPy, which plays the other system.
"""

import numpy as np
from claims import section, show, show_error

import pullback.numpy as pnp
from pullback import grad, jit, jvp, vmap
from pullback.extend.core import Primitive, Zero, is_linear

multiply_add_p = Primitive("multiply_add")


def multiply_add(x, y, z):
    """x * y + z for three numbers, or three arrays of one shape."""
    return multiply_add_p.bind(x, y, z)


def square_add(a, b):
    return multiply_add(a, a, b)


def show_missing(expression, action, how):
    """Claim that a rule is missing, and that the error says how to give it."""
    show_error(expression, action, NotImplementedError, how)


section("Evaluation")


@multiply_add_p.def_kernel
def multiply_add_kernel(x, y, z):
    return np.add(np.multiply(x, y), z)


@multiply_add_p.def_abstract_eval
def multiply_add_type(x, y, z):
    """From the types of the operands to the type of the result: what every tracer needs to know."""
    types = {(operand.shape, operand.dtype) for operand in (x, y, z)}
    if len(types) > 1:
        raise TypeError(f"multiply_add needs three operands of one shape and dtype, got {x}, {y} and {z}")
    return x


show("square_add(2., 10.)", square_add(2.0, 10.0), "14.0")
show("square_add([1., 2.], [0., 1.])", square_add(pnp.array([1.0, 2.0]), pnp.array([0.0, 1.0])), "[1. 5.]")


section("Compilation")

# Without a lowering there is nothing for the compiler.
show_missing("jit(square_add)(2., 10.)", lambda: jit(square_add)(2.0, 10.0), "def_lowering")


@multiply_add_p.def_lowering
def multiply_add_lowering(ctx, x, y, z):
    return ctx.op("stablehlo.add", [ctx.op("stablehlo.multiply", [x, y]), z])


show("jit(square_add)(2., 10.)", jit(square_add)(2.0, 10.0), "14.0")


section("Forward differentiation")

show_missing("jvp(square_add, ...)", lambda: jvp(square_add, (2.0, 10.0), (1.0, 1.0)), "def_jvp")


@multiply_add_p.def_jvp
def multiply_add_jvp(primals, tangents):
    """d(x * y + z) = dx * y + x * dy + dz, in multiply_adds, which are linear in the tangents."""
    x, y, z = primals
    x_dot, y_dot, z_dot = (pnp.zeros_like(p) if isinstance(t, Zero) else t for p, t in zip(primals, tangents))
    return multiply_add(x, y, z), multiply_add(x_dot, y, multiply_add(x, y_dot, z_dot))


value, change = jvp(square_add, (2.0, 10.0), (1.0, 1.0))
show("jvp(square_add, (2., 10.), (1., 1.))[0]", value, "14.0")
show("jvp(square_add, (2., 10.), (1., 1.))[1]", change, "5.0")


section("Reverse differentiation")

show_missing("grad(square_add)(2., 10.)", lambda: grad(square_add)(2.0, 10.0), "def_transpose")


@multiply_add_p.def_transpose
def multiply_add_transpose(out_bar, x, y, z):
    """The cotangents of the operands that are linear; the others are known values, and have none."""
    x_bar = out_bar * y if is_linear(x) else None
    y_bar = x * out_bar if is_linear(y) else None
    z_bar = out_bar if is_linear(z) else None
    return x_bar, y_bar, z_bar


show("grad(square_add)(2., 10.)", grad(square_add)(2.0, 10.0), "4.0")
show("grad(square_add, 1)(2., 10.)", grad(square_add, 1)(2.0, 10.0), "1.0")
show("grad(grad(square_add))(2., 10.)", grad(grad(square_add))(2.0, 10.0), "2.0")
show("jit(grad(square_add))(2., 10.)", jit(grad(square_add))(2.0, 10.0), "4.0")


section("Vectorization")

xs, ys = pnp.array([2.0, 3.0]), pnp.array([10.0, 20.0])
show_missing("vmap(square_add)", lambda: vmap(square_add)(xs, ys), "def_batch")


@multiply_add_p.def_batch
def multiply_add_batch(operands, dims):
    """Every operand gets its batch axis in front, repeated along it if it has none."""
    size = next(operand.shape[dim] for operand, dim in zip(operands, dims) if dim is not None)
    in_front = [
        pnp.broadcast_to(operand, (size, *operand.shape)) if dim is None else pnp.moveaxis(operand, dim, 0)
        for operand, dim in zip(operands, dims)
    ]
    return multiply_add(*in_front), 0


show("vmap(square_add)([2., 3.], [10., 20.])", vmap(square_add)(xs, ys), "[14. 29.]")
show("vmap(square_add, (0, None))([2., 3.], 10.)", vmap(square_add, (0, None))(xs, 10.0), "[14. 19.]")
show("vmap(grad(square_add))(...)", vmap(grad(square_add))(xs, ys), "[4. 6.]")
show("jit(vmap(grad(square_add)))(...)", jit(vmap(grad(square_add)))(xs, ys), "[4. 6.]")
