/* Memory barriers, kept whole in their 64 bits as on the device; named barriers; registers moved between warps. */
#pragma once

namespace cuda_host {

struct Barrier {
    unsigned long pending : 20, expected : 20, phase : 1;
    long bytes : 21; /* still to come; below 0 while a copy is ahead of the arrival that expects it */
    unsigned long mark : 2;
};
static_assert(sizeof(Barrier) == 8, "as on the device");
enum { INITIALISED = 1 }; /* poison and zeros differ */

inline Barrier read_barrier(const void *at, const char *what, int line) {
    check_shared(at, 8, 8, what, line);
    Barrier b;
    __builtin_memcpy(&b, at, 8);
    if (b.mark != INITIALISED) fail(line, "%s: there is no initialised mbarrier", what);
    return b;
}
/* Counts arrivals and bytes, and ends the phase when both are complete. */
inline void count(void *at, unsigned arrivals, long bytes, const char *what, int line) {
    Barrier b = read_barrier(at, what, line);
    if (failed) return;
    if (arrivals > b.pending) return fail(line, "%s: more arrivals than the mbarrier's count, %lu", what, (unsigned long)b.expected);
    const long sum = b.bytes + bytes;
    if (sum < -(1 << 20) || sum >= 1 << 20) return fail(line, "%s: an mbarrier counts at most 2^20 - 1 bytes", what);
    b.bytes = sum;
    b.pending -= arrivals;
    const unsigned phase = b.phase;
    const bool over = b.pending == 0 && sum == 0;
    if (over) {
        b.phase = !phase;
        b.pending = b.expected;
    }
    __builtin_memcpy(at, &b, 8);
    if (over) wake("mbarrier_wait", at, phase);
}
static void arrive_at(void *barrier, int line) { count(barrier, 1, 0, "cp_async_mbarrier_arrive", line); }

/* ---- named barriers ---- */
struct Named {
    unsigned come, expected;
};
static Named named[16];
/* Whether the caller is the last. */
inline bool come_to(int id, int count, const char *what, int line) {
    if (id < 1 || id > 15) fail(line, "%s: barrier %d is none of 1 to 15 (0 is __syncthreads')", what, id);
    if (count <= 0 || count % 32 || count > (int)threads) fail(line, "%s: %d threads are not whole warps", what, count);
    Named &n = named[id];
    if (n.come && n.expected != (unsigned)count)
        fail(line, "%s: barrier %d is for %u threads elsewhere, for %d here", what, id, n.expected, count);
    n.expected = (unsigned)count;
    if (++n.come < n.expected) return false;
    n.come = 0;
    wake("named_barrier", &n, (unsigned)id);
    return true;
}

/* ---- registers: every warp of a warpgroup asks for the same, and all fit the 65536 of a multiprocessor ---- */
static unsigned warp_registers[MOST_THREADS / 32];
inline void set_registers(unsigned count, int line) {
    together("setmaxnreg", line, [=](unsigned first) { warp_registers[first / 32] = count; });
}

static void barriers_begin() {
    for (unsigned i = 0; i < 16; i++) named[i].come = 0;
    for (unsigned i = 0; i < MOST_THREADS / 32; i++) warp_registers[i] = 0;
}
static void barriers_end() {
    unsigned sum = 0;
    for (unsigned i = 0; i < threads / 32; i++) {
        sum += 32 * warp_registers[i];
        if (warp_registers[i] != warp_registers[i / 4 * 4])
            fail(0, "setmaxnreg: warps %u and %u of one warpgroup ask for %u and %u registers", i / 4 * 4, i,
                 warp_registers[i / 4 * 4], warp_registers[i]);
    }
    if (sum > 65536) fail(0, "setmaxnreg: the warps ask for %u registers, a multiprocessor has 65536", sum);
    for (int i = 1; i < 16; i++)
        if (named[i].come) fail(0, "named barrier %d: %u of %u threads have come", i, named[i].come, named[i].expected);
}
static int barrier_hooks = add_hooks({barriers_begin, nullptr, nullptr, barriers_end});

}  // namespace cuda_host

inline void mbarrier_init(unsigned long *bar, unsigned arrivals, int line = __builtin_LINE()) {
    cuda_host::check_shared(bar, 8, 8, "mbarrier_init", line);
    if (arrivals < 1 || arrivals >= 1 << 20) cuda_host::fail(line, "mbarrier_init: a count of %u", arrivals);
    cuda_host::Barrier b = {};
    b.pending = b.expected = arrivals;
    b.mark = cuda_host::INITIALISED;
    __builtin_memcpy(bar, &b, 8);
}
inline void mbarrier_init_fence() {}
inline void mbarrier_arrive(unsigned long *bar, int line = __builtin_LINE()) {
    cuda_host::count(bar, 1, 0, "mbarrier_arrive", line);
}
inline void mbarrier_expect(unsigned long *bar, unsigned bytes, int line = __builtin_LINE()) {
    cuda_host::count(bar, 0, (long)bytes, "mbarrier_expect", line);
    cuda_host::count(bar, 1, 0, "mbarrier_expect", line);
}
inline void mbarrier_wait(unsigned long *bar, unsigned parity, int line = __builtin_LINE()) {
    while (cuda_host::read_barrier(bar, "mbarrier_wait", line).phase == (parity & 1))
        cuda_host::wait_for("mbarrier_wait", bar, parity & 1, line);
}
inline void cp_async_mbarrier_arrive(unsigned long *bar, int line = __builtin_LINE()) {
    cuda_host::start({cuda_host::Copy::ARRIVE, bar, nullptr, 0, line});
}

inline void named_barrier(int id, int count, int line = __builtin_LINE()) {
    if (!cuda_host::come_to(id, count, "named_barrier", line))
        cuda_host::wait_for("named_barrier", &cuda_host::named[id], (unsigned)id, line);
}
inline void named_barrier_arrive(int id, int count, int line = __builtin_LINE()) {
    cuda_host::come_to(id, count, "named_barrier_arrive", line);
}
template <int N> inline void registers_more(int line = __builtin_LINE()) {
    static_assert(N % 8 == 0 && N >= 24 && N <= 256, "setmaxnreg takes 24 to 256 in steps of 8");
    cuda_host::set_registers(N, line);
}
template <int N> inline void registers_fewer(int line = __builtin_LINE()) { registers_more<N>(line); }
inline void stmatrix_x4(void *row, const unsigned *r, int line = __builtin_LINE()) {
    cuda_host::store_matrices(row, r, 4, "stmatrix_x4", line);
}
