/* Elementary functions in single precision, written out so that every vendor gives the same answer and CPU
 * compilers, which scalarise some built-ins, keep vectors whole.  Errors over the whole range, in units in the
 * last place: exp 1.1, log 0.9, tanh 1.4, erf 1.3, softplus 1.9, sigmoid 2.4 (tests/kernels/test_math.py holds them to 3).
 * Coefficients are minimax fits of relative error on the intervals named, made for this file.
 *
 * A_FLOAT_MATH(F, I, AS_FLOAT, AS_INT, TO_FLOAT) defines them for a float type F (scalar or
 * vector) and its integer twin; a prelude defines A_FMA. */
#define A_FLOAT_MATH(F, I, AS_FLOAT, AS_INT, TO_FLOAT)                                                        \
    /* e^r = 1 + r + r^2 q(r) on |r| <= ln 2 / 2; the exponent is put together in two steps, so that results  \
     * below 2^-126 and up to the largest float are right.  NaN passes both clamps. */                        \
    A_OVER F a_exp(F x) {                                                                                     \
        x = (x > (F)(89.0f)) ? (F)(89.0f) : x;                                                                \
        x = (x < (F)(-104.0f)) ? (F)(-104.0f) : x;                                                            \
        const F shifted = A_FMA(x, (F)(0x1.715476p+0f), (F)(0x1.8p+23f)); /* integer in the low bits */       \
        const I n = AS_INT(shifted) - (I)(0x4b400000);                                                        \
        const F k = shifted - (F)(0x1.8p+23f);                                                                \
        F r = A_FMA(k, (F)(-0x1.62e4p-1f), x);                                                                \
        r = A_FMA(k, (F)(-0x1.7f7d1cp-20f), r);                                                               \
        F q = A_FMA(r, (F)(0x1.6a2352p-10f), (F)(0x1.123a6cp-7f));                                            \
        q = A_FMA(r, q, (F)(0x1.5558f4p-5f));                                                                 \
        q = A_FMA(r, q, (F)(0x1.55549p-3f));                                                                  \
        q = A_FMA(r, q, (F)(0x1.fffffcp-2f));                                                                 \
        q = A_FMA(r * r, q, r) + (F)(1.0f);                                                                   \
        const I half_n = n >> 1;                                                                              \
        return q * AS_FLOAT((half_n + 127) << 23) * AS_FLOAT((n - half_n + 127) << 23);                       \
    }                                                                                                         \
    /* the same where neither end of the range is near: any x in [-87, 88], and infinity at 89.  1.5 * 2^23 + 127 rounds\
     * to the whole number with the exponent's bias already in it. */                                         \
    A_OVER F a_exp_near(F x) {                                                                                \
        const F shifted = A_FMA(x, (F)(0x1.715476p+0f), (F)(12583039.0f));                                    \
        const F k = shifted - (F)(12583039.0f);                                                               \
        F r = A_FMA(k, (F)(-0x1.62e4p-1f), x);                                                                \
        r = A_FMA(k, (F)(-0x1.7f7d1cp-20f), r);                                                               \
        F q = A_FMA(r, (F)(0x1.6a2352p-10f), (F)(0x1.123a6cp-7f));                                            \
        q = A_FMA(r, q, (F)(0x1.5558f4p-5f));                                                                 \
        q = A_FMA(r, q, (F)(0x1.55549p-3f));                                                                  \
        q = A_FMA(r, q, (F)(0x1.fffffcp-2f));                                                                 \
        q = A_FMA(r * r, q, r) + (F)(1.0f);                                                                   \
        return q * AS_FLOAT(AS_INT(shifted) << 23);                                                           \
    }                                                                                                         \
    /* x with the sign of y, for x that is not negative */                                                    \
    A_OVER F a_signed(F x, F y) { return AS_FLOAT(AS_INT(x) | (AS_INT(y) & (I)(-2147483647 - 1))); }          \
    /* log(1 + f) = f - f^2/2 + f^3 p(f) on [sqrt(1/2) - 1, sqrt(2) - 1] */                                   \
    A_OVER F a_log(F x) {                                                                                     \
        const F scaled = (x < (F)(0x1p-126f)) ? x * (F)(0x1p+23f) : x;                                        \
        const F bias = (x < (F)(0x1p-126f)) ? (F)(-23.0f) : (F)(0.0f);                                        \
        const I bits = AS_INT(scaled);                                                                        \
        const I high = (bits - (I)(0x3f3504f3)) & (I)(-0x800000);                                             \
        const F f = AS_FLOAT(bits - high) - (F)(1.0f);                                                        \
        const F e = TO_FLOAT(high >> 23) + bias;                                                              \
        const F ff = f * f;                                                                                   \
        F p = A_FMA(f, (F)(-0x1.38b58p-4f), (F)(0x1.055b6ap-3f));                                             \
        p = A_FMA(f, p, (F)(-0x1.0d8542p-3f));                                                                \
        p = A_FMA(f, p, (F)(0x1.22da1cp-3f));                                                                 \
        p = A_FMA(f, p, (F)(-0x1.547244p-3f));                                                                \
        p = A_FMA(f, p, (F)(0x1.99a008p-3f));                                                                 \
        p = A_FMA(f, p, (F)(-0x1.000226p-2f));                                                                \
        p = A_FMA(f, p, (F)(0x1.555554p-2f));                                                                 \
        F y = A_FMA(e, (F)(0x1.7f7d1cp-20f), f * ff * p);                                                     \
        y = A_FMA(ff, (F)(-0.5f), y) + f;                                                                     \
        y = A_FMA(e, (F)(0x1.62e4p-1f), y);                                                                   \
        y = (x < (F)(A_INF)) ? y : x;                                                                         \
        y = (x == (F)(0.0f)) ? (F)(-A_INF) : y;                                                               \
        return (x < (F)(0.0f)) ? (F)(A_NAN) : y;                                                              \
    }                                                                                                         \
    /* x + x^3 p(x^2) below 0.625, 1 - 2 / (e^2x + 1) above */                                                \
    A_OVER F a_tanh(F x) {                                                                                    \
        F t = fabs(x);                                                                                        \
        const F xx = x * x;                                                                                   \
        F p = A_FMA(xx, (F)(-0x1.73641ap-8f), (F)(0x1.519c92p-6f));                                           \
        p = A_FMA(xx, p, (F)(-0x1.b827fep-5f));                                                               \
        p = A_FMA(xx, p, (F)(0x1.110692p-3f));                                                                \
        p = A_FMA(xx, p, (F)(-0x1.55553p-2f));                                                                \
        const F small = A_FMA(x * xx, p, x);                                                                  \
        t = (t > (F)(10.0f)) ? (F)(10.0f) : t;                                                                \
        const F large = (F)(1.0f) - (F)(2.0f) / (a_exp_near(t + t) + (F)(1.0f));                              \
        return (t < (F)(0.625f)) ? small : a_signed(large, x);                                                \
    }                                                                                                         \
    /* x + x p(x^2) below 0.9375, 1 - e^-(x + x q(x)) above; from 4 on the result is 1 */                     \
    A_OVER F a_erf(F x) {                                                                                     \
        F t = fabs(x);                                                                                        \
        const F xx = x * x;                                                                                   \
        F p = A_FMA(xx, (F)(-0x1.365968p-11f), (F)(0x1.46500cp-8f));                                          \
        p = A_FMA(xx, p, (F)(-0x1.b6632ap-6f));                                                               \
        p = A_FMA(xx, p, (F)(0x1.ce17a8p-4f));                                                                \
        p = A_FMA(xx, p, (F)(-0x1.8126d4p-2f));                                                               \
        p = A_FMA(xx, p, (F)(0x1.06eba6p-3f));                                                                \
        const F small = A_FMA(x, p, x);                                                                       \
        t = (t > (F)(4.0f)) ? (F)(4.0f) : t;                                                                  \
        F q = A_FMA(t, (F)(-0x1.c209ccp-13f), (F)(0x1.a60c6ep-9f));                                           \
        q = A_FMA(t, q, (F)(-0x1.774adap-6f));                                                                \
        q = A_FMA(t, q, (F)(0x1.af4144p-4f));                                                                 \
        q = A_FMA(t, q, (F)(0x1.457a64p-1f));                                                                 \
        q = A_FMA(t, q, (F)(0x1.073578p-3f));                                                                 \
        const F large = (F)(1.0f) - a_exp_near(-A_FMA(t, q, t));                                              \
        return (xx < (F)(0.87890625f)) ? small : a_signed(large, x);                                          \
    }                                                                                                         \
    A_OVER F a_sigmoid(F x) {                                                                                 \
        F y = (x < (F)(-89.0f)) ? (F)(89.0f) : -x;                                                            \
        y = (y < (F)(-87.0f)) ? (F)(-87.0f) : y;                                                              \
        return (F)(1.0f) / ((F)(1.0f) + a_exp_near(y));                                                       \
    }                                                                                                         \
    /* log(1 + u) for u in [0, 1]: what the sum's rounding lost is added back */                              \
    A_OVER F a_softplus(F x) {                                                                                \
        const F u = a_exp(-fabs(x));                                                                          \
        const F w = u + (F)(1.0f);                                                                            \
        return ((x > (F)(0.0f)) ? x : (F)(0.0f)) + (a_log(w) + (u - (w - (F)(1.0f))) / w);                    \
    }

/* doubles are rare: the built-ins */
#define A_DOUBLE_MATH(T)                                                                                      \
    A_OVER T a_exp(T a) { return exp(a); }                                                                    \
    A_OVER T a_log(T a) { return log(a); }                                                                    \
    A_OVER T a_tanh(T a) { return tanh(a); }                                                                  \
    A_OVER T a_erf(T a) { return erf(a); }                                                                    \
    A_OVER T a_sigmoid(T a) { return (T)(1) / ((T)(1) + exp(-a)); }                                           \
    A_OVER T a_softplus(T a) { return ((a > (T)(0)) ? a : (T)(0)) + log1p(exp(-fabs(a))); }
