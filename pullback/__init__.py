"""pullback: composable transformations of Python functions, with custom derivative rules you can trust."""
from pullback._api.derivatives import grad as grad
from pullback._api.derivatives import jvp as jvp
from pullback._api.derivatives import linear_transpose as linear_transpose
from pullback._api.derivatives import linearize as linearize
from pullback._api.derivatives import value_and_grad as value_and_grad
from pullback._api.derivatives import vjp as vjp
from pullback._api.inspect import eval_shape as eval_shape
from pullback._api.inspect import make_jaxpr as make_jaxpr
from pullback._api.jacobians import hessian as hessian
from pullback._api.jacobians import jacfwd as jacfwd
from pullback._api.jacobians import jacrev as jacrev
from pullback._api.jit import jit as jit
from pullback._api.vectorize import vmap as vmap
from pullback._core import printing as _printing  # noqa: F401  jaxprs print themselves through it
from pullback._core.array import Array as Array
from pullback._core.config import config as config
from pullback._core.config import enable_x64 as enable_x64
from pullback._core.types import ShapeDtypeStruct as ShapeDtypeStruct
from pullback.custom_derivatives import custom_jvp as custom_jvp
from pullback.custom_derivatives import custom_vjp as custom_vjp

__version__ = "0.1.0"
