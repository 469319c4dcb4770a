"""Operations close to the compiler's, and control flow: strict about dtypes, with JAX's `lax` names."""
from pullback._higher_order.cond import (
    cond as cond,
    switch as switch,
)
from pullback._higher_order.loops import (
    fori_loop as fori_loop,
    map as map,
    scan as scan,
)
from pullback._higher_order.while_loop import while_loop as while_loop
from pullback._ops.assemble import (
    bitcast_convert_type as bitcast_convert_type,
    broadcasted_iota as broadcasted_iota,
    concatenate as concatenate,
    iota as iota,
    split as split,
)
from pullback._ops.collectives import (
    all_gather as all_gather,
    axis_index as axis_index,
    axis_size as axis_size,
    pmax as pmax,
    pmean as pmean,
    pmin as pmin,
    ppermute as ppermute,
    psum as psum,
)
from pullback._ops.compare import (
    bitwise_and as bitwise_and,
    bitwise_not as bitwise_not,
    bitwise_or as bitwise_or,
    bitwise_xor as bitwise_xor,
    eq as eq,
    ge as ge,
    gt as gt,
    le as le,
    lt as lt,
    ne as ne,
    population_count as population_count,
    select as select,
    shift_left as shift_left,
    shift_right_arithmetic as shift_right_arithmetic,
    shift_right_logical as shift_right_logical,
)
from pullback._ops.computations import (
    reduce as reduce,
    reduce_window as reduce_window,
)
from pullback._ops.conv import (
    ConvDimensionNumbers as ConvDimensionNumbers,
    conv as conv,
    conv_dimension_numbers as conv_dimension_numbers,
    conv_general_dilated as conv_general_dilated,
    conv_transpose as conv_transpose,
    conv_with_general_padding as conv_with_general_padding,
    padtype_to_pads as padtype_to_pads,
)
from pullback._ops.cumulative import (
    cumlogsumexp as cumlogsumexp,
    cummax as cummax,
    cummin as cummin,
    cumprod as cumprod,
    cumsum as cumsum,
)
from pullback._ops.dot import (
    Precision as Precision,
    batch_matmul as batch_matmul,
    dot as dot,
    dot_general as dot_general,
)
from pullback._ops.dynamic_slicing import (
    dynamic_index_in_dim as dynamic_index_in_dim,
    dynamic_slice as dynamic_slice,
    dynamic_slice_in_dim as dynamic_slice_in_dim,
    dynamic_update_index_in_dim as dynamic_update_index_in_dim,
    dynamic_update_slice as dynamic_update_slice,
    dynamic_update_slice_in_dim as dynamic_update_slice_in_dim,
)
from pullback._ops.elementwise import (
    RoundingMethod as RoundingMethod,
    add as add,
    cbrt as cbrt,
    ceil as ceil,
    div as div,
    exp as exp,
    exp2 as exp2,
    expm1 as expm1,
    floor as floor,
    integer_pow as integer_pow,
    is_finite as is_finite,
    log as log,
    log1p as log1p,
    logistic as logistic,
    max as max,
    min as min,
    mul as mul,
    neg as neg,
    pow as pow,
    rem as rem,
    round as round,
    rsqrt as rsqrt,
    sign as sign,
    sqrt as sqrt,
    square as square,
    sub as sub,
)
from pullback._ops.gamma_bessel import (
    bessel_i0e as bessel_i0e,
    bessel_i1e as bessel_i1e,
    betainc as betainc,
    igamma as igamma,
    igammac as igammac,
)
from pullback._ops.gather_numpy import (
    GatherDimensionNumbers as GatherDimensionNumbers,
    GatherScatterMode as GatherScatterMode,
    ScatterDimensionNumbers as ScatterDimensionNumbers,
)
from pullback._ops.gather_scatter import (
    gather as gather,
    scatter as scatter,
    scatter_add as scatter_add,
    scatter_max as scatter_max,
    scatter_min as scatter_min,
    scatter_mul as scatter_mul,
    scatter_sub as scatter_sub,
)
from pullback._ops.identity import stop_gradient as stop_gradient
from pullback._ops.reduce import (
    argmax as argmax,
    argmin as argmin,
    reduce_and as reduce_and,
    reduce_max as reduce_max,
    reduce_min as reduce_min,
    reduce_or as reduce_or,
    reduce_precision as reduce_precision,
    reduce_prod as reduce_prod,
    reduce_xor as reduce_xor,
)
from pullback._ops.shape import (
    broadcast_in_dim as broadcast_in_dim,
    convert_element_type as convert_element_type,
    expand_dims as expand_dims,
    full as full,
    reduce_sum as reduce_sum,
    reshape as reshape,
    squeeze as squeeze,
    transpose as transpose,
)
from pullback._ops.slicing import (
    index_in_dim as index_in_dim,
    pad as pad,
    rev as rev,
    slice as slice,
    slice_in_dim as slice_in_dim,
)
from pullback._ops.sort import (
    sort as sort,
    sort_key_val as sort_key_val,
    top_k as top_k,
)
from pullback._ops.special import (
    clamp as clamp,
    digamma as digamma,
    erf as erf,
    erf_inv as erf_inv,
    erfc as erfc,
    lgamma as lgamma,
    nextafter as nextafter,
    polygamma as polygamma,
    zeta as zeta,
)
from pullback._ops.trig import (
    abs as abs,
    acos as acos,
    acosh as acosh,
    asin as asin,
    asinh as asinh,
    atan as atan,
    atan2 as atan2,
    atanh as atanh,
    complex as complex,
    conj as conj,
    cos as cos,
    cosh as cosh,
    imag as imag,
    real as real,
    sin as sin,
    sinh as sinh,
    tan as tan,
    tanh as tanh,
)
