"""Programs that use random keys, once or twice: functions of a namespace with `jax`, `jnp`, `random`, `lax`."""


def drawn_twice(J):
    k = J.random.key(0)
    J.random.normal(k)
    J.random.normal(k)


def split_then_drawn(J):
    k = J.random.key(0)
    J.random.split(k)
    J.random.normal(k)


def folded_in_twice(J):
    k = J.random.key(0)
    J.random.normal(J.random.fold_in(k, 1))
    J.random.normal(J.random.fold_in(k, 1))
    J.random.normal(k)


def folded_in_after_use(J):
    k = J.random.key(0)
    J.random.normal(k)
    J.random.normal(J.random.fold_in(k, 1))


def cloned(J):
    k = J.random.key(0)
    J.random.normal(k)
    J.random.normal(J.random.clone(k))
    J.random.normal(J.random.clone(k))


def raw_key_twice(J):
    k = J.random.PRNGKey(0)
    J.random.normal(k)
    J.random.normal(k)


def data_read(J):
    k = J.random.key(0)
    J.random.key_data(k)
    J.random.normal(k)
    J.random.key_data(k)


def wrapped_anew(J):
    k = J.random.key(0)
    J.random.normal(k)
    J.random.normal(J.random.wrap_key_data(J.random.key_data(k)))


def each_entry(J):
    ks = J.random.split(J.random.key(0), 3)
    J.random.normal(ks[0])
    J.random.normal(ks[1])
    J.random.normal(ks[2])


def one_entry_twice(J):
    ks = J.random.split(J.random.key(0), 3)
    J.random.normal(ks[0])
    J.random.normal(ks[0])


def one_entry_taken_twice(J):
    ks = J.random.split(J.random.key(0), 3)
    a = ks[0]
    b = ks[0]
    J.random.normal(a)
    J.random.normal(b)


def traced_index_twice(J):
    ks = J.random.split(J.random.key(0), 3)
    i = J.jnp.array(0)
    a = ks[i]
    b = ks[i]
    J.random.normal(a)
    J.random.normal(b)


def two_halves(J):
    ks = J.random.split(J.random.key(0), 4)
    a = ks[:2]
    b = ks[2:]
    J.random.normal(a[0])
    J.random.normal(b[0])


def overlapping_slices(J):
    ks = J.random.split(J.random.key(0), 4)
    ks[:2]
    ks[1:]


def iterated(J):
    ks = J.random.split(J.random.key(0), 3)
    for k in ks:
        J.random.normal(k)


def iterated_twice(J):
    ks = J.random.split(J.random.key(0), 3)
    for k in ks:
        J.random.normal(k)
    for k in ks:
        J.random.normal(k)


def unpacked(J):
    k, s = J.random.split(J.random.key(0))
    J.random.normal(s)
    J.random.split(k)


def unpacked_and_indexed(J):
    ks = J.random.split(J.random.key(0))
    a, _b = ks
    J.random.normal(a)
    J.random.normal(ks[1])


def compiled_call_twice(J):
    f = J.jax.jit(lambda k: J.random.normal(k))
    k = J.random.key(0)
    f(k)
    f(k)


def twice_in_compiled(J):
    f = J.jax.jit(lambda k: J.random.normal(k) + J.random.normal(k))
    f(J.random.key(0))


def closed_over_called_twice(J):
    k = J.random.key(0)
    f = J.jax.jit(lambda: J.random.normal(k))
    f()
    f()


def closed_over_then_drawn(J):
    k = J.random.key(0)
    f = J.jax.jit(lambda: J.random.normal(k))
    f()
    J.random.normal(k)


def passed_through(J):
    f = J.jax.jit(lambda k: k)
    k = J.random.key(0)
    j = f(k)
    J.random.normal(k)
    J.random.normal(j)


def passed_through_after_use(J):
    f = J.jax.jit(lambda k: k)
    k = J.random.key(0)
    J.random.normal(k)
    J.random.normal(f(k))


def make_jaxpr_uses_nothing(J):
    k = J.random.key(0)
    J.jax.make_jaxpr(J.random.normal)(k)
    J.random.normal(k)


def eval_shape_uses_nothing(J):
    k = J.random.key(0)
    J.jax.eval_shape(J.random.normal, k)
    J.random.normal(k)


def twice_in_make_jaxpr(J):
    J.jax.make_jaxpr(lambda k: J.random.normal(k) + J.random.normal(k))(J.random.key(0))


