"""A linear map that is applied by two Python functions on the host, one for the map and one for its transpose.

The operands are parameters, in which the map need not be linear, and the vector it is applied to. Its derivative is the
map itself, and its transpose is the same primitive with the two functions exchanged, which covers all orders.
"""

from __future__ import annotations

from pullback._core.primitive import HigherOrder
from pullback._core.trace import is_linear
from pullback._core.zeros import Zero, zero_of
from pullback._higher_order.host.callback import HostFunction, batched_call, batched_function, run_on_host
from pullback._ops.shape import instantiate
from pullback._transforms.vmap import BatchTrace
from pullback._xla.host_calls import emit_host_call

# params: forward and backward, functions of (parameters, vector); num_params; vmap_method
linear_host_call_p = HigherOrder("linear_callback")


def _refuse_parameters(function: HostFunction) -> ValueError:
    return ValueError(
        f"{function.what} of {function.__name__}: a parameter of the map is being differentiated, but "
        "the two functions only tell how it acts on its first argument. For a derivative by "
        "parameters too, use pullback.external with rules."
    )


def _evaluate(*args, forward, **_):
    return run_on_host(forward, args, linear_host_call_p)


def _lower(ctx, *operands, forward, **_):
    return emit_host_call(ctx, forward, operands, forward.out_avals, False)


def _jvp(primals, tangents, forward, num_params, **params):
    if any(type(t) is not Zero for t in tangents[:num_params]):
        raise _refuse_parameters(forward)
    outs = linear_host_call_p.bind(*primals, forward=forward, num_params=num_params, **params)
    moving = tangents[num_params:]
    if all(type(t) is Zero for t in moving):
        return outs, [zero_of(out.aval) for out in outs]
    return outs, linear_host_call_p.bind(
        *primals[:num_params], *map(instantiate, moving), forward=forward, num_params=num_params, **params
    )


def _transpose(cts, *operands, forward, backward, num_params, vmap_method):
    known = operands[:num_params]
    if any(map(is_linear, known)):
        raise _refuse_parameters(forward)
    if all(type(ct) is Zero for ct in cts):
        return [None] * len(operands)
    results = linear_host_call_p.bind(
        *known,
        *map(instantiate, cts),
        forward=backward,
        backward=forward,
        num_params=num_params,
        vmap_method=vmap_method,
    )
    return [*(None for _ in known), *results]


def _batch(trace: BatchTrace, operands, dims, forward, backward, num_params, vmap_method):
    if all(d is None for d in dims):
        outs = linear_host_call_p.bind(
            *operands, forward=forward, backward=backward, num_params=num_params, vmap_method=vmap_method
        )
        return outs, [None] * len(outs)
    # the vector is batched whenever an operand is, so that cotangents and their images are batched alike
    moved = [trace.materialize(x, d) for x, d in zip(operands[num_params:], dims[num_params:], strict=True)]
    all_dims = [*dims[:num_params], *(0 for _ in moved)]
    values, batched = batched_call(trace, forward, [*operands[:num_params], *moved], all_dims, vmap_method)
    back_dims = [*dims[:num_params], *(0 for _ in forward.out_avals)]
    outs = linear_host_call_p.bind(
        *values,
        forward=batched,
        num_params=num_params,
        vmap_method=vmap_method,
        backward=batched_function(trace.size, backward, back_dims, vmap_method),
    )
    return outs, [0] * len(outs)


linear_host_call_p.abstract_eval = lambda *avals, forward, **_: list(forward.out_avals)
linear_host_call_p.evaluate = _evaluate
linear_host_call_p.lower = _lower
linear_host_call_p.jvp = _jvp
linear_host_call_p.transpose = _transpose
linear_host_call_p.batch = _batch
