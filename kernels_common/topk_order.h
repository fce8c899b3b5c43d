/* The order of top-k: ITEM names an element of a row and sorts as the element does, best first, ties by index.
 *
 * Elements of up to 32 bits: an item is the element's rank (bits that count up as the value goes down the list) above
 * its index, one ulong that compares as it is.  64-bit elements: an item is the index, and comparing looks them up. */
#define ITEM ulong
#define ITEM_INDEX(a) ((long)((a) & 0xffffffffUL))
#define ITEM_NONE (~0UL) /* after every element */

#if TOPK_WIDE
A_OVER ulong topk_rank(long v) { return (ulong)v ^ 0x8000000000000000UL; }
A_OVER ulong topk_rank(ulong v) { return v; }
#ifdef A_HAS_DOUBLE
A_OVER ulong topk_rank(double v) {
    ulong u = v == 0 ? 0UL : TOPK_BITS(v); /* both zeros alike */
    u = v != v ? 0x7ff8000000000000UL : u;
    return (u >> 63) ? ~u : (u | 0x8000000000000000UL);
}
#endif
#define RANK_AT(a) (topk_rank(T_load(x, base + (int)(a) * x_col)) ^ (largest ? ~0UL : 0UL))
#define ITEM_MAKE(j) ((ulong)(j))
#define ITEM_BEFORE(a, b)                                                                                     \
    ((b) == ITEM_NONE ? (a) != ITEM_NONE                                                                      \
                      : ((a) != ITEM_NONE && (RANK_AT(a) < RANK_AT(b) || (RANK_AT(a) == RANK_AT(b) && (a) < (b)))))
#else
A_OVER uint topk_rank(int v) { return (uint)v ^ 0x80000000u; }
A_OVER uint topk_rank(uint v) { return v; }
A_OVER uint topk_rank(float v) {
    uint u = v == 0 ? 0u : a_float_to_bits(v); /* both zeros alike */
    u = v != v ? 0x7fc00000u : u;              /* every NaN alike, above infinity */
    return (u >> 31) ? ~u : (u | 0x80000000u);
}
#define ITEM_MAKE(j)                                                                                          \
    ((ulong)(topk_rank(T_load(x, base + (j) * x_col)) ^ (largest ? 0xffffffffu : 0u)) << 32 | (ulong)(uint)(j))
#define ITEM_BEFORE(a, b) ((a) < (b))
#endif

#define TOPK_PUT(at, item)                                                                                    \
    {                                                                                                         \
        const int index_ = (int)ITEM_INDEX(item);                                                             \
        T_store(values, at, T_load(x, base + index_ * x_col));                                                \
        indices[at] = index_;                                                                                 \
    }
