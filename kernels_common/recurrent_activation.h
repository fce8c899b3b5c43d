/* Activations of recurrent cells by number (a1400/kernels/recurrent_reference.py); V is float or a vector of floats. */
#define RECURRENT_ACTIVATION(V)                                                       \
    A_OVER V recurrent_activation(V x, int kind, float alpha, float beta, float clip) { \
        if (clip > 0.0f) {                                                            \
            x = x > (V)(clip) ? (V)(clip) : x;                                        \
            x = x < (V)(-clip) ? (V)(-clip) : x;                                      \
        }                                                                             \
        if (kind == 0) return (V)(1.0f) / ((V)(1.0f) + a_exp(-x));                    \
        if (kind == 1) return a_tanh(x);                                              \
        if (kind == 2) return x < (V)(0.0f) ? (V)(0.0f) : x;                          \
        if (kind == 3) return (V)(alpha) * x + (V)(beta);                             \
        if (kind == 4) return x < (V)(0.0f) ? (V)(alpha) * x : x;                     \
        if (kind == 5) return x > (V)(alpha) ? x : (V)(0.0f);                         \
        if (kind == 6) return (V)(alpha) * a_tanh((V)(beta) * x);                     \
        if (kind == 7) {                                                              \
            x = (V)(alpha) * x + (V)(beta);                                           \
            x = x < (V)(0.0f) ? (V)(0.0f) : x;                                        \
            return x > (V)(1.0f) ? (V)(1.0f) : x;                                     \
        }                                                                             \
        if (kind == 8) return x < (V)(0.0f) ? (V)(alpha) * (a_exp(x) - (V)(1.0f)) : x; \
        if (kind == 9) return x / ((V)(1.0f) + a_abs(x));                             \
        return a_softplus(x);                                                         \
    }
