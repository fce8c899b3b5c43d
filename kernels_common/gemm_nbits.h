/* A group of 32 work-items sums ROWS rows of one column: bytes of the packed column go round among them. */
#define LANES 32

KERNEL_ENTRY {
    LOCAL_ARRAY(float, parts, LANES * ROWS);
    const int lane = local_id(0), each = 8 / bits, blob = block / each, length = blocks * blob;
    const uint mask = (1u << bits) - 1u;
    for (int n = group_id(0); n < N; n += group_count(0)) {
        for (int m0 = group_id(1) * ROWS; m0 < M; m0 += group_count(1) * ROWS) {
            float sums[ROWS];
            for (int r = 0; r < ROWS; r++) sums[r] = 0.0f;
            for (int at = lane; at < length; at += LANES) {
                const int part = at / blob, k0 = at * each;
                const float scale = TS_load(scales, n * blocks + part), zero = TZ_load(zeros, n * z_n + part * z_b);
                const uint packed = (uint)b[n * length + at];
                for (int i = 0; i < each; i++) {
                    if (k0 + i < K) {
                        const float weight = ((float)((packed >> (i * bits)) & mask) - zero) * scale;
                        for (int r = 0; r < ROWS; r++) { /* rows past the end repeat the last one */
                            const int m = m0 + r < M ? m0 + r : M - 1;
                            sums[r] += weight * TA_load(a, a_off + m * a_m + k0 + i);
                        }
                    }
                }
            }
            for (int r = 0; r < ROWS; r++) parts[r * LANES + lane] = sums[r];
            local_barrier();
            if (lane < ROWS && m0 + lane < M) {
                float sum = 0.0f;
                for (int i = 0; i < LANES; i++) sum += parts[lane * LANES + i];
                const int m = m0 + lane;
                TC_store(c, c_off + m * c_m + n, EPILOGUE(sum, 0, m, n));
            }
            local_barrier();
        }
    }
}
