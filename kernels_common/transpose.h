/* y[a, b, c, r] = x[a, b, r, c] for words of one size: a 32 x 32 tile goes through local memory, so that reads and
 * writes both touch consecutive addresses.  One column of padding keeps a tile's columns in different banks. */
KERNEL_ENTRY {
    LOCAL_ARRAY(T, tile, TILE * (TILE + 1));
    const int across = (cols + TILE - 1) / TILE, down = (rows + TILE - 1) / TILE;
    const int id = group_id(0);
    const int c0 = id % across * TILE, r0 = id / across % down * TILE, batch = id / across / down;
    const int a = batch / n1, b = batch % n1;
    const int lane = local_id(0) % TILE, line = local_id(0) / TILE;
    const int from = x_off + a * x_s0 + b * x_s1, to = y_off + a * y_s0 + b * y_s1;
    if (c0 + lane < cols) {
        for (int r = line; r < TILE && r0 + r < rows; r += LINES)
            tile[r * (TILE + 1) + lane] = x[from + (r0 + r) * x_sr + c0 + lane];
    }
    local_barrier();
    if (r0 + lane < rows) {
        for (int c = line; c < TILE && c0 + c < cols; c += LINES)
            y[to + (c0 + c) * y_sc + r0 + lane] = tile[lane * (TILE + 1) + c];
    }
}
