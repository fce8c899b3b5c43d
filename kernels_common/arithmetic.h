/* Arithmetic and limits of both languages: the one text that prelude.clh and prelude.cuh include.
 * A prelude defines FN, A_OVER (an overloadable FN), A_HAS_DOUBLE, A_INF and the uchar..ulong names first. */

#include "common/math.h"

/* ---- arithmetic whose C spelling differs by type, defined for scalars and for vectors of 8 and 16 ---------- */
/* a_fmod(T, T) must be there already */
#define A_FLOAT_OPS(T)                                                                                        \
    A_OVER T a_div(T a, T b) { return a / b; }                                                                \
    A_OVER T a_abs(T a) { return fabs(a); }                                                                   \
    A_OVER T a_sign(T a) { return (a > (T)(0)) ? (T)(1) : ((a < (T)(0)) ? (T)(-1) : a); }                     \
    A_OVER T a_max(T a, T b) { return (a > b) ? a : ((b >= a) ? b : (a + b)); }                               \
    A_OVER T a_min(T a, T b) { return (a < b) ? a : ((b <= a) ? b : (a + b)); }                               \
    A_OVER T a_mod(T a, T b) {                                                                                \
        T r = a_fmod(a, b);                                                                                   \
        return ((r != (T)(0)) && ((r < (T)(0)) != (b < (T)(0)))) ? (r + b) : r;                               \
    }                                                                                                         \
    A_OVER T a_pow(T a, T b) { return pow(a, b); }

#define A_SIGNED_OPS(T)                                                                                       \
    A_OVER T a_div(T a, T b) {                                                                                \
        T safe = ((b == (T)(0)) || (b == (T)(-1))) ? (T)(1) : b; /* both trap on CPUs */                      \
        return (b == (T)(0)) ? (T)(0) : ((b == (T)(-1)) ? -a : a / safe);                                     \
    }                                                                                                         \
    A_OVER T a_abs(T a) { return (a < (T)(0)) ? -a : a; }                                                     \
    A_OVER T a_sign(T a) { return (a > (T)(0)) ? (T)(1) : ((a < (T)(0)) ? (T)(-1) : (T)(0)); }                \
    A_OVER T a_fmod(T a, T b) {                                                                               \
        T safe = ((b == (T)(0)) || (b == (T)(-1))) ? (T)(1) : b;                                              \
        return a % safe;                                                                                      \
    }                                                                                                         \
    A_OVER T a_mod(T a, T b) {                                                                                \
        T r = a_fmod(a, b);                                                                                   \
        return ((r != (T)(0)) && ((r < (T)(0)) != (b < (T)(0)))) ? (r + b) : r;                               \
    }
#define A_UNSIGNED_OPS(T)                                                                                     \
    A_OVER T a_div(T a, T b) { return (b == (T)(0)) ? (T)(0) : a / ((b == (T)(0)) ? (T)(1) : b); }            \
    A_OVER T a_abs(T a) { return a; }                                                                         \
    A_OVER T a_sign(T a) { return (a > (T)(0)) ? (T)(1) : (T)(0); }                                           \
    A_OVER T a_fmod(T a, T b) { return a % ((b == (T)(0)) ? (T)(1) : b); }                                    \
    A_OVER T a_mod(T a, T b) { return a_fmod(a, b); }
#define A_INTEGER_OPS(T)                                                                                      \
    A_OVER T a_max(T a, T b) { return (a > b) ? a : b; }                                                      \
    A_OVER T a_min(T a, T b) { return (a < b) ? a : b; }

#define A_SIGNED_POW(T)                                                                                       \
    A_OVER T a_pow(T a, T b) {                                                                                \
        T r = 1;                                                                                              \
        if (b < 0) return (a == 1) ? 1 : ((a == -1) ? ((b & 1) ? -1 : 1) : 0);                                \
        for (; b > 0; b >>= 1, a *= a)                                                                        \
            if (b & 1) r *= a;                                                                                \
        return r;                                                                                             \
    }
#define A_UNSIGNED_POW(T)                                                                                     \
    A_OVER T a_pow(T a, T b) {                                                                                \
        T r = 1;                                                                                              \
        for (; b > 0; b >>= 1, a *= a)                                                                        \
            if (b & 1) r *= a;                                                                                \
        return r;                                                                                             \
    }

A_OVER float a_fmod(float a, float b) { return fmod(a, b); }
A_FLOAT_OPS(float)
A_SIGNED_OPS(int) A_SIGNED_OPS(long) A_UNSIGNED_OPS(uint) A_UNSIGNED_OPS(ulong)
A_INTEGER_OPS(int) A_INTEGER_OPS(long) A_INTEGER_OPS(uint) A_INTEGER_OPS(ulong)
A_SIGNED_POW(int) A_SIGNED_POW(long) A_UNSIGNED_POW(uint) A_UNSIGNED_POW(ulong)
#ifdef A_HAS_DOUBLE
A_OVER double a_fmod(double a, double b) { return fmod(a, b); }
A_FLOAT_OPS(double)
A_DOUBLE_MATH(double)
#endif

#define a_isinf(x) (fabs(x) == A_INF)
#define a_not(m) (!(m))
#define a_where(c, a, b) ((c) ? (a) : (b))

/* Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011): one word of the
 * block that counter (c0, c1, c2, c3) has under key (k0, k1).  A prelude defines A_MUL_HI. */
#define A_PHILOX(U)                                                                                           \
    A_OVER U a_philox(int word, U c0, U c1, U c2, U c3, U k0, U k1) {                                         \
        for (int i = 0; i < 10; i++) {                                                                        \
            const U high0 = A_MUL_HI((U)(0xd2511f53u), c0), low0 = (U)(0xd2511f53u) * c0;                     \
            const U high1 = A_MUL_HI((U)(0xcd9e8d57u), c2), low1 = (U)(0xcd9e8d57u) * c2;                     \
            c0 = high1 ^ c1 ^ k0;                                                                             \
            c1 = low1;                                                                                        \
            c2 = high0 ^ c3 ^ k1;                                                                             \
            c3 = low0;                                                                                        \
            k0 += (U)(0x9e3779b9u);                                                                           \
            k1 += (U)(0xbb67ae85u);                                                                           \
        }                                                                                                     \
        if (word == 0) return c0;                                                                             \
        if (word == 1) return c1;                                                                             \
        if (word == 2) return c2;                                                                             \
        return c3;                                                                                            \
    }
A_PHILOX(uint)

/* ---- limits, by type name ------------------------------------------------------------------------------- */
#define lowest_f32 (-A_INF)
#define lowest_f64 ((double)(-A_INF))
#define lowest_f16 (-A_INF)
#define lowest_bf16 (-A_INF)
#define lowest_i8 (-128)
#define lowest_i16 (-32768)
#define lowest_i32 (-2147483647 - 1)
#define lowest_i64 (-9223372036854775807L - 1)
#define lowest_u8 0u
#define lowest_u16 0u
#define lowest_u32 0u
#define lowest_u64 0UL
#define lowest_bool 0
#define highest_f32 A_INF
#define highest_f64 ((double)A_INF)
#define highest_f16 A_INF
#define highest_bf16 A_INF
#define highest_i8 127
#define highest_i16 32767
#define highest_i32 2147483647
#define highest_i64 9223372036854775807L
#define highest_u8 255u
#define highest_u16 65535u
#define highest_u32 4294967295u
#define highest_u64 18446744073709551615UL
#define highest_bool 1
