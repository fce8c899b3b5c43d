/* Bulk copies of tensor tiles as a tensor map describes them, with zeros outside and the hardware's swizzles. */
#pragma once

/* tensor_map.py writes it; sizes innermost first, in elements; strides in bytes of all dimensions but the innermost. */
struct alignas(64) TensorMap {
    unsigned char *base;
    unsigned rank, element, swizzle, reserved;
    unsigned dims[5], box[5];
    unsigned long strides[4];
    unsigned char rest[32];
};
static_assert(sizeof(TensorMap) == 128, "as on the device");

namespace cuda_host {

/* Where the 16-byte unit of a shared address goes: its index within the row is mixed with the row's. */
inline unsigned swizzled(unsigned address, unsigned bytes) {
    return bytes ? address ^ (address >> 7 & (bytes / 16 - 1)) << 4 : address;
}

struct Tile5 {
    const TensorMap *map;
    unsigned char *shared;
    unsigned long *bar; /* of a load; null in a store */
    int at[5];
    int line;
    bool commit, done; /* of stores */
};

static unsigned tile_bytes(const TensorMap &map) {
    unsigned bytes = map.element;
    for (unsigned d = 0; d < map.rank; d++) bytes *= map.box[d];
    return bytes;
}
/* Moves one unit of at most 16 bytes: `inside` elements from `skip` on lie in the tensor. */
static void move_unit(const Tile5 &t, unsigned char *shared, unsigned char *global, unsigned skip, unsigned inside) {
    const unsigned e = t.map->element;
    if (!t.bar) {
        if (inside) __builtin_memcpy(global + skip * e, shared + skip * e, inside * e);
        return;
    }
    __builtin_memset(shared, 0, 16);
    if (inside) __builtin_memcpy(shared + skip * e, global + skip * e, inside * e);
}
static void perform(const Tile5 &t) {
    const TensorMap &map = *t.map;
    const unsigned row_bytes = map.box[0] * map.element, unit = 16 / map.element;
    const unsigned rows = tile_bytes(map) / row_bytes, start = shared_address(t.shared);
    for (unsigned row = 0; row < rows; row++) {
        bool inside = true;
        long offset = 0;
        for (unsigned d = 1, rest = row; d < map.rank; d++) {
            const long at = (long)t.at[d] + rest % map.box[d];
            rest /= map.box[d];
            inside = inside && at >= 0 && at < (long)map.dims[d];
            offset += at * (long)map.strides[d - 1];
        }
        for (unsigned x = 0; x < map.box[0]; x += unit) {
            const long first = (long)t.at[0] + x;
            const long low = first < 0 ? -first : 0;
            long high = (long)map.dims[0] - first;
            high = high > (long)unit ? (long)unit : high;
            const unsigned address = swizzled(start + row * row_bytes + x * map.element, map.swizzle);
            const bool any = inside && low < high;
            move_unit(t, t.shared + (address - start), map.base + offset + first * (long)map.element,
                      any ? (unsigned)low : 0, any ? (unsigned)(high - low) : 0);
        }
    }
    if (t.bar) count(t.bar, 0, -(long)tile_bytes(map), "tma_load", t.line);
}

static List<Tile5> loads;                 /* of the block, not yet there */
static List<Tile5> stores[MOST_THREADS]; /* of each thread, not yet waited for */

inline void begin(const TensorMap *map, const void *shared, unsigned long *bar, unsigned rank, const char *what, int line,
                  int c0, int c1, int c2 = 0, int c3 = 0, int c4 = 0) {
    if (map->rank != rank) fail(line, "%s: the tensor map has %u dimensions", what, map->rank);
    check_shared(shared, tile_bytes(*map), 128, what, line);
    Tile5 t = {map, (unsigned char *)shared, bar, {c0, c1, c2, c3, c4}, line, false, !late()};
    if (bar) read_barrier(bar, what, line);
    if (!late()) perform(t);
    if (!bar)
        stores[current].add(t);
    else if (late())
        loads.add(t);
}
inline void wait_for_stores(unsigned groups) {
    List<Tile5> &list = stores[current];
    unsigned last = list.count;
    for (unsigned seen = 0; last > 0; last--)
        if (list.items[last - 1].commit && seen++ == groups) break;
    for (unsigned i = 0; i < last; i++)
        if (!list.items[i].done) perform(list.items[i]);
    list.drop_first(last);
}

static void tiles_begin() {
    loads.count = 0;
    for (unsigned i = 0; i < threads; i++) stores[i].count = 0;
}
static void tiles_thread_ends() {
    for (unsigned i = 0; i < stores[current].count; i++)
        if (!stores[current].items[i].commit)
            fail(stores[current].items[i].line, "tma_store: the thread ends without a tma_store_wait for it");
}
/* Copies arrive in any order: one that nobody waits for stays away. */
static bool deliver_tile() {
    for (unsigned i = 0; i < loads.count; i++) {
        const Tile5 t = loads.items[i];
        if (!waited_for(t.bar)) continue;
        loads.drop(i);
        perform(t);
        return true;
    }
    return false;
}
static void tiles_end() {
    if (loads.count) fail(loads.items[0].line, "tma_load: the block ends while it is under way");
}
static int tile_hooks = add_hooks({tiles_begin, tiles_thread_ends, deliver_tile, tiles_end});

}  // namespace cuda_host

inline void tma_prefetch(const TensorMap *) {}
inline void tma_load_2d(void *shared, const TensorMap *map, unsigned long *bar, int c0, int c1,
                        int line = __builtin_LINE()) {
    cuda_host::begin(map, shared, bar, 2, "tma_load_2d", line, c0, c1);
}
inline void tma_load_3d(void *shared, const TensorMap *map, unsigned long *bar, int c0, int c1, int c2,
                        int line = __builtin_LINE()) {
    cuda_host::begin(map, shared, bar, 3, "tma_load_3d", line, c0, c1, c2);
}
inline void tma_load_4d(void *shared, const TensorMap *map, unsigned long *bar, int c0, int c1, int c2, int c3,
                        int line = __builtin_LINE()) {
    cuda_host::begin(map, shared, bar, 4, "tma_load_4d", line, c0, c1, c2, c3);
}
inline void tma_load_5d(void *shared, const TensorMap *map, unsigned long *bar, int c0, int c1, int c2, int c3, int c4,
                        int line = __builtin_LINE()) {
    cuda_host::begin(map, shared, bar, 5, "tma_load_5d", line, c0, c1, c2, c3, c4);
}
inline void tma_store_2d(const TensorMap *map, const void *shared, int c0, int c1, int line = __builtin_LINE()) {
    cuda_host::begin(map, shared, nullptr, 2, "tma_store_2d", line, c0, c1);
}
inline void tma_store_3d(const TensorMap *map, const void *shared, int c0, int c1, int c2,
                         int line = __builtin_LINE()) {
    cuda_host::begin(map, shared, nullptr, 3, "tma_store_3d", line, c0, c1, c2);
}
inline void tma_store_4d(const TensorMap *map, const void *shared, int c0, int c1, int c2, int c3,
                         int line = __builtin_LINE()) {
    cuda_host::begin(map, shared, nullptr, 4, "tma_store_4d", line, c0, c1, c2, c3);
}
inline void tma_store_commit(int line = __builtin_LINE()) {
    cuda_host::stores[cuda_host::current].add({nullptr, nullptr, nullptr, {}, line, true, true});
}
template <int N> inline void tma_store_wait() { cuda_host::wait_for_stores(N); }
/* The order of plain writes and bulk copies is not modelled: plain writes are always seen. */
inline void fence_async_proxy() {}
