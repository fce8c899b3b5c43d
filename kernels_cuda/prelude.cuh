/* The shared vocabulary of kernel sources, as CUDA C++ for NVRTC (no host headers).
 * kernels_opencl/prelude.clh gives the same names.
 *
 * There is no empty address-space macro: a pointer is GPTR(T) or LPTR(T), shared storage is declared only by
 * LOCAL_ARRAY, so a declaration that means different memory in the two languages cannot be written. */

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
#define char signed char /* as in OpenCL; plain char is unsigned on some hosts, and NVRTC follows the host */
static_assert(sizeof(long) == 8, "kernels pass 64-bit integers as long");

/* storage only, as in OpenCL without cl_khr_fp16: arithmetic on it does not compile */
struct half {
    ushort bits;
};

#define FN inline __device__ __attribute__((always_inline))
#define A_OVER FN
#define A_HAS_DOUBLE
#define GPTR(T) T *
#define LPTR(T) T *
#define RESTRICT __restrict__
#define LOCAL_ARRAY(T, name, n) __shared__ T name[n]
#define local_barrier() __syncthreads()

FN int group_id(int d) { return (int)(d == 0 ? blockIdx.x : (d == 1 ? blockIdx.y : blockIdx.z)); }
FN int group_count(int d) { return (int)(d == 0 ? gridDim.x : (d == 1 ? gridDim.y : gridDim.z)); }
FN int local_id(int d) { return (int)(d == 0 ? threadIdx.x : (d == 1 ? threadIdx.y : threadIdx.z)); }
FN int local_size(int d) { return (int)(d == 0 ? blockDim.x : (d == 1 ? blockDim.y : blockDim.z)); }
FN int global_id(int d) { return group_id(d) * local_size(d) + local_id(d); }
FN int global_size(int d) { return group_count(d) * local_size(d); }

#define A_MUL_HI(a, b) __umulhi(a, b)
#define A_NAN a_bits_to_float(0x7fc00000u)
#define A_INF a_bits_to_float(0x7f800000u)
#define UNROLL _Pragma("unroll")

/* ---- storage <-> register ---------------------------------------------------------------------------- */
FN float a_bits_to_float(uint u) { return __uint_as_float(u); }
FN uint a_float_to_bits(float f) { return __float_as_uint(f); }

#ifdef __CUDACC__
FN float a_half_to_float(half h) {
    float f;
    asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.bits));
    return f;
}
FN half a_float_to_half(float f) {
    half h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(f));
    return h;
}
#else /* a host compiler that runs these kernels on the CPU */
FN float a_half_to_float(half h) {
    uint sign = (uint)(h.bits & 0x8000u) << 16, rest = h.bits & 0x7fffu;
    if (rest >= 0x7c00u) return a_bits_to_float(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest < 0x400u) { /* subnormal: rest x 2^-24 */
        float f = (float)rest * 0x1p-24f;
        return sign ? -f : f;
    }
    return a_bits_to_float(sign | ((rest << 13) + 0x38000000u));
}
FN half a_float_to_half(float f) {
    uint u = a_float_to_bits(f), sign = (u >> 16) & 0x8000u, rest = u & 0x7fffffffu;
    half h;
    if (rest > 0x7f800000u) {
        h.bits = (ushort)(sign | 0x7e00u);
    } else if (rest >= 0x477ff000u) { /* rounds to 2^16 or more */
        h.bits = (ushort)(sign | 0x7c00u);
    } else if (rest < 0x38800000u) { /* subnormal: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits */
        h.bits = (ushort)(sign | (a_float_to_bits(a_bits_to_float(rest) + 0.5f) - 0x3f000000u));
    } else {
        h.bits = (ushort)(sign | ((rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13));
    }
    return h;
}
#endif

FN ushort a_float_to_bf16(float x) {
    uint u = a_float_to_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (ushort)((u >> 16) | 0x40u); /* NaN stays NaN */
    return (ushort)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);                 /* round to nearest even */
}

#define load_f32(p, i) ((p)[i])
#define load_f64(p, i) ((p)[i])
#define load_f16(p, i) a_half_to_float((p)[i])
#define load_bf16(p, i) a_bits_to_float((uint)(p)[i] << 16)
#define load_i8(p, i) ((int)(p)[i])
#define load_i16(p, i) ((int)(p)[i])
#define load_i32(p, i) ((p)[i])
#define load_i64(p, i) ((p)[i])
#define load_u8(p, i) ((uint)(p)[i])
#define load_u16(p, i) ((uint)(p)[i])
#define load_u32(p, i) ((p)[i])
#define load_u64(p, i) ((p)[i])
#define load_bool(p, i) ((int)((p)[i] != 0))

#define store_f32(p, i, v) ((p)[i] = (v))
#define store_f64(p, i, v) ((p)[i] = (v))
#define store_f16(p, i, v) ((p)[i] = a_float_to_half(v))
#define store_bf16(p, i, v) ((p)[i] = a_float_to_bf16(v))
#define store_i8(p, i, v) ((p)[i] = (char)(v))
#define store_i16(p, i, v) ((p)[i] = (short)(v))
#define store_i32(p, i, v) ((p)[i] = (v))
#define store_i64(p, i, v) ((p)[i] = (v))
#define store_u8(p, i, v) ((p)[i] = (uchar)(v))
#define store_u16(p, i, v) ((p)[i] = (ushort)(v))
#define store_u32(p, i, v) ((p)[i] = (v))
#define store_u64(p, i, v) ((p)[i] = (v))
#define store_bool(p, i, v) ((p)[i] = (uchar)((v) != 0))

FN float a_round_f16(float x) { return a_half_to_float(a_float_to_half(x)); }
FN float a_round_bf16(float x) { return a_bits_to_float((uint)a_float_to_bf16(x) << 16); }

#define A_FMA(a, b, c) fma(a, b, c)

#include "common/arithmetic.h"
A_FLOAT_MATH(float, int, __int_as_float, __float_as_int, (float))
