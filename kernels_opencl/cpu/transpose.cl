/* y[a, b, c, r] = x[a, b, r, c]: a work-item takes a block of BLOCK x BLOCK, in squares of 16 x 16 that are turned
 * in registers.  Pairing vector i with vector i + 8 lane by lane, four times over, is a transposition. */
#define A_JOIN_(a, b) a##b
#define A_JOIN(a, b) A_JOIN_(a, b)
#define V A_JOIN(T, 16)
#define LOW(a, b)                                                                                             \
    ((V)((a).s0, (b).s0, (a).s1, (b).s1, (a).s2, (b).s2, (a).s3, (b).s3, (a).s4, (b).s4, (a).s5, (b).s5, (a).s6,     \
         (b).s6, (a).s7, (b).s7))
#define HIGH(a, b)                                                                                            \
    ((V)((a).s8, (b).s8, (a).s9, (b).s9, (a).sa, (b).sa, (a).sb, (b).sb, (a).sc, (b).sc, (a).sd, (b).sd, (a).se,     \
         (b).se, (a).sf, (b).sf))

/* written out: Intel's compiler keeps arrays of vectors in memory */
#define READ(k) const V a##k = vload16(0, from + 0x##k * x_stride);
#define PAIR(to, s, i, j, l, h) const V to##l = LOW(s##i, s##j), to##h = HIGH(s##i, s##j);
#define STEP(to, s)                                                                                           \
    PAIR(to, s, 0, 8, 0, 1)                                                                                    \
    PAIR(to, s, 1, 9, 2, 3)                                                                                    \
    PAIR(to, s, 2, a, 4, 5)                                                                                    \
    PAIR(to, s, 3, b, 6, 7)                                                                                    \
    PAIR(to, s, 4, c, 8, 9)                                                                                    \
    PAIR(to, s, 5, d, a, b)                                                                                    \
    PAIR(to, s, 6, e, c, d)                                                                                    \
    PAIR(to, s, 7, f, e, f)
#define WRITE(k) vstore16(e##k, 0, to + 0x##k * y_stride);

FN void turn(GPTR(const T) from, int x_stride, GPTR(T) to, int y_stride) {
    READ(0) READ(1) READ(2) READ(3) READ(4) READ(5) READ(6) READ(7)
    READ(8) READ(9) READ(a) READ(b) READ(c) READ(d) READ(e) READ(f)
    STEP(b, a)
    STEP(c, b)
    STEP(d, c)
    STEP(e, d)
    WRITE(0) WRITE(1) WRITE(2) WRITE(3) WRITE(4) WRITE(5) WRITE(6) WRITE(7)
    WRITE(8) WRITE(9) WRITE(a) WRITE(b) WRITE(c) WRITE(d) WRITE(e) WRITE(f)
}

KERNEL_ENTRY {
    const int across = (cols + BLOCK - 1) / BLOCK, down = (rows + BLOCK - 1) / BLOCK;
    const int id = group_id(0);
    const int c0 = id % across * BLOCK, r0 = id / across % down * BLOCK, batch = id / across / down;
    const int a = batch / n1, b = batch % n1;
    GPTR(const T) from = x + x_off + a * x_s0 + b * x_s1;
    GPTR(T) to = y + y_off + a * y_s0 + b * y_s1;
    const int c1 = min(c0 + BLOCK, cols), r1 = min(r0 + BLOCK, rows);
    int r = r0;
    for (; r + 16 <= r1; r += 16) {
        int c = c0;
        for (; c + 16 <= c1; c += 16) turn(from + r * x_sr + c, x_sr, to + c * y_sc + r, y_sc);
        for (; c < c1; c++) {
            for (int k = 0; k < 16; k++) to[c * y_sc + r + k] = from[(r + k) * x_sr + c];
        }
    }
    for (; r < r1; r++) {
        for (int c = c0; c < c1; c++) to[c * y_sc + r] = from[r * x_sr + c];
    }
}
