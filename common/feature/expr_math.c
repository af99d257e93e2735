/*
 * log and exp by additions, multiplications and divisions alone, in an order of their own: a libm's last bit depends on its version and on
 * the processor (fused multiply-add), and a feature's must not. Within 2 units in the last place (test_expr compares to libm).
 */
#include <math.h>

#include "feature/expr_tree.h"

/* ln 2 in two parts: the first has 32 bits, so that its product with an exponent is exact. */
#define LN2_HIGH 0x1.62e42fee00000p-1
#define LN2_LOW 0x1.a39ef35793c76p-33

/* The polynomial of the coefficients, the last one that of x^1; two chains, for each step waits for the one before. */
static double series(const double *c, size_t n, double x)
{
    double two = x * x, a = 0, b = 0;

    for (size_t i = 0; i + 1 < n; i += 2) {
        a = a * two + c[i];
        b = b * two + c[i + 1];
    }
    return (a * x + b) * x;
}

/* x = 2^e m with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m - 1) / (m + 1), as a series in s^2 < 0.0295. */
double math_log(double x)
{
    int e;
    static const double c[] = {1. / 25, 1. / 23, 1. / 21, 1. / 19, 1. / 17, 1. / 15, 1. / 13, 1. / 11, 1. / 9, 1. / 7, 1. / 5, 1. / 3};
    double m, s, sum, f;

    if (!(x > 0) || !isfinite(x))
        return x == 0 ? -INFINITY : NAN;
    m = frexp(x, &e);
    if (m < 0x1.6a09e667f3bcdp-1) {
        m *= 2;
        e--;
    }
    f = m - 1;
    s = f / (m + 1);
    sum = series(c, ARRAY_LEN(c), s * s);
    /* 2 s = f - s f, so what is rounded is small beside f */
    return e * LN2_HIGH + (f - (s * (f - 2 * sum) - e * LN2_LOW));
}

/* x = k ln 2 + r with |r| <= ln 2 / 2; e^r as a series. */
double math_exp(double x)
{
    static const double c[] = {1. / 1307674368000, 1. / 87178291200, 1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320,
                               1. / 5040,        1. / 720,        1. / 120,       1. / 24,       1. / 6,       1. / 2}; /* 1/15! to 1/2! */
    double k, r;

    if (isnan(x) || x > 710)
        return isnan(x) ? x : INFINITY;
    if (x < -746)
        return 0;
    k = (double)(int)(x * 0x1.71547652b82fep+0 + (x < 0 ? -0.5 : 0.5));
    r = (x - k * LN2_HIGH) - k * LN2_LOW;
    return ldexp(1 + (r + r * series(c, ARRAY_LEN(c), r)), (int)k);
}
