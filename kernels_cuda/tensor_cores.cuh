/* Tensor cores and asynchronous copies of compute capability 8.0 and later.  Stands behind the prelude.
 *
 * The only inline PTX of the kernels is here and in hopper.cuh.  A host compiler that runs the kernels on the CPU
 * brings its own definitions of what lies under __CUDACC__ (tests/cuda_on_host), with the same fragment layouts.
 * Layouts: PTX ISA, "Matrix fragments for mma.m16n8k16 / m16n8k8" and "ldmatrix". */

#define A_CAT_(a, b) a##b
#define A_CAT(a, b) A_CAT_(a, b)
#define MMA(T) A_CAT(mma_, T##_short)   /* MMA(T)(c, a, b) */
#define PACK(T) A_CAT(pack_, T##_short) /* PACK(T)(low, high) */
#define UNPACK_LOW(T) A_CAT(unpack_low_, T##_short)
#define UNPACK_HIGH(T) A_CAT(unpack_high_, T##_short)
#define mma_f32 mma_tf32

#ifdef __CUDACC__

/* uchar name[]: the bytes that the launch asked for */
#define DYNAMIC_SHARED(name) extern __shared__ __align__(1024) uchar name[]

FN uint shared_address(const void *p) { return (uint)__cvta_generic_to_shared(p); }

/* ---- copies from global to shared memory that go on while the thread does ---- */
/* Copies BYTES (4, 8, 16; both addresses multiples of it); not valid: writes zeros and reads nothing. */
template <int BYTES> FN void cp_async(void *shared, const void *global, bool valid) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
    const uint to = shared_address(shared), from_bytes = valid ? (uint)BYTES : 0u;
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(from_bytes)
                     : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global),
                     "n"(BYTES == 16 ? 8 : BYTES), "r"(from_bytes)
                     : "memory");
}
FN void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Returns when all but the N latest groups of this thread have arrived; other threads see them after a barrier. */
template <int N> FN void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

/* ---- 8 x 8 matrices of 16-bit elements: lane i hands in the address of row i % 8 of matrix i / 8 ---- */
#define A_LDMATRIX(suffix, modifier)                                                                                  \
    FN void ldmatrix_x1##suffix(uint *r, const void *row) {                                                           \
        asm volatile("ldmatrix.sync.aligned.m8n8.x1" modifier ".shared.b16 {%0}, [%1];"                               \
                     : "=r"(r[0])                                                                                     \
                     : "r"(shared_address(row))                                                                       \
                     : "memory");                                                                                     \
    }                                                                                                                 \
    FN void ldmatrix_x2##suffix(uint *r, const void *row) {                                                           \
        asm volatile("ldmatrix.sync.aligned.m8n8.x2" modifier ".shared.b16 {%0, %1}, [%2];"                           \
                     : "=r"(r[0]), "=r"(r[1])                                                                         \
                     : "r"(shared_address(row))                                                                       \
                     : "memory");                                                                                     \
    }                                                                                                                 \
    FN void ldmatrix_x4##suffix(uint *r, const void *row) {                                                           \
        asm volatile("ldmatrix.sync.aligned.m8n8.x4" modifier ".shared.b16 {%0, %1, %2, %3}, [%4];"                   \
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                                                 \
                     : "r"(shared_address(row))                                                                       \
                     : "memory");                                                                                     \
    }
A_LDMATRIX(, "")
A_LDMATRIX(_trans, ".trans")

/* ---- c[4] += a[4] x b[2] over a warp: 16 x 8 floats, depth 16 (16-bit types) or 8 (tf32) ---- */
#define A_MMA(name, shape, type)                                                                                      \
    FN void name(float *c, const uint *a, const uint *b) {                                                            \
        asm volatile("mma.sync.aligned." shape ".row.col.f32." type "." type                                          \
                     ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                           \
                     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                 \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                             \
    }
A_MMA(mma_f16, "m16n8k16", "f16")
A_MMA(mma_bf16, "m16n8k16", "bf16")
A_MMA(mma_tf32, "m16n8k8", "tf32")

FN uint pack_f16(float low, float high) {
    uint r;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
FN uint pack_bf16(float low, float high) {
    uint r;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
    return r;
}
/* to 10 bits of mantissa, to nearest, ties away from zero */
FN uint float_to_tf32(float x) {
    uint r;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
    return r;
}
/* 2^x to 2 ulp, in one instruction; results below 2^-126 are 0 */
FN float exp2_fast(float x) {
    float r;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
    return r;
}

#else /* a host compiler */

CUDA_HOST_COOPERATIVE

FN float exp2_fast(float x) { return exp2(x); }
FN uint pack_f16(float low, float high) { return a_float_to_half(low).bits | (uint)a_float_to_half(high).bits << 16; }
FN uint pack_bf16(float low, float high) { return a_float_to_bf16(low) | (uint)a_float_to_bf16(high) << 16; }
FN uint float_to_tf32(float x) {
    const uint u = a_float_to_bits(x);
    return (u & 0x7f800000u) == 0x7f800000u ? u : (u + 0x1000u) & 0xffffe000u;
}

#endif

FN float unpack_low_f16(uint u) {
    half h;
    h.bits = (ushort)u;
    return a_half_to_float(h);
}
FN float unpack_high_f16(uint u) { return unpack_low_f16(u >> 16); }
FN float unpack_low_bf16(uint u) { return a_bits_to_float(u << 16); }
FN float unpack_high_bf16(uint u) { return a_bits_to_float(u & 0xffff0000u); }
