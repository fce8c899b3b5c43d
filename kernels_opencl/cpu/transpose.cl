/* y[a, b, c, r] = x[a, b, r, c]: a work-item takes a block of BLOCK x BLOCK, in squares of 16 x 16 that are turned
 * in registers. */
#define A_JOIN_(a, b) a##b
#define A_JOIN(a, b) A_JOIN_(a, b)
#define TURN_V A_JOIN(T, 16)
#define TURN_LOAD(p, i) vload16(0, (p) + (i))
#define TURN_STORE(p, i, v) vstore16(v, 0, (p) + (i))
#include "turn.clh"

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
