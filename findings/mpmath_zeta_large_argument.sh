#!/usr/bin/env bash
# mpmath 1.3.0: zeta(34, 311), the Hurwitz zeta function, has 7 right digits at 15 digits of precision, 8 at 30 and 10 at
# 50, and nsum of its terms is off by a third. The guess was that mpmath's results hold to the precision that is set, which
# is why it serves as the reference of tests. The terms are positive and fall fast: their sum to where they vanish is the
# value, and scipy.special.zeta agrees with it. benchmarks/accuracy/ adds digits until two evaluations agree.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/in_environment.sh"

in_environment mpmath==1.3.0 <<'PY'
import mpmath
from mpmath import mp, mpf

print("mpmath", mpmath.__version__)
mp.dps = 60
a, s = mpf(311), 34
head = sum((a + k) ** -s for k in range(20000))
value = head + (a + 20000) ** (1 - s) / (s - 1)  # what is left is below 1e-145
print("by its terms      ", mpmath.nstr(value, 25))
for digits, at_most in ((15, 8), (30, 9), (50, 12)):
    mp.dps = digits
    found = mpmath.zeta(s, a)
    mp.dps = 60
    right = -mpmath.log10(abs(found / value - 1))
    print(f"zeta, {digits} digits set", mpmath.nstr(found, 25), f"({float(right):.1f} digits right)")
    assert right < at_most, "zeta is right now"
summed = mpmath.nsum(lambda k: (k + a) ** -s, [0, mpmath.inf])
print("nsum              ", mpmath.nstr(summed, 25))
assert abs(summed / value - 1) > 0.1, "nsum is right now"
PY
