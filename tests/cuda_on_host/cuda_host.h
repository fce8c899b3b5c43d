/* CUDA's execution model on the CPU, one program per shared library: what a .cu text finds predefined, a launcher.
 *
 * The threads of a block are fibers on one host thread.  A fiber runs until it waits at a barrier or returns, so that
 * what no barrier orders happens in one fixed order, forward or reverse as the launch says.  Shared variables lie in
 * one section that is filled with 0xff (NaN, -1) before each block.  Includes no library: programs compile quickly. */
#pragma once

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __constant__ static
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __shared__ static __attribute__((section("cuda_shared")))
#define warpSize 32

struct uint3 {
    unsigned x, y, z;
};
typedef uint3 dim3;
static uint3 threadIdx, blockIdx, blockDim, gridDim;

/* ---- what the caller hands over (tests/cuda_on_host/backend.py has the same structure) ------------------------ */
struct cuda_host_launch_t {
    void **arguments;
    const unsigned *sizes; /* bytes of each argument */
    unsigned count;
    unsigned grid[3], block[3];
    unsigned reverse; /* threads run last to first, and asynchronous copies and products are done at once */
    unsigned char *stacks;
    unsigned long stack_bytes; /* of one fiber */
    unsigned char *dynamic;    /* dynamic shared memory, aligned to 1024, with CANARY bytes behind it */
    unsigned long dynamic_bytes;
    char message[1024];
};

#include "cuda_host_fibers.h"
#include "cuda_host_math.h"
#ifdef CUDA_HOST_WITH_TENSOR_CORES /* the text holds tensor_cores.cuh */
#include "cuda_host_async.h"
#include "cuda_host_tensor_cores.h"
#ifdef CUDA_HOST_WITH_HOPPER /* and hopper.cuh */
#include "cuda_host_mbarrier.h"
#include "cuda_host_tma.h"
#include "cuda_host_wgmma.h"
#endif
#endif

/* ---- barriers and warps: every use counts, a program without any needs no fibers -------------------------------- */
#define __syncthreads() (cuda_host::wait_block(__COUNTER__, __LINE__))
#define __syncwarp(...) (cuda_host::wait_warp(__COUNTER__, __LINE__, cuda_host::mask_of(__VA_ARGS__)))
#define __shfl_sync(mask, ...) (cuda_host::shuffle(__COUNTER__, __LINE__, mask, cuda_host::INDEX, __VA_ARGS__))
#define __shfl_xor_sync(mask, ...) (cuda_host::shuffle(__COUNTER__, __LINE__, mask, cuda_host::XOR, __VA_ARGS__))
#define __shfl_up_sync(mask, ...) (cuda_host::shuffle(__COUNTER__, __LINE__, mask, cuda_host::UP, __VA_ARGS__))
#define __shfl_down_sync(mask, ...) (cuda_host::shuffle(__COUNTER__, __LINE__, mask, cuda_host::DOWN, __VA_ARGS__))
#define __ballot_sync(mask, test) (cuda_host::ballot(__COUNTER__, __LINE__, mask, (test) != 0))
#define __any_sync(mask, test) (__ballot_sync(mask, test) != 0)
#define __all_sync(mask, test) (__ballot_sync(mask, !(test)) == 0)
#define __threadfence() ((void)0)
#define __threadfence_block() ((void)0)

/* One host thread runs all fibers and switches only at barriers: plain code is atomic. */
template <class T> inline T atomicExch(T *p, T v) {
    const T old = *p;
    *p = v;
    return old;
}
template <class T> inline T atomicAdd(T *p, T v) { return atomicExch(p, (T)(*p + v)); }
template <class T> inline T atomicMax(T *p, T v) { return atomicExch(p, *p < v ? v : *p); }
template <class T> inline T atomicMin(T *p, T v) { return atomicExch(p, v < *p ? v : *p); }
template <class T> inline T atomicCAS(T *p, T expected, T v) { return atomicExch(p, *p == expected ? v : *p); }

/* Marks in tensor_cores.cuh and hopper.cuh, which compiler.py looks for. */
#define CUDA_HOST_COOPERATIVE enum { cuda_host_cooperative = __COUNTER__ };
#define CUDA_HOST_HOPPER

/* Stands behind the program's text. */
#define CUDA_HOST_PROGRAM(kernel)                                                                                     \
    extern "C" __attribute__((visibility("default"))) int cuda_host_launch(cuda_host_launch_t *launch) {              \
        return cuda_host::launch(kernel, *launch, __COUNTER__ > 0);                                                   \
    }                                                                                                                 \
    extern "C" __attribute__((visibility("default"))) unsigned long cuda_host_shared_bytes() {                        \
        return cuda_host::shared_bytes();                                                                             \
    }
