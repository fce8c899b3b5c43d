/* Hopper (sm_90a): tensor maps and bulk copies, memory barriers that count bytes, warpgroup matrix products, registers
 * moved between warps.  Stands behind tensor_cores.cuh; a host compiler brings its own definitions, as there.
 * Layouts: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions" and "Tensors". */

#define WGMMA(T) A_CAT(wgmma_, T##_short)       /* WGMMA(T)<N>(d, a, b, accumulate) */
#define WGMMA_RA(T) A_CAT(wgmma_ra_, T##_short) /* A from registers */
#define wgmma_f32 wgmma_tf32

#ifdef __CUDACC__

/* What a launch passes as `const __grid_constant__ TensorMap name`. */
struct alignas(64) TensorMap {
    ulong opaque[16];
};

/* ---- memory barriers: a phase ends when all arrivals that it counts and all bytes that it expects have come ---- */
FN void mbarrier_init(ulong *bar, uint count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(count) : "memory");
}
/* makes inits visible to the copy engine; a __syncthreads() follows for the other threads */
FN void mbarrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
FN void mbarrier_arrive(ulong *bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(bar)) : "memory");
}
/* arrives, and has the phase expect so many bytes more */
FN void mbarrier_expect(ulong *bar, uint bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(bar)), "r"(bytes)
                 : "memory");
}
/* returns once the phase of this parity (0 for the first, then 1, 0, ...) is over */
FN void mbarrier_wait(ulong *bar, uint parity) {
    uint done;
    do {
        asm volatile(
            "{\n .reg .pred p;\n"
            " mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
            " selp.u32 %0, 1, 0, p;\n}"
            : "=r"(done)
            : "r"(shared_address(bar)), "r"(parity)
            : "memory");
    } while (!done);
}
/* this thread arrives once all its cp_async copies so far have landed; the barrier's count includes that arrival */
FN void cp_async_mbarrier_arrive(ulong *bar) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(bar)) : "memory");
}

