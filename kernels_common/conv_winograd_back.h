/* The transposes of WINO_OUT and WINO_FILTER (conv_winograd_transform.h) for WINO_M = 4: the gradient of a tile's outputs
 * to coefficients, and coefficients to the gradient of 3 taps. */
#define WINO_OUT_BACK(T, d, r)                                                                                \
    {                                                                                                         \
        const T d0 = d(0), d1 = d(1), d2 = d(2), d3 = d(3);                                                   \
        const T e1 = (2.0f * WINO_THIRD) * d0 + WINO_THIRD * d2, e2 = (0.5f * WINO_THIRD) * d0 + WINO_THIRD * d2; \
        const T o1 = (WINO_R * WINO_THIRD) * d1 + (0.5f * WINO_R * WINO_THIRD) * d3;                          \
        const T o2 = (0.5f * WINO_R * WINO_THIRD) * d1 + (WINO_R * WINO_THIRD) * d3;                          \
        r(0, d0);                                                                                             \
        r(1, -e1 - o1);                                                                                       \
        r(2, o1 - e1);                                                                                        \
        r(3, e2 + o2);                                                                                        \
        r(4, e2 - o2);                                                                                        \
        r(5, d3);                                                                                             \
    }
#define WINO_FILTER_BACK(T, d, r)                                                                             \
    {                                                                                                         \
        const T d1 = d(1), d2 = d(2), d3 = d(3), d4 = d(4), s1 = d1 + d2, s2 = d3 + d4;                       \
        r(0, d(0) + s1 + s2);                                                                                 \
        r(1, (0.5f * WINO_R) * (d1 - d2) + WINO_R * (d3 - d4));                                               \
        r(2, 0.5f * s1 + 2.0f * s2 + d(5));                                                                   \
    }
