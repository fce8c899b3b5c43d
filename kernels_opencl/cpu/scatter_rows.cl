/* Rows added up by index: the gradient of an embedding.
 *
 * A work-item owns COLUMNS columns of the rows whose number is its own modulo PARTS, and walks all indices in order: the
 * work is spread evenly over columns however often a row comes, and over rows only where columns are few. */
#include "common/indices.h"

KERNEL_ENTRY {
    const int blocks = (I + COLUMNS - 1) / COLUMNS, parts = group_count(0) / blocks;
    const int first = group_id(0) % blocks * COLUMNS, part = group_id(0) / blocks;
    const int last = min(I, first + COLUMNS), whole = first + (last - first) / 16 * 16;
    for (int p = 0; p < P; p++) {
        const int row = index_placed((long)idx[p], n0, clamp_outside);
        if (row < 0 || (parts > 1 && row % parts != part)) continue;
        GPTR(T) q = y + y_off + row * I;
        GPTR(const T) u = updates + p * I;
        for (int c = first; c < whole; c += 16) T_store_v(q, c, T_load_v(q, c) + T_load_v(u, c));
        for (int c = whole; c < last; c++) T_store(q, c, T_load(q, c) + T_load(u, c));
    }
}
