"""Differential equations: solvers, adaptive steps, adjoints, events, controlled and stochastic equations."""

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr


def _field(t, y, args):
    a, b = args
    return jnp.array([a * y[0] - b * y[0] * y[1], -y[1] + 0.5 * y[0] * y[1] + 0.1 * jnp.sin(t)])


_Y0 = jnp.array([1.5, 1.0])
_ARGS = (jnp.array(1.1), jnp.array(0.7))


def _solve(solver, args=_ARGS, t1=3.0, adaptive=True, **options):
    controller = dfx.PIDController(rtol=1e-5, atol=1e-6) if adaptive else dfx.ConstantStepSize()
    return dfx.diffeqsolve(
        dfx.ODETerm(_field), solver, 0.0, t1, 0.05, _Y0, args, stepsize_controller=controller, max_steps=2048, **options
    )


def explicit_solvers():
    return [_solve(solver()).ys for solver in (dfx.Tsit5, dfx.Dopri5, dfx.Dopri8, dfx.Bosh3, dfx.Heun)]


def fixed_steps():
    return [_solve(solver(), adaptive=False).ys for solver in (dfx.Euler, dfx.Midpoint, dfx.Ralston)]


def implicit_solvers():
    return [_solve(solver(), t1=1.0).ys for solver in (dfx.Kvaerno3, dfx.Kvaerno4, dfx.Kvaerno5)]


def dense_output_and_saving():
    times = jnp.linspace(0.0, 3.0, 5)
    saved = _solve(dfx.Tsit5(), saveat=dfx.SaveAt(ts=times, t0=True, t1=True))
    dense = _solve(dfx.Tsit5(), saveat=dfx.SaveAt(dense=True))
    return saved.ts, saved.ys, dense.evaluate(1.234), dense.derivative(1.234), saved.stats["num_accepted_steps"]


def _loss(args, adjoint):
    return jnp.sum(_solve(dfx.Tsit5(), args, adjoint=adjoint).ys ** 2)


def checkpointed_adjoint():
    grad = jax.jit(jax.grad(lambda args: _loss(args, dfx.RecursiveCheckpointAdjoint(checkpoints=8))))
    return grad(_ARGS)


def direct_adjoint():
    return jax.grad(lambda args: _loss(args, dfx.DirectAdjoint()))(_ARGS)


def backsolve_adjoint():
    return jax.grad(lambda args: _loss(args, dfx.BacksolveAdjoint()))(_ARGS)


def forward_mode():
    return jax.jacfwd(lambda args: _loss(args, dfx.ForwardMode()))(_ARGS)


def second_order():
    return jax.jacfwd(jax.grad(lambda a: _loss((a, _ARGS[1]), dfx.DirectAdjoint())))(_ARGS[0])


def neural_ode():
    class Func(eqx.Module):
        mlp: eqx.nn.MLP

        def __call__(self, t, y, args):
            return self.mlp(y)

    func = Func(eqx.nn.MLP(2, 2, 8, 1, activation=jnp.tanh, key=jr.PRNGKey(0)))
    times = jnp.linspace(0.0, 1.0, 4)
    starts = jr.normal(jr.PRNGKey(1), (3, 2))

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(func):
        def one(y0):
            controller = dfx.PIDController(rtol=1e-4, atol=1e-6)
            solution = dfx.diffeqsolve(
                dfx.ODETerm(func), dfx.Tsit5(), 0.0, 1.0, 0.1, y0, saveat=dfx.SaveAt(ts=times),
                stepsize_controller=controller,
            )  # fmt: skip
            return jnp.sum((solution.ys - 1.0) ** 2)

        return jnp.mean(jax.vmap(one)(starts))

    values = []
    for _ in range(5):
        value, grads = loss(func)
        values.append(value)
        func = eqx.apply_updates(func, jax.tree.map(lambda g: -0.1 * g, grads))
    return values


def an_event():
    event = dfx.Event(lambda t, y, args, **kw: y[0] - 2.0)
    solution = dfx.diffeqsolve(
        dfx.ODETerm(_field), dfx.Tsit5(), 0.0, 10.0, 0.05, _Y0, _ARGS, event=event, max_steps=2048,
        stepsize_controller=dfx.PIDController(rtol=1e-6, atol=1e-6),
    )  # fmt: skip
    return solution.ts, solution.ys


