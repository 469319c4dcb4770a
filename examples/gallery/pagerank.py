"""Who gains by a link: the derivative of a ranking of pages by all of its links at once.

The rank of a page is the share of time that a reader who follows links at random spends there (Page et al. 1998), a
linear fixed point. `implicit.fixed_point` gives its gradient, one number for each pair of pages: how much the first
page of the list would gain by a stronger link.
"""

import numpy as np

import pullback as pb
import pullback.numpy as pnp

PAGES, FOLLOW = 30, 0.85


def ranks(links):
    """The shares, for a matrix of the strengths of links from row to column."""
    moves = links / links.sum(1, keepdims=True)
    return pb.implicit.fixed_point(lambda r: FOLLOW * r @ moves + (1.0 - FOLLOW) / PAGES, pnp.full(PAGES, 1.0 / PAGES))


def rank_of_first(links):
    """That of page 0."""
    return ranks(links)[0]


def run():
    """A random web, the gains, and what the best new link brings when it is set."""
    random = np.random.default_rng(0)
    links = 0.01 + (random.uniform(size=(PAGES, PAGES)) < 0.12 * (1.0 + np.arange(PAGES) / 10.0))
    with pb.enable_x64():
        before, gains = pb.jit(pb.value_and_grad(rank_of_first))(links)
        gains = np.asarray(gains)
        source, target = np.unravel_index(np.argmax(gains), gains.shape)
        changed = links.copy()
        changed[source, target] += 1.0
        after = rank_of_first(changed)
    return {"links": links, "gains": gains, "from": source, "to": target, "before": before, "after": after}


def draw(axes, result):
    """The gains, page by page."""
    size = abs(result["gains"]).max()
    axes.imshow(result["gains"], cmap="RdBu", vmin=-size, vmax=size)
    axes.set_xlabel("link to")
    axes.set_ylabel("link from")