def mapped_twice(J):
    ks = J.random.split(J.random.key(0), 3)
    J.jax.vmap(J.random.normal)(ks)
    J.jax.vmap(J.random.normal)(ks)


def twice_in_mapped(J):
    ks = J.random.split(J.random.key(0), 3)
    J.jax.vmap(lambda k: J.random.normal(k) + J.random.normal(k))(ks)


def same_for_all(J):
    k = J.random.key(0)
    J.jax.vmap(lambda x: x + J.random.normal(k))(J.jnp.arange(3.0))


def same_for_all_then_drawn(J):
    k = J.random.key(0)
    J.jax.vmap(lambda x, k: x + J.random.normal(k), in_axes=(0, None))(J.jnp.arange(3.0), k)
    J.random.normal(k)


def branch_then_drawn(J):
    k = J.random.key(0)
    J.lax.cond(True, J.random.normal, lambda k: 0.0, k)
    J.random.normal(k)


def branches_use_nothing(J):
    k = J.random.key(0)
    J.lax.cond(True, lambda k: 1.0, lambda k: 0.0, k)
    J.random.normal(k)


def both_branches(J):
    k = J.random.key(0)

    def f(k):
        return J.random.uniform(k)

    J.lax.cond(True, J.random.normal, f, k)


def branches_split(J):
    k = J.random.key(0)
    r = J.lax.cond(True, lambda k: J.random.split(k)[0], lambda k: J.random.split(k)[1], k)
    J.random.normal(r)


def one_branch_splits(J):
    k = J.random.key(0)
    r = J.lax.cond(True, lambda k: J.random.split(k)[0], lambda k: k, k)
    J.random.normal(r)


def branches_pass_on(J):
    k = J.random.key(0)
    r = J.lax.cond(True, lambda k: k, lambda k: k, k)
    J.random.normal(r)


def branches_pass_on_then_both(J):
    k = J.random.key(0)
    r = J.lax.cond(True, lambda k: k, lambda k: k, k)
    J.random.normal(r)
    J.random.normal(k)


def scan_constant(J):
    k = J.random.key(0)
    J.lax.scan(lambda c, x: (c + J.random.normal(k), None), 0.0, J.jnp.arange(3.0))


def scan_carry_not_split(J):
    J.lax.scan(lambda k, x: (k, J.random.normal(k)), J.random.key(0), J.jnp.arange(3.0))


def scan_carry_split(J):
    def b(k, x):
        k, s = J.random.split(k)
        return k, J.random.normal(s)

    k, _ = J.lax.scan(b, J.random.key(0), J.jnp.arange(3.0))
    J.random.normal(k)


def scan_then_start_key(J):
    k = J.random.key(0)

    def b(k, x):
        k, s = J.random.split(k)
        return k, J.random.normal(s)

    J.lax.scan(b, k, J.jnp.arange(3.0))
    J.random.normal(k)


def scan_over_keys_then_entry(J):
    ks = J.random.split(J.random.key(0), 3)
    J.lax.scan(lambda c, k: (c + J.random.normal(k), None), 0.0, ks)
    J.random.normal(ks[0])


def scan_folds_in(J):
    k = J.random.key(0)
    J.lax.scan(lambda c, i: (c + J.random.normal(J.random.fold_in(k, i)), None), 0.0, J.jnp.arange(3))
    J.random.normal(k)


def while_carry_not_split(J):
    J.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + J.random.normal(s[1]), s[1]), (0.0, J.random.key(0)))


def while_carry_split(J):
    def b(s):
        k, q = J.random.split(s[1])
        return s[0] + abs(J.random.normal(q)) + 0.1, k

    k = J.random.key(0)
    r = J.lax.while_loop(lambda s: s[0] < 3, b, (0.0, k))
    J.random.normal(r[1])


def while_then_start_key(J):
    def b(s):
        k, q = J.random.split(s[1])
        return s[0] + abs(J.random.normal(q)) + 0.1, k

    k = J.random.key(0)
    J.lax.while_loop(lambda s: s[0] < 3, b, (0.0, k))
    J.random.normal(k)


def while_condition_draws(J):
    J.lax.while_loop(lambda s: s[0] + J.random.normal(s[1]) < 3, lambda s: (s[0] + 1, s[1]), (0.0, J.random.key(0)))


def fori_carry_not_split(J):
    J.lax.fori_loop(0, 3, lambda i, c: (c[0] + J.random.normal(c[1]), c[1]), (0.0, J.random.key(0)))


def fori_closed_over(J):
    k = J.random.key(0)
    J.lax.fori_loop(0, 3, lambda i, c: c + J.random.normal(k), 0.0)


