/* What both passes of CTC share: how far a row goes, and the sum of what comes together at a position. */
#define CTC_STEPS (times[row] < 0 ? 0 : times[row] > T_len ? T_len : times[row])
#define CTC_USED (2 * (lengths[row] < 0 ? 0 : lengths[row] > L / 2 ? L / 2 : lengths[row]) + 1)

/* log(exp(a) + exp(b) + exp(c)) */
FN T_r ctc_join(T_r a, T_r b, T_r c) {
    T_r top = b > a ? b : a;
    top = c > top ? c : top;
    const T_r base = top == -A_INF ? (T_r)0 : top;
    return base + a_log(a_exp(a - base) + a_exp(b - base) + a_exp(c - base));
}
