/* One step of a recurrent layer backwards, for a unit or a vector of units.
 *
 * RECURRENT_SLOPE(V) defines the activations' derivatives.  RECURRENT_CELL and RECURRENT_BACK are bodies of loops over
 * `unit` in the kernels: LOAD and STORE move V between registers and T, READ and WRITE between registers and floats.
 * They use the kernel's parameters, and d, row, and where this step's rows begin: pre_at in pre and dpre, at in h, dy
 * and c, before_at in c for the step before (-1: c0), state_at in state. */
#define RECURRENT_SLOPE(V)                                                                                    \
    A_OVER V recurrent_slope(V x, int kind, float alpha, float beta, float clip) {                            \
        V y = (V)(alpha); /* 3: affine */                                                                     \
        if (kind == 0 || kind == 10) {                                                                        \
            const V s = a_sigmoid(x);                                                                         \
            y = kind == 0 ? s * ((V)(1.0f) - s) : s;                                                          \
        }                                                                                                     \
        if (kind == 1 || kind == 6) {                                                                         \
            const V t = a_tanh(kind == 6 ? (V)(beta) * x : x);                                                \
            y = (V)(kind == 6 ? alpha * beta : 1.0f) * ((V)(1.0f) - t * t);                                   \
        }                                                                                                     \
        if (kind == 2) y = x > (V)(0.0f) ? (V)(1.0f) : (V)(0.0f);                                             \
        if (kind == 4) y = x < (V)(0.0f) ? (V)(alpha) : (V)(1.0f);                                            \
        if (kind == 5) y = x > (V)(alpha) ? (V)(1.0f) : (V)(0.0f);                                            \
        if (kind == 7) {                                                                                      \
            const V u = (V)(alpha) * x + (V)(beta);                                                           \
            y = u > (V)(0.0f) ? (V)(alpha) : (V)(0.0f);                                                       \
            y = u < (V)(1.0f) ? y : (V)(0.0f);                                                                \
        }                                                                                                     \
        if (kind == 8) y = x < (V)(0.0f) ? (V)(alpha) * a_exp(x) : (V)(1.0f);                                 \
        if (kind == 9) {                                                                                      \
            const V u = (V)(1.0f) + a_abs(x);                                                                 \
            y = (V)(1.0f) / (u * u);                                                                          \
        }                                                                                                     \
        if (clip > 0.0f) y = a_abs(x) > (V)(clip) ? (V)(0.0f) : y;                                            \
        return y;                                                                                             \
    }

/* activations f, g, h of the kernel's parameters, and their derivatives; h goes unclipped */
#define ACT_F(x) recurrent_activation(x, act_f, alpha_f, beta_f, clip)
#define ACT_G(x) recurrent_activation(x, act_g, alpha_g, beta_g, clip)
#define ACT_H(x) recurrent_activation(x, act_h, alpha_h, beta_h, 0.0f)
#define SLOPE_F(x) recurrent_slope(x, act_f, alpha_f, beta_f, clip)
#define SLOPE_G(x) recurrent_slope(x, act_g, alpha_g, beta_g, clip)
#define SLOPE_H(x) recurrent_slope(x, act_h, alpha_h, beta_h, 0.0f)

/* the inputs of an lstm's gates but for o's, and the cell state before the step */
#define RECURRENT_LSTM(V, LOAD)                                                                               \
    V before = (V)(0.0f), peep_i = before, peep_f = before;                                                   \
    if (before_at >= 0)                                                                                       \
        before = LOAD(c, before_at + unit);                                                                   \
    else if (has_c0)                                                                                          \
        before = LOAD(c0, (d * B + row) * H + unit);                                                          \
    if (has_peep) {                                                                                           \
        peep_i = LOAD(peep, d * 3 * H + unit);                                                                \
        peep_f = LOAD(peep, (d * 3 + 2) * H + unit);                                                          \
    }                                                                                                         \
    const V in_i = LOAD(pre, pre_at + unit) + peep_i * before;                                                \
    const V in_f = LOAD(pre, pre_at + 2 * H + unit) + peep_f * before;                                        \
    const V in_g = LOAD(pre, pre_at + 3 * H + unit);                                                          \
    const V i = ACT_F(in_i), g = ACT_G(in_g);                                                                 \
    const V f = input_forget ? (V)(1.0f) - i : ACT_F(in_f);