def map_twice(J):
    ks = J.random.split(J.random.key(0), 3)
    J.lax.map(J.random.normal, ks)
    J.lax.map(J.random.normal, ks)


def grad_once(J):
    k = J.random.key(0)
    J.jax.grad(lambda x: x * J.random.normal(k))(1.0)


def grad_then_drawn(J):
    k = J.random.key(0)
    J.jax.grad(lambda x: x * J.random.normal(k))(1.0)
    J.random.normal(k)


def grad_of_compiled(J):
    k = J.random.key(0)
    J.jax.grad(J.jax.jit(lambda x, k: x * J.random.normal(k)))(1.0, k)


def grad_of_compiled_twice(J):
    k = J.random.key(0)
    g = J.jax.grad(J.jax.jit(lambda x, k: x * J.random.normal(k)))
    g(1.0, k)
    g(1.0, k)


def checkpoint_once(J):
    k = J.random.key(0)
    J.jax.grad(J.jax.checkpoint(lambda x, k: J.jnp.sin(x * J.random.normal(k))))(1.0, k)


def checkpoint_then_drawn(J):
    k = J.random.key(0)
    J.jax.grad(J.jax.checkpoint(lambda x, k: J.jnp.sin(x * J.random.normal(k))))(1.0, k)
    J.random.normal(k)


def transposed(J):
    ks = J.random.split(J.random.key(0), (2, 3))
    J.random.normal(ks.T[0, 0])


def reshaped(J):
    ks = J.random.split(J.random.key(0), 4)
    r = ks.reshape(2, 2)
    J.random.normal(r[0, 0])


def reshaped_used_then_entry(J):
    ks = J.random.split(J.random.key(0), 4)
    r = ks.reshape(2, 2)
    J.jax.vmap(J.jax.vmap(J.random.normal))(r)
    J.random.normal(ks[0])


def concatenated(J):
    a, b = J.random.split(J.random.key(0), (2, 2))
    c = J.jnp.concatenate([a, b])
    J.jax.vmap(J.random.normal)(c)


def concatenated_then_part(J):
    a, b = J.random.split(J.random.key(0), (2, 2))
    J.jnp.concatenate([a, b])
    J.jax.vmap(J.random.normal)(a)


def stacked(J):
    a, b = J.random.split(J.random.key(0))
    c = J.jnp.stack([a, b])
    J.jax.vmap(J.random.normal)(c)


def entry_set(J):
    ks = J.random.split(J.random.key(0), 3)
    k = J.random.key(1)
    r = ks.at[0].set(k)
    J.random.normal(r[0])


def entry_set_then_drawn(J):
    ks = J.random.split(J.random.key(0), 3)
    k = J.random.key(1)
    ks.at[0].set(k)
    J.random.normal(k)


def compared(J):
    k = J.random.key(0)
    J.random.normal(k)
    bool(k == k)


def custom_vjp_then_drawn(J):
    f = J.jax.custom_vjp(lambda k, x: x * J.random.normal(k))
    f.defvjp(lambda k, x: (f(k, x), x), lambda r, g: (None, g))
    k = J.random.key(0)
    f(k, 1.0)
    J.random.normal(k)


def custom_jvp_then_drawn(J):
    f = J.jax.custom_jvp(lambda x, k: x * J.random.normal(k))
    f.defjvp(lambda p, t: (f(*p), t[0]))
    k = J.random.key(0)
    f(1.0, k)
    J.random.normal(k)


def custom_jvp_compiled_then_drawn(J):
    f = J.jax.custom_jvp(lambda x, k: x * J.random.normal(k))
    f.defjvp(lambda p, t: (f(*p), t[0]))
    k = J.random.key(0)
    J.jax.jit(f)(1.0, k)
    J.random.normal(k)


def permutation_then_drawn(J):
    k = J.random.key(0)
    J.random.permutation(k, 4)
    J.random.normal(k)


def gamma_then_drawn(J):
    k = J.random.key(0)
    J.random.gamma(k, 1.0)
    J.random.normal(k)


def broadcast_entries(J):
    k = J.random.key(0)
    r = J.jnp.broadcast_to(k, (3,))
    J.random.normal(r[0])
    J.random.normal(r[1])


def broadcast_then_drawn(J):
    k = J.random.key(0)
    r = J.jnp.broadcast_to(k, (3,))
    J.random.normal(r[0])
    J.random.normal(k)


