/* The linear maps of Winograd's convolution in one dimension, for scalars and vectors alike: WINO_IN takes the WINO_A =
 * WINO_M + 2 inputs of a tile to as many coefficients, WINO_FILTER takes 3 taps there, WINO_OUT takes the products of both
 * to WINO_M outputs.  A filter's coefficients are its polynomial's values; what they should be divided by is in WINO_OUT.
 * Points of interpolation: 0, 1, -1, infinity for WINO_M = 2; 0, +-sqrt(1/2), +-sqrt(2), infinity for WINO_M = 4, whose
 * rounding error is a fifth of that of the usual 0, +-1, +-2, infinity. */
#if WINO_STRIDE == 2
#define WINO_A 9
#else
#define WINO_A (WINO_M + 2)
#endif
#define WINO_PLANES (WINO_A * WINO_A)
#define WINO_PITCH (WINO_M * WINO_STRIDE) /* inputs from one tile to the next */

#if WINO_STRIDE == 2
/* Of a tile's nine inputs the even ones meet taps 0 and 2, the odd ones tap 1 alone: F(4, 2) at +-1/2, +-3/2, infinity
 * beside four plain products, 9 multiplications in place of 12. */
#define WINO_IN(T, d, r)                                                                                      \
    {                                                                                                         \
        const T d0 = d(0), d2 = d(2), d4 = d(4), d6 = d(6);                                                   \
        const T e1 = d6 - 2.25f * d2, o1 = d4 - 2.25f * d0, e2 = d6 - 0.25f * d2, o2 = d4 - 0.25f * d0;       \
        r(0, e1 + 0.5f * o1);                                                                                 \
        r(1, e1 - 0.5f * o1);                                                                                 \
        r(2, e2 + 1.5f * o2);                                                                                 \
        r(3, e2 - 1.5f * o2);                                                                                 \
        r(4, d(8) - 2.5f * d4 + 0.5625f * d0);                                                                \
        r(5, d(1));                                                                                           \
        r(6, d(3));                                                                                           \
        r(7, d(5));                                                                                           \
        r(8, d(7));                                                                                           \
    }
#define WINO_OUT(T, d, r)                                                                                     \
    {                                                                                                         \
        const T d0 = d(0), d1 = d(1), d2 = d(2), d3 = d(3);                                                   \
        const T s1 = d0 + d1, s2 = d2 + d3, f1 = d0 - d1, f2 = d2 - d3;                                       \
        r(0, d(5) - 0.5f * f1 + 0.16666666667f * f2);                                                         \
        r(1, d(6) + 0.25f * (s2 - s1));                                                                       \
        r(2, d(7) - 0.125f * f1 + 0.375f * f2);                                                               \
        r(3, d(4) + d(8) - 0.0625f * s1 + 0.5625f * s2);                                                      \
    }
#define WINO_FILTER(T, d, r)                                                                                  \
    {                                                                                                         \
        const T d0 = d(0), d1 = d(1), d2 = d(2);                                                              \
        r(0, d0 + 0.5f * d2);                                                                                 \
        r(1, d0 - 0.5f * d2);                                                                                 \
        r(2, d0 + 1.5f * d2);                                                                                 \
        r(3, d0 - 1.5f * d2);                                                                                 \
        r(4, d2);                                                                                             \
        r(5, d1);                                                                                             \
        r(6, d1);                                                                                             \
        r(7, d1);                                                                                             \
        r(8, d1);                                                                                             \
    }
#elif WINO_M == 2
#define WINO_IN(T, d, r)                                                                                      \
    {                                                                                                         \
        const T d0 = d(0), d1 = d(1), d2 = d(2), d3 = d(3);                                                   \
        r(0, d0 - d2);                                                                                        \
        r(1, d1 + d2);                                                                                        \
        r(2, d2 - d1);                                                                                        \
        r(3, d3 - d1);                                                                                        \
    }
#define WINO_OUT(T, d, r)                                                                                     \
    {                                                                                                         \
        const T d0 = d(0), d1 = d(1), d2 = d(2), d3 = d(3);                                                   \
        r(0, d0 + 0.5f * (d1 + d2));                                                                          \
        r(1, 0.5f * (d1 - d2) + d3);                                                                          \
    }
#define WINO_FILTER(T, d, r)                                                                                  \
    {                                                                                                         \
        const T d0 = d(0), d1 = d(1), d2 = d(2), e = d0 + d2;                                                 \
        r(0, d0);                                                                                             \
        r(1, e + d1);                                                                                         \
        r(2, e - d1);                                                                                         \
        r(3, d2);                                                                                             \
    }
#else
#define WINO_R 1.41421356237f /* the outer points; the inner ones are half of it */
#define WINO_THIRD 0.33333333333f
#define WINO_IN(T, d, r)                                                                                      \
    {                                                                                                         \
        const T d0 = d(0), d1 = d(1), d2 = d(2), d3 = d(3), d4 = d(4), d5 = d(5);                             \
        const T e1 = d4 - 2.0f * d2, o1 = d3 - 2.0f * d1, e2 = d4 - 0.5f * d2, o2 = d3 - 0.5f * d1;           \
        r(0, d0 + d4 - 2.5f * d2);                                                                            \
        r(1, e1 + (0.5f * WINO_R) * o1);                                                                      \
        r(2, e1 - (0.5f * WINO_R) * o1);                                                                      \
        r(3, e2 + WINO_R * o2);                                                                               \
        r(4, e2 - WINO_R * o2);                                                                               \
        r(5, d1 + d5 - 2.5f * d3);                                                                            \
    }
#define WINO_OUT(T, d, r)                                                                                     \
    {                                                                                                         \
        const T d0 = d(0), d1 = d(1), d2 = d(2), d3 = d(3), d4 = d(4), d5 = d(5);                             \
        const T s1 = d1 + d2, s2 = d3 + d4, f1 = d1 - d2, f2 = d3 - d4;                                       \
        r(0, d0 - (2.0f * WINO_THIRD) * s1 + (0.5f * WINO_THIRD) * s2);                                       \
        r(1, (0.5f * WINO_R * WINO_THIRD) * (f2 - 2.0f * f1));                                                \
        r(2, WINO_THIRD * (s2 - s1));                                                                         \
        r(3, d5 + (WINO_R * WINO_THIRD) * f2 - (0.5f * WINO_R * WINO_THIRD) * f1);                            \
    }
#define WINO_FILTER(T, d, r)                                                                                  \
    {                                                                                                         \
        const T d0 = d(0), d1 = d(1), d2 = d(2), e1 = d0 + 0.5f * d2, e2 = d0 + 2.0f * d2;                    \
        r(0, d0);                                                                                             \
        r(1, e1 + (0.5f * WINO_R) * d1);                                                                      \
        r(2, e1 - (0.5f * WINO_R) * d1);                                                                      \
        r(3, e2 + WINO_R * d1);                                                                               \
        r(4, e2 - WINO_R * d1);                                                                               \
        r(5, d2);                                                                                             \
    }
#endif