#define RECURRENT_CELL(V, LOAD, STORE)                                                                        \
    {                                                                                                         \
        RECURRENT_LSTM(V, LOAD)                                                                               \
        STORE(c, at + unit, f * before + i * g);                                                              \
    }

#define RECURRENT_BACK(V, LOAD, STORE, READ, WRITE)                                                           \
    {                                                                                                         \
        const V dh = READ(state, state_at + unit) + LOAD(dy, at + unit);                                      \
        if (kind == 0) {                                                                                      \
            RECURRENT_LSTM(V, LOAD)                                                                           \
            const V after = LOAD(c, at + unit);                                                               \
            const V peep_o = has_peep ? LOAD(peep, (d * 3 + 1) * H + unit) : (V)(0.0f);                       \
            const V in_o = LOAD(pre, pre_at + H + unit) + peep_o * after;                                     \
            const V d_o = dh * ACT_H(after) * SLOPE_F(in_o);                                                  \
            const V dc = READ(state, state_at + H + unit) + dh * ACT_F(in_o) * SLOPE_H(after) + peep_o * d_o; \
            const V d_i = dc * (input_forget ? g - before : g) * SLOPE_F(in_i);                               \
            const V d_f = input_forget ? (V)(0.0f) : dc * before * SLOPE_F(in_f);                             \
            STORE(dpre, pre_at + unit, d_i);                                                                  \
            STORE(dpre, pre_at + H + unit, d_o);                                                              \
            STORE(dpre, pre_at + 2 * H + unit, d_f);                                                          \
            STORE(dpre, pre_at + 3 * H + unit, dc * i * SLOPE_G(in_g));                                       \
            WRITE(state, state_at + unit, (V)(0.0f));                                                         \
            WRITE(state, state_at + H + unit, dc * f + peep_i * d_i + peep_f * d_f);                          \
        } else if (kind == 1) {                                                                               \
            const V in_z = LOAD(pre, pre_at + unit), in_q = LOAD(pre, pre_at + H + unit);                     \
            V in_g = LOAD(pre, pre_at + 2 * H + unit), n = (V)(0.0f);                                         \
            const V z = ACT_F(in_z), q = ACT_F(in_q);                                                         \
            if (linear) {                                                                                     \
                n = LOAD(pre, pre_at + 3 * H + unit);                                                         \
                in_g += q * n;                                                                                \
            }                                                                                                 \
            const V d_g = dh * ((V)(1.0f) - z) * SLOPE_G(in_g);                                               \
            STORE(dpre, pre_at + unit, dh * (LOAD(h, at + unit) - ACT_G(in_g)) * SLOPE_F(in_z));              \
            STORE(dpre, pre_at + 2 * H + unit, d_g);                                                          \
            if (linear) {                                                                                     \
                STORE(dpre, pre_at + H + unit, d_g * n * SLOPE_F(in_q));                                      \
                STORE(dpre, pre_at + 3 * H + unit, d_g * q);                                                  \
            }                                                                                                 \
            WRITE(state, state_at + unit, dh * z);                                                            \
        } else {                                                                                              \
            STORE(dpre, pre_at + unit, dh * SLOPE_F(LOAD(pre, pre_at + unit)));                               \
            WRITE(state, state_at + unit, (V)(0.0f));                                                         \
        }                                                                                                     \
    }

/* a gru whose reset gate comes before the product: `sum` is what the candidate's inputs send back to q * h */
#define RECURRENT_RESET(V, LOAD, STORE, READ, WRITE, sum)                                                     \
    {                                                                                                         \
        const V in_q = LOAD(pre, pre_at + H + unit);                                                          \
        STORE(dpre, pre_at + H + unit, (sum) * LOAD(h, at + unit) * SLOPE_F(in_q));                           \
        WRITE(state, state_at + unit, READ(state, state_at + unit) + (sum) * ACT_F(in_q));                    \
    }

/* inputs of a unit's gates; how many of them the hidden state reaches by r alone; and where among the inputs is r's `gate` */
#define PARTS (kind == 0 ? 4 : kind == 1 ? 3 + linear : 1)
#define STEP_GATES (kind == 0 ? 4 : kind == 1 ? 2 + linear : 1)
#define PART_OF(gate) (kind == 1 && gate == 2 ? 3 : gate)

/* the time of a step, for rows of `length` steps */
#define STEP_TIME(step) (back ? length - 1 - (step) : (step))
#define STEP_ROW(time) ((d * T_len + (time)) * B + row)