def compiled_traced_indices(J):
    J.jax.jit(lambda ks, i, j: J.random.normal(ks[i]) + J.random.normal(ks[j]))(
        J.random.split(J.random.key(0), 3), 0, 1
    )


def compiled_entries(J):
    J.jax.jit(lambda ks: J.random.normal(ks[0]) + J.random.normal(ks[1]))(J.random.split(J.random.key(0), 3))


def compiled_one_entry_twice(J):
    J.jax.jit(lambda ks: J.random.normal(ks[0]) + J.random.normal(ks[0]))(J.random.split(J.random.key(0), 3))


def compiled_iteration_then_entry(J):
    def f(ks):
        return sum(J.random.normal(k) for k in ks)

    ks = J.random.split(J.random.key(0), 3)
    J.jax.jit(f)(ks)
    J.random.normal(ks[0])


def compiled_iteration_and_entry(J):
    def f(ks):
        return sum(J.random.normal(k) for k in ks) + J.random.normal(ks[0])

    J.jax.jit(f)(J.random.split(J.random.key(0), 3))


def compiled_folded_in_twice(J):
    k = J.random.key(0)
    J.jax.jit(
        lambda k: J.random.normal(J.random.fold_in(k, 1)) + J.random.normal(J.random.fold_in(k, 1)) + J.random.normal(k)
    )(k)


def compiled_folded_in_after_use(J):
    k = J.random.key(0)
    J.jax.jit(lambda k: J.random.normal(k) + J.random.normal(J.random.fold_in(k, 1)))(k)


def compiled_split_then_drawn(J):
    k = J.random.key(0)
    r = J.jax.jit(J.random.split)(k)
    J.random.normal(r[0])
    J.random.normal(k)


def compiled_returns_used(J):
    def f(k):
        J.random.normal(k)
        return k

    k = J.random.key(0)
    r = J.jax.jit(f)(k)
    J.random.normal(r)


def compiled_returns_used_part(J):
    def f(k):
        a, _b = J.random.split(k)
        J.random.normal(a)
        return a

    r = J.jax.jit(f)(J.random.key(0))
    J.random.normal(r)


def compiled_calls_compiled_twice(J):
    g = J.jax.jit(J.random.normal)
    J.jax.jit(lambda k: g(k) + g(k))(J.random.key(0))


def drawn_twice_without_jit(J):
    with J.jax.disable_jit():
        k = J.random.key(0)
        J.random.normal(k)
        J.random.normal(k)


def raveled(J):
    ks = J.random.split(J.random.key(0), (2, 2))
    r = ks.ravel()
    J.random.normal(r[0])
    J.random.normal(ks[0, 0])


def tree_map(J):
    k = J.random.key(0)
    k2 = J.jax.tree.map(lambda x: x, k)
    J.random.normal(k)
    J.random.normal(k2)


def one_seed_two_keys(J):
    J.random.normal(J.random.key(0))
    J.random.normal(J.random.key(0))


def split_in_none_then_drawn(J):
    k = J.random.key(0)
    J.random.split(k, 0)
    J.random.normal(k)


def split_twice(J):
    k = J.random.key(0)
    J.random.split(k, (2, 2))
    J.random.split(k)


def one_key_for_two_arguments(J):
    k = J.random.key(0)
    f = J.jax.jit(lambda a, b: J.random.normal(a) + J.random.normal(b))
    f(k, k)


def twice_in_compiled_mapped(J):
    J.jax.jit(J.jax.vmap(lambda k: J.random.normal(k) + J.random.normal(k)))(J.random.split(J.random.key(0), 2))


def branch_closed_over_then_drawn(J):
    k = J.random.key(0)
    J.lax.cond(True, lambda: J.random.normal(k), lambda: 0.0)
    J.random.normal(k)


def switch_then_drawn(J):
    k = J.random.key(0)
    J.lax.switch(1, [J.random.normal, J.random.normal, lambda k: 0.0], k)
    J.random.normal(k)


def bits_twice(J):
    k = J.random.key(0)
    J.random.bits(k)
    J.random.bits(k)


def keys_of_scan_mapped_twice(J):
    ks = J.lax.scan(lambda k, _: tuple(J.random.split(k)), J.random.key(0), None, length=3)[1]
    J.jax.vmap(J.random.normal)(ks)
    J.jax.vmap(J.random.normal)(ks)


def scan_swaps_used_keys(J):
    def b(c, x):
        a, b = c
        J.random.normal(a)
        return (b, J.random.split(b)[0]), 0.0

    J.lax.scan(b, tuple(J.random.split(J.random.key(0))), None, length=3)
