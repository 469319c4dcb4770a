"""Functions with rules that people copy from each other, each with its source, tested in every mode that it has.

Gradients changed on their way (`clip_gradient`, `reverse_gradient`, `with_gradient_of`), straight-through estimators,
functions that are safe at the edge of their domain, projections, soft sorting, smoothed choices, spikes, optimal
transport and quadratic programs. `log(1 - exp(-x))` is `nn.log1mexp`. Guide: `docs/rules.md`.
"""

import typing as _typing

from pullback._core.lazy import attributes as _attributes
from pullback.rules.gradients import clip_gradient as clip_gradient
from pullback.rules.gradients import clip_gradient_norm as clip_gradient_norm
from pullback.rules.gradients import reverse_gradient as reverse_gradient
from pullback.rules.gradients import scale_gradient as scale_gradient
from pullback.rules.gradients import stop_gradient_where as stop_gradient_where
from pullback.rules.gradients import with_gradient_of as with_gradient_of
from pullback.rules.projections import project_l1_ball as project_l1_ball
from pullback.rules.projections import project_l2_ball as project_l2_ball
from pullback.rules.projections import project_orthogonal as project_orthogonal
from pullback.rules.projections import project_simplex as project_simplex
from pullback.rules.projections import soft_threshold as soft_threshold
from pullback.rules.quadratic import QuadraticSolution as QuadraticSolution
from pullback.rules.quadratic import quadratic_program as quadratic_program
from pullback.rules.safe import safe_arccos as safe_arccos
from pullback.rules.safe import safe_arcsin as safe_arcsin
from pullback.rules.safe import safe_divide as safe_divide
from pullback.rules.safe import safe_log as safe_log
from pullback.rules.safe import safe_norm as safe_norm
from pullback.rules.safe import safe_sqrt as safe_sqrt
from pullback.rules.smoothing import perturbed as perturbed
from pullback.rules.smoothing import perturbed_argmax as perturbed_argmax
from pullback.rules.sorting import soft_rank as soft_rank
from pullback.rules.sorting import soft_sort as soft_sort
from pullback.rules.sorting import soft_top_k as soft_top_k
from pullback.rules.spikes import spike as spike
from pullback.rules.straight_through import binarize as binarize
from pullback.rules.straight_through import fake_quantize as fake_quantize
from pullback.rules.straight_through import straight_through as straight_through
from pullback.rules.transport import sinkhorn as sinkhorn

if not _typing.TYPE_CHECKING:
    __getattr__, __dir__ = _attributes(__name__)