/* ---- bulk copies of tensor tiles: one thread starts them; coordinates are elements, innermost first ---- */
FN void tma_prefetch(const TensorMap *map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

#define A_TMA_LOAD(dims, coordinates, ...)                                                                            \
    asm volatile("cp.async.bulk.tensor." dims                                                                         \
                 ".shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, " coordinates "], [%2];" ::"r"(     \
                     shared_address(shared)),                                                                         \
                 "l"(map), "r"(shared_address(bar)), __VA_ARGS__                                                      \
                 : "memory")
FN void tma_load_2d(void *shared, const TensorMap *map, ulong *bar, int c0, int c1) {
    A_TMA_LOAD("2d", "{%3, %4}", "r"(c0), "r"(c1));
}
FN void tma_load_3d(void *shared, const TensorMap *map, ulong *bar, int c0, int c1, int c2) {
    A_TMA_LOAD("3d", "{%3, %4, %5}", "r"(c0), "r"(c1), "r"(c2));
}
FN void tma_load_4d(void *shared, const TensorMap *map, ulong *bar, int c0, int c1, int c2, int c3) {
    A_TMA_LOAD("4d", "{%3, %4, %5, %6}", "r"(c0), "r"(c1), "r"(c2), "r"(c3));
}
FN void tma_load_5d(void *shared, const TensorMap *map, ulong *bar, int c0, int c1, int c2, int c3, int c4) {
    A_TMA_LOAD("5d", "{%3, %4, %5, %6, %7}", "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4));
}

#define A_TMA_STORE(dims, coordinates, ...)                                                                           \
    asm volatile("cp.async.bulk.tensor." dims ".global.shared::cta.bulk_group [%1, " coordinates "], [%0];" ::"r"(    \
                     shared_address(shared)),                                                                         \
                 "l"(map), __VA_ARGS__                                                                                \
                 : "memory")
FN void tma_store_2d(const TensorMap *map, const void *shared, int c0, int c1) {
    A_TMA_STORE("2d", "{%2, %3}", "r"(c0), "r"(c1));
}
FN void tma_store_3d(const TensorMap *map, const void *shared, int c0, int c1, int c2) {
    A_TMA_STORE("3d", "{%2, %3, %4}", "r"(c0), "r"(c1), "r"(c2));
}
FN void tma_store_4d(const TensorMap *map, const void *shared, int c0, int c1, int c2, int c3) {
    A_TMA_STORE("4d", "{%2, %3, %4, %5}", "r"(c0), "r"(c1), "r"(c2), "r"(c3));
}
FN void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/* all but the N latest groups of this thread have been read from shared memory, which may be written again */
template <int N> FN void tma_store_wait() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory"); }

/* plain writes to shared memory before it are seen by bulk copies and wgmma after it (and a barrier) */
FN void fence_async_proxy() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/* ---- matrix products of a warpgroup (128 threads, 4 whole warps): m64nNk16, tf32 m64nNk8 ---- */
/* Of a tile in shared memory in units of 8 x 16 bytes ("core matrices"), or as a bulk copy with this swizzle lays it:
 * K-major with a swizzle: stride_bytes from one group of 8 rows to the next, leading_bytes is not used;
 * K-major without: leading_bytes from a core matrix to its neighbour along K, stride_bytes along M or N;
 * MN-major with a swizzle: leading_bytes from one `swizzle` bytes of M or N to the next, stride_bytes from 8 of K to
 * the next 8; without: leading_bytes along K, stride_bytes along M or N. */
FN ulong wgmma_descriptor(const void *shared, uint leading_bytes, uint stride_bytes, int swizzle) {
    const ulong mode = swizzle == 128 ? 1 : (swizzle == 64 ? 2 : (swizzle == 32 ? 3 : 0));
    return (ulong)((shared_address(shared) & 0x3ffffu) >> 4) | (ulong)((leading_bytes & 0x3ffffu) >> 4) << 16 |
           (ulong)((stride_bytes & 0x3ffffu) >> 4) << 32 | mode << 62;
}
/* before the first wgmma, and when registers that it uses were written otherwise */
FN void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
FN void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/* all but the N latest groups are done: their d may be read, their tiles written */
template <int N> FN void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
/* keeps the compiler from moving uses of d[COUNT] across: stands behind wgmma_wait, and before wgmma_fence */
template <int COUNT> FN void wgmma_hold(float *d) {
#pragma unroll
    for (int i = 0; i < COUNT; i++) asm volatile("" : "+f"(d[i])::"memory");
}

/* The operand lists of d: four registers for 8 columns. */
#define A_F4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define A_F16(i) A_F4(i), A_F4(i + 4), A_F4(i + 8), A_F4(i + 12)
#define A_D8 A_F4(0)
#define A_D16 A_D8, A_F4(4)
#define A_D24 A_D16, A_F4(8)
#define A_D32 A_F16(0)
#define A_D40 A_D32, A_F4(16)
#define A_D48 A_D40, A_F4(20)
#define A_D56 A_D48, A_F4(24)
#define A_D64 A_D32, A_F16(16)
#define A_D80 A_D64, A_F4(32), A_F4(36)
#define A_D96 A_D64, A_F16(32)
#define A_D112 A_D96, A_F4(48), A_F4(52)
#define A_D128 A_D96, A_F16(48)
#define A_D144 A_D128, A_F4(64), A_F4(68)
#define A_D160 A_D128, A_F16(64)
#define A_D176 A_D160, A_F4(80), A_F4(84)
#define A_D192 A_D160, A_F16(80)
#define A_D208 A_D192, A_F4(96), A_F4(100)
#define A_D224 A_D192, A_F16(96)
#define A_D240 A_D224, A_F4(112), A_F4(116)
#define A_D256 A_D224, A_F16(112)
/* Their names in PTX. */
#define A_R8 "%0,%1,%2,%3"
#define A_R16 A_R8 ",%4,%5,%6,%7"
#define A_R24 A_R16 ",%8,%9,%10,%11"
#define A_R32 A_R24 ",%12,%13,%14,%15"
#define A_R40 A_R32 ",%16,%17,%18,%19"
#define A_R48 A_R40 ",%20,%21,%22,%23"
#define A_R56 A_R48 ",%24,%25,%26,%27"
#define A_R64 A_R56 ",%28,%29,%30,%31"
#define A_R80 A_R64 ",%32,%33,%34,%35,%36,%37,%38,%39"
#define A_R96 A_R80 ",%40,%41,%42,%43,%44,%45,%46,%47"
#define A_R112 A_R96 ",%48,%49,%50,%51,%52,%53,%54,%55"
#define A_R128 A_R112 ",%56,%57,%58,%59,%60,%61,%62,%63"
#define A_R144 A_R128 ",%64,%65,%66,%67,%68,%69,%70,%71"
#define A_R160 A_R144 ",%72,%73,%74,%75,%76,%77,%78,%79"
#define A_R176 A_R160 ",%80,%81,%82,%83,%84,%85,%86,%87"
#define A_R192 A_R176 ",%88,%89,%90,%91,%92,%93,%94,%95"
#define A_R208 A_R192 ",%96,%97,%98,%99,%100,%101,%102,%103"
#define A_R224 A_R208 ",%104,%105,%106,%107,%108,%109,%110,%111"
#define A_R240 A_R224 ",%112,%113,%114,%115,%116,%117,%118,%119"
#define A_R256 A_R240 ",%120,%121,%122,%123,%124,%125,%126,%127"

/* A and B by descriptors.  TRANS_B, TRANS_A: the tile is MN-major (16-bit types alone). */
#define A_WGMMA(N, i0, i1, i2, i3, i4)                                                                                \
    A_WGMMA_16(N, "f16", A_WGMMA_F16, i0, i1, i2, i3, i4)                                                             \
    A_WGMMA_16(N, "bf16", A_WGMMA_BF16, i0, i1, i2, i3, i4)                                                           \
    template <> struct AWgmma<A_WGMMA_TF32, N> {                                                                      \
        template <int, int> static FN void run(float *d, ulong a, ulong b, int accumulate) {                          \
            asm volatile("{.reg .pred p; setp.ne.b32 p, %" #i2 ", 0;\n"                                               \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k8.f32.tf32.tf32 {" A_R##N "}, %" #i0 ", %" #i1      \
                         ", p, 1, 1;}"                                                                                \
                         : A_D##N                                                                                     \
                         : "l"(a), "l"(b), "r"(accumulate)                                                            \
                         : "memory");                                                                                 \
        }                                                                                                             \
    };
#define A_WGMMA_16(N, type, kind, i0, i1, i2, i3, i4)                                                                 \
    template <> struct AWgmma<kind, N> {                                                                              \
        template <int TRANS_B, int TRANS_A> static FN void run(float *d, ulong a, ulong b, int accumulate) {          \
            asm volatile("{.reg .pred p; setp.ne.b32 p, %" #i2 ", 0;\n"                                               \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" A_R##N "}, %" #i0       \
                         ", %" #i1 ", p, 1, 1, %" #i3 ", %" #i4 ";}"                                                  \
                         : A_D##N                                                                                     \
                         : "l"(a), "l"(b), "r"(accumulate), "n"(TRANS_A), "n"(TRANS_B)                                \
                         : "memory");                                                                                 \
        }                                                                                                             \
    };
/* A from registers: a[4] of each thread, as mma's m16n8k16 has them, 16 rows for each warp. */
#define A_WGMMA_RA(N, i0, i1, i2, i3, i4, i5, i6)                                                                     \
    A_WGMMA_RA_16(N, "f16", A_WGMMA_F16, i0, i1, i2, i3, i4, i5, i6)                                                  \
    A_WGMMA_RA_16(N, "bf16", A_WGMMA_BF16, i0, i1, i2, i3, i4, i5, i6)
#define A_WGMMA_RA_16(N, type, kind, i0, i1, i2, i3, i4, i5, i6)                                                      \
    template <> struct AWgmmaRA<kind, N> {                                                                            \
        template <int TRANS_B> static FN void run(float *d, const uint *a, ulong b, int accumulate) {                 \
            asm volatile("{.reg .pred p; setp.ne.b32 p, %" #i5 ", 0;\n"                                               \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32." type "." type " {" A_R##N "}, {%" #i0      \
                         ", %" #i1 ", %" #i2 ", %" #i3 "}, %" #i4 ", p, 1, 1, %" #i6 ";}"                             \
                         : A_D##N                                                                                     \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate), "n"(TRANS_B)          \
                         : "memory");                                                                                 \
        }                                                                                                             \
    };

enum { A_WGMMA_F16, A_WGMMA_BF16, A_WGMMA_TF32 };
template <int KIND, int N> struct AWgmma; /* N without a definition below: add its lines */
template <int KIND, int N> struct AWgmmaRA;
#define A_WGMMA_BOTH(N, i0, i1, i2, i3, i4, i5, i6)                                                                   \
    A_WGMMA(N, i0, i1, i2, i3, i4) A_WGMMA_RA(N, i0, i1, i2, i3, i4, i5, i6)
A_WGMMA_BOTH(8, 4, 5, 6, 7, 8, 9, 10)
A_WGMMA_BOTH(16, 8, 9, 10, 11, 12, 13, 14)
A_WGMMA_BOTH(24, 12, 13, 14, 15, 16, 17, 18)
A_WGMMA_BOTH(32, 16, 17, 18, 19, 20, 21, 22)
A_WGMMA_BOTH(40, 20, 21, 22, 23, 24, 25, 26)
A_WGMMA_BOTH(48, 24, 25, 26, 27, 28, 29, 30)
A_WGMMA_BOTH(56, 28, 29, 30, 31, 32, 33, 34)
A_WGMMA_BOTH(64, 32, 33, 34, 35, 36, 37, 38)
A_WGMMA_BOTH(80, 40, 41, 42, 43, 44, 45, 46)
A_WGMMA_BOTH(96, 48, 49, 50, 51, 52, 53, 54)
A_WGMMA_BOTH(112, 56, 57, 58, 59, 60, 61, 62)
A_WGMMA_BOTH(128, 64, 65, 66, 67, 68, 69, 70)
A_WGMMA_BOTH(144, 72, 73, 74, 75, 76, 77, 78)
A_WGMMA_BOTH(160, 80, 81, 82, 83, 84, 85, 86)
A_WGMMA_BOTH(176, 88, 89, 90, 91, 92, 93, 94)
A_WGMMA_BOTH(192, 96, 97, 98, 99, 100, 101, 102)
A_WGMMA_BOTH(208, 104, 105, 106, 107, 108, 109, 110)
A_WGMMA_BOTH(224, 112, 113, 114, 115, 116, 117, 118)
A_WGMMA_BOTH(240, 120, 121, 122, 123, 124, 125, 126)
A_WGMMA_BOTH(256, 128, 129, 130, 131, 132, 133, 134)

/* d[N / 2] of each thread (+)= A x B; one elected form for each type, all threads of the warpgroup call it */
template <int N, int TRANS_B = 0, int TRANS_A = 0> FN void wgmma_f16(float *d, ulong a, ulong b, bool accumulate) {
    AWgmma<A_WGMMA_F16, N>::template run<TRANS_B, TRANS_A>(d, a, b, accumulate);
}
template <int N, int TRANS_B = 0, int TRANS_A = 0> FN void wgmma_bf16(float *d, ulong a, ulong b, bool accumulate) {
    AWgmma<A_WGMMA_BF16, N>::template run<TRANS_B, TRANS_A>(d, a, b, accumulate);
}
template <int N> FN void wgmma_tf32(float *d, ulong a, ulong b, bool accumulate) {
    AWgmma<A_WGMMA_TF32, N>::template run<0, 0>(d, a, b, accumulate);
}
template <int N, int TRANS_B = 0> FN void wgmma_ra_f16(float *d, const uint *a, ulong b, bool accumulate) {
    AWgmmaRA<A_WGMMA_F16, N>::template run<TRANS_B>(d, a, b, accumulate);
}
template <int N, int TRANS_B = 0> FN void wgmma_ra_bf16(float *d, const uint *a, ulong b, bool accumulate) {
    AWgmmaRA<A_WGMMA_BF16, N>::template run<TRANS_B>(d, a, b, accumulate);
}

/* ---- warps with roles of their own ---- */
/* registers of each thread of this warpgroup, a multiple of 8 from 24 to 256; all its warps call it */
template <int N> FN void registers_more() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> FN void registers_fewer() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }
/* barriers 1 to 15 among `threads` threads (whole warps); barrier 0 is __syncthreads' */
FN void named_barrier(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
/* arrives and does not wait */
FN void named_barrier_arrive(int id, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

/* writes four 8 x 8 matrices of 16-bit elements, the reverse of ldmatrix_x4 */
FN void stmatrix_x4(void *row, const uint *r) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(row)),
                 "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}

#else /* a host compiler */

CUDA_HOST_HOPPER

#endif
