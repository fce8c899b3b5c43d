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

FN void turn(GPTR(const T) from, int x_stride, GPTR(T) to, int y_stride) {
    V p[16], q[16];
    UNROLL
    for (int i = 0; i < 16; i++) p[i] = vload16(0, from + i * x_stride);
    UNROLL
    for (int i = 0; i < 8; i++) q[2 * i] = LOW(p[i], p[i + 8]), q[2 * i + 1] = HIGH(p[i], p[i + 8]);
    UNROLL
    for (int i = 0; i < 8; i++) p[2 * i] = LOW(q[i], q[i + 8]), p[2 * i + 1] = HIGH(q[i], q[i + 8]);
    UNROLL
    for (int i = 0; i < 8; i++) q[2 * i] = LOW(p[i], p[i + 8]), q[2 * i + 1] = HIGH(p[i], p[i + 8]);
    UNROLL
    for (int i = 0; i < 8; i++) p[2 * i] = LOW(q[i], q[i + 8]), p[2 * i + 1] = HIGH(q[i], q[i + 8]);
    UNROLL
    for (int i = 0; i < 16; i++) vstore16(p[i], 0, to + i * y_stride);
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
