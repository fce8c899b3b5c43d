/* Shared memory as one window, and copies to it that go on while the thread does.
 *
 * Asynchronous work is done at once in launches whose threads run in reverse, and as late as it may be in the others:
 * a missing wait, or a missing barrier before a buffer is used again, shows in one of the two. */
#pragma once

namespace cuda_host {

/* A growing array that keeps its memory. */
template <class T> struct List {
    T *items;
    unsigned count, room;
    T &more() { /* one more item, as its memory was */
        if (count == room) {
            room = room ? 2 * room : 64;
            items = (T *)__builtin_realloc(items, room * sizeof(T));
        }
        return items[count++];
    }
    void add(const T &item) { more() = item; }
    void drop(unsigned i) {
        __builtin_memmove(items + i, items + i + 1, (--count - i) * sizeof(T));
    }
    void drop_first(unsigned n) {
        count -= n;
        if (n) __builtin_memmove(items, items + n, count * sizeof(T));
    }
};

/* ---- the window of 32-bit shared addresses: dynamic memory at 0, static variables behind it ---- */
enum : unsigned { WINDOW = 256 * 1024, STATIC_BASE = 228 * 1024 };

inline unsigned shared_address(const void *p) {
    const unsigned char *at = (const unsigned char *)p;
    if (work->dynamic && at >= work->dynamic && at <= work->dynamic + work->dynamic_bytes)
        return (unsigned)(at - work->dynamic);
    return STATIC_BASE + (unsigned)((unsigned long)__start_cuda_shared % 1024) + (unsigned)(at - __start_cuda_shared);
}
/* The address back; null if not all of the bytes are shared memory. */
inline unsigned char *from_shared(unsigned address, unsigned bytes) {
    if (address + (unsigned long)bytes <= work->dynamic_bytes) return work->dynamic + address;
    const unsigned base = STATIC_BASE + (unsigned)((unsigned long)__start_cuda_shared % 1024);
    if (address >= base && address - base + (unsigned long)bytes <= shared_bytes())
        return __start_cuda_shared + (address - base);
    return nullptr;
}
inline void check_shared(const void *p, unsigned bytes, unsigned alignment, const char *what, int line) {
    const unsigned char *at = (const unsigned char *)p;
    const bool is_static = at >= __start_cuda_shared && at + bytes <= __stop_cuda_shared;
    const bool is_dynamic = work->dynamic && at >= work->dynamic && at + bytes <= work->dynamic + work->dynamic_bytes;
    if (!is_static && !is_dynamic) {
        const unsigned long distance = (unsigned long)at - (unsigned long)work->dynamic;
        fail(line, "%s: %u bytes at %ld are not inside the %lu bytes of dynamic shared memory, nor static", what, bytes,
             (long)distance, work->dynamic_bytes);
    }
    if ((unsigned long)at % alignment)
        fail(line, "%s: shared address %#x is not a multiple of %u", what, shared_address(p), alignment);
}

inline bool late() { return !work->reverse; }
inline unsigned char *dynamic_shared(int line = __builtin_LINE()) {
    if (!work->dynamic) fail(line, "the launch asks for no dynamic shared memory");
    return work->dynamic;
}

/* ---- cp.async: what each thread has started, in order ---- */
static void arrive_at(void *barrier, int line); /* of cuda_host_mbarrier.h */
struct Copy {
    enum { MOVE, COMMIT, ARRIVE } kind;
    void *to;
    const void *from; /* null: zeros */
    unsigned bytes;
    int line;
};
static List<Copy> copies[MOST_THREADS];

inline void perform(const Copy &c) {
    if (c.kind == Copy::ARRIVE) {
#ifdef CUDA_HOST_WITH_HOPPER
        arrive_at(c.to, c.line);
#endif
    } else if (c.kind == Copy::MOVE) {
        if (c.from)
            __builtin_memcpy(c.to, c.from, c.bytes);
        else
            __builtin_memset(c.to, 0, c.bytes);
    }
}
static void perform_copies(unsigned thread, unsigned count) {
    List<Copy> &list = copies[thread];
    for (unsigned i = 0; i < count; i++) perform(list.items[i]);
    list.drop_first(count);
}
inline void start(const Copy &c) {
    if (late())
        copies[current].add(c);
    else
        perform(c);
}

static void copies_begin() {
    for (unsigned i = 0; i < threads; i++) copies[i].count = 0;
}
static void copies_end() { perform_copies(current, copies[current].count); }
/* The first copies that a barrier waits for. */
static bool deliver_copies() {
    for (unsigned t = 0; t < threads; t++)
        for (unsigned i = 0; i < copies[t].count; i++)
            if (copies[t].items[i].kind == Copy::ARRIVE && waited_for(copies[t].items[i].to)) {
                perform_copies(t, i + 1);
                return true;
            }
    return false;
}
static int copy_hooks = add_hooks({copies_begin, copies_end, deliver_copies, nullptr});

}  // namespace cuda_host

#define DYNAMIC_SHARED(name) uchar *const name = cuda_host::dynamic_shared()
inline unsigned shared_address(const void *p) { return cuda_host::shared_address(p); }

template <int BYTES>
inline void cp_async(void *shared, const void *global, bool valid, int line = __builtin_LINE()) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
    cuda_host::check_shared(shared, BYTES, BYTES, "cp_async", line);
    if (valid && (unsigned long)global % BYTES)
        cuda_host::fail(line, "cp_async: global address %p is not a multiple of %d", global, BYTES);
    cuda_host::start({cuda_host::Copy::MOVE, shared, valid ? global : nullptr, BYTES, line});
}
inline void cp_async_commit(int line = __builtin_LINE()) {
    cuda_host::start({cuda_host::Copy::COMMIT, nullptr, nullptr, 0, line});
}
template <int N> inline void cp_async_wait() {
    const cuda_host::List<cuda_host::Copy> &list = cuda_host::copies[cuda_host::current];
    unsigned last = list.count;
    for (int groups = 0; last > 0; last--)
        if (list.items[last - 1].kind == cuda_host::Copy::COMMIT && groups++ == N) break;
    cuda_host::perform_copies(cuda_host::current, last);
}
