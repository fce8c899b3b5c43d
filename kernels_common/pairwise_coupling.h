/* Q of a row: see the spec. */
FN float coupled_pair(GPTR(const float) r, int k, int i, int j) {
    if (i != j) return -r[i * k + j] * r[j * k + i];
    float sum = 0.0f;
    for (int m = 0; m < k; m++)
        if (m != i) sum += r[m * k + i] * r[m * k + i];
    return sum;
}

KERNEL_ENTRY {
    const int row = group_id(0) * GROUP + local_id(0);
    if (row >= R) return;
    GPTR(const float) own = r + row * k * k;
    GPTR(float) prob = p + row * k;
    GPTR(float) grad = q + row * k;
    for (int i = 0; i < k; i++) prob[i] = 1.0f / (float)k;
    for (int turn = 0; turn < max(100, k); turn++) {
        float whole = 0.0f, apart = 0.0f;
        for (int i = 0; i < k; i++) {
            float sum = 0.0f;
            for (int j = 0; j < k; j++) sum += coupled_pair(own, k, i, j) * prob[j];
            grad[i] = sum;
            whole += prob[i] * sum;
        }
        for (int i = 0; i < k; i++) apart = fmax(apart, fabs(grad[i] - whole));
        if (apart < 0.005f / (float)k) return;
        for (int t = 0; t < k; t++) {
            const float self = coupled_pair(own, k, t, t);
            const float step = (whole - grad[t]) / self;
            const float scale = 1.0f / (1.0f + step);
            prob[t] += step;
            whole = (whole + step * (step * self + 2.0f * grad[t])) * scale * scale;
            for (int j = 0; j < k; j++) {
                grad[j] = (grad[j] + step * coupled_pair(own, k, t, j)) * scale;
                prob[j] *= scale;
            }
        }
    }
}