def event_with_root_finding():
    import optimistix as optx

    def hit(args):
        event = dfx.Event(lambda t, y, args, **kw: y[0] - 2.0, optx.Newton(1e-6, 1e-6, optx.rms_norm))
        return dfx.diffeqsolve(
            dfx.ODETerm(_field), dfx.Tsit5(), 0.0, 10.0, 0.05, _Y0, args, event=event, max_steps=2048,
            stepsize_controller=dfx.PIDController(rtol=1e-6, atol=1e-6),
        ).ts[0]  # fmt: skip

    return hit(_ARGS), jax.grad(hit)(_ARGS)


def steady_state():
    solution = dfx.diffeqsolve(
        dfx.ODETerm(lambda t, y, args: args - y), dfx.Kvaerno5(), 0.0, jnp.inf, 0.1, jnp.array([3.0, -1.0]),
        jnp.array([1.0, 2.0]), event=dfx.Event(dfx.steady_state_event()), max_steps=2048,
        stepsize_controller=dfx.PIDController(rtol=1e-4, atol=1e-5),
    )  # fmt: skip
    return solution.ys


def controlled_equation():
    ts = jnp.linspace(0.0, 1.0, 6)
    xs = jnp.stack([ts, jnp.sin(4 * ts)], axis=-1)
    path = dfx.CubicInterpolation(ts, dfx.backward_hermite_coefficients(ts, xs))
    term = dfx.ControlTerm(lambda t, y, args: jnp.outer(jnp.tanh(y), args), path).to_ode()
    solution = dfx.diffeqsolve(term, dfx.Tsit5(), 0.0, 1.0, 0.05, jnp.array([0.5, 1.0]), jnp.array([1.0, 0.5]))
    return solution.ys, path.evaluate(0.33), dfx.LinearInterpolation(ts, xs).evaluate(0.33)


def stochastic_equation():
    path = dfx.VirtualBrownianTree(0.0, 1.0, tol=1e-3, shape=(2,), key=jr.PRNGKey(0))
    terms = dfx.MultiTerm(
        dfx.ODETerm(lambda t, y, args: -y), dfx.ControlTerm(lambda t, y, args: 0.1 * jnp.diag(1 + y**2), path)
    )
    results = [
        dfx.diffeqsolve(terms, solver(), 0.0, 1.0, 0.02, _Y0, max_steps=256).ys
        for solver in (dfx.Euler, dfx.EulerHeun, dfx.Heun)
    ]
    return results, path.evaluate(0.2, 0.7)


def unsafe_brownian_path():
    path = dfx.UnsafeBrownianPath(shape=(2,), key=jr.key(3))
    noise = dfx.ControlTerm(lambda t, y, args: 0.1 * jnp.eye(2), path)
    terms = dfx.MultiTerm(dfx.ODETerm(lambda t, y, args: -y), noise)
    solution = dfx.diffeqsolve(terms, dfx.Euler(), 0.0, 1.0, 0.05, _Y0, adjoint=dfx.DirectAdjoint(), max_steps=64)
    return solution.ys


def many_at_once():
    def f(y0):
        return dfx.diffeqsolve(
            dfx.ODETerm(_field), dfx.Tsit5(), 0.0, 2.0, 0.05, y0, _ARGS, max_steps=512,
            stepsize_controller=dfx.PIDController(rtol=1e-5, atol=1e-6),
        ).ys  # fmt: skip

    return jax.jit(jax.vmap(f))(jnp.stack([_Y0, 2 * _Y0, 0.5 * _Y0]))


def symplectic():
    terms = (dfx.ODETerm(lambda t, p, args: p), dfx.ODETerm(lambda t, q, args: -q))
    return dfx.diffeqsolve(terms, dfx.SemiImplicitEuler(), 0.0, 2.0, 0.05, (jnp.array(1.0), jnp.array(0.0))).ys


def steps_that_end_at_given_points():
    controller = dfx.ClipStepSizeController(dfx.PIDController(rtol=1e-4, atol=1e-5), step_ts=jnp.array([0.5, 1.5]))
    return dfx.diffeqsolve(
        dfx.ODETerm(_field), dfx.Tsit5(), 0.0, 2.0, 0.05, _Y0, _ARGS, stepsize_controller=controller
    ).ys
