"""Rules for functions of containers: tuples, lists, dicts, namedtuples, and any nesting of them.

Wherever a rule meets a value, a tangent or a cotangent, it meets it in the container the function uses:
tangents come and go in the shape of the values, and the cotangents a backward half returns have the shape
of the arguments.
"""

from typing import NamedTuple

from claims import section, show

import pullback.numpy as pnp
from pullback import custom_jvp, custom_vjp, grad


class Point(NamedTuple):
    x: float
    y: float


def used_part(features):
    """A number out of the dict, in which y plays no part."""
    return features["a"] + features["b"][0]


SINE = "Array(0.84147096, dtype=float32, weak_type=True)"
COSINE = "Array(-0.41614684, dtype=float32, weak_type=True)"
here = Point(1.0, 2.0)


section("A namedtuple to a dict with a tuple in it, with a JVP rule")


@custom_jvp
def features(point):
    return {"a": point.x**2, "b": (pnp.sin(point.x), pnp.cos(point.y))}


@features.defjvp
def features_jvp(primals, tangents):
    (point,) = primals
    (point_dot,) = tangents
    tangent = {
        "a": 2 * point.x * point_dot.x,
        "b": (pnp.cos(point.x) * point_dot.x, -pnp.sin(point.y) * point_dot.y),
    }
    return features(point), tangent


# Outside of any transformation the function gets what it was called with: 1. ** 2 remains a Python float.
show("features(Point(1., 2.))", features(here), f"{{'a': 1.0, 'b': ({SINE}, {COSINE})}}")
show(
    "grad(used_part of features)(Point(1., 2.))",
    grad(lambda point: used_part(features(point)))(here),
    "Point(x=Array(2.5403023, dtype=float32, weak_type=True), y=Array(0., dtype=float32, weak_type=True))",
)


section("The same function with a VJP rule")


@custom_vjp
def features_reverse(point):
    return {"a": point.x**2, "b": (pnp.sin(point.x), pnp.cos(point.y))}


def features_fwd(point):
    # The residuals may be containers too.
    return features_reverse(point), point


def features_bwd(point, out_bar):
    a_bar, (sin_bar, cos_bar) = out_bar["a"], out_bar["b"]
    x_bar = 2 * point.x * a_bar + pnp.cos(point.x) * sin_bar
    y_bar = -pnp.sin(point.y) * cos_bar
    return (Point(x_bar, y_bar),)


features_reverse.defvjp(features_fwd, features_bwd)

show("features_reverse(Point(1., 2.))", features_reverse(here), f"{{'a': 1.0, 'b': ({SINE}, {COSINE})}}")
# The unused cosine has the cotangent 0., and -sin(2.) * 0. is the negative zero.
show(
    "grad(used_part of features_reverse)(here)",
    grad(lambda point: used_part(features_reverse(point)))(here),
    "Point(x=Array(2.5403023, dtype=float32, weak_type=True), y=Array(-0., dtype=float32, weak_type=True))",
)
