/* A block's threads as fibers: context switch, barriers, the scheduler that runs them in order. */
#pragma once

#if defined(CUDA_HOST_UCONTEXT) || !(defined(__x86_64__) || defined(__aarch64__))
#undef CUDA_HOST_UCONTEXT
#define CUDA_HOST_UCONTEXT 1 /* any machine; each switch is a system call */
#include <ucontext.h>
#elif defined(__x86_64__)
asm(".text\n"
    "cuda_host_switch:\n" /* (void **save, void *load) */
    "push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
    "mov %rsp, (%rdi)\n mov %rsi, %rsp\n"
    "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n"
    "ret\n");
#else
asm(".text\n"
    "cuda_host_switch:\n"
    "sub sp, sp, #160\n"
    "stp x19, x20, [sp]\n stp x21, x22, [sp, #16]\n stp x23, x24, [sp, #32]\n stp x25, x26, [sp, #48]\n"
    "stp x27, x28, [sp, #64]\n stp x29, x30, [sp, #80]\n stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n"
    "stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
    "mov x9, sp\n str x9, [x0]\n mov sp, x1\n"
    "ldp x19, x20, [sp]\n ldp x21, x22, [sp, #16]\n ldp x23, x24, [sp, #32]\n ldp x25, x26, [sp, #48]\n"
    "ldp x27, x28, [sp, #64]\n ldp x29, x30, [sp, #80]\n ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n"
    "ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n"
    "add sp, sp, #160\n"
    "ret\n");
#endif
#ifndef CUDA_HOST_UCONTEXT
extern "C" __attribute__((visibility("hidden"))) void cuda_host_switch(void **save, void *load);
#endif
extern "C" {
#ifdef __SANITIZE_ADDRESS__
void __asan_unpoison_memory_region(void const volatile *address, unsigned long size);
#endif
extern unsigned char __start_cuda_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_cuda_shared[] __attribute__((weak, visibility("hidden")));
}

namespace cuda_host {

enum { MOST_THREADS = 1024 };
enum State { READY, AT_BLOCK, AT_WARP, WAITING, DONE }; /* WAITING: until somebody makes it READY */
struct Fiber {
#ifdef CUDA_HOST_UCONTEXT
    ucontext_t context;
#else
    void *stack; /* where it stopped */
#endif
    uint3 index;
    State state;
    int place, line; /* of the barrier at which it waits */
    unsigned mask;   /* of the lanes that it waits for */
    unsigned long value;
    const char *what; /* it is WAITING at, and the object of that: for messages, and to be found by who wakes it */
    const void *object;
    unsigned number;
    const void *in[2]; /* what it hands over to its warp */
    void *out;
};
/* What a further header adds to the running of blocks (null: nothing). */
struct Hooks {
    void (*block_begins)();
    void (*thread_ends)();
    bool (*deliver)(); /* nothing can go on: let the next late copy arrive; false if there is none */
    void (*block_ends)();
};
static Hooks hooks[8];
static unsigned hook_count;
static int add_hooks(Hooks more) {
    hooks[hook_count++] = more;
    return 0;
}
static Fiber fibers[MOST_THREADS];
static Fiber scheduler;
static unsigned current, threads, warp_waits;
static bool failed;
static cuda_host_launch_t *work;
static void (*body)();
static const unsigned long STACK_END = 0x5afe57acc0ffee00ul;

inline void switch_to(Fiber &from, Fiber &to) {
#ifdef CUDA_HOST_UCONTEXT
    swapcontext(&from.context, &to.context);
#else
    cuda_host_switch(&from.stack, to.stack);
#endif
}

/* Ends the launch with a message; called by a thread, or by a hook (current = threads). */
__attribute__((format(printf, 2, 3), noinline)) static void fail(int line, const char *format, ...) {
    if (!failed) {
        const unsigned long size = sizeof(work->message);
        unsigned long at = (unsigned long)__builtin_snprintf(work->message, size, "line %d: ", line);
        __builtin_va_list arguments;
        __builtin_va_start(arguments, format);
        at += (unsigned long)__builtin_vsnprintf(work->message + at, size - at, format, arguments);
        __builtin_va_end(arguments);
        if (at < size && current < threads)
            at += (unsigned long)__builtin_snprintf(work->message + at, size - at, " (thread (%u, %u, %u))", threadIdx.x,
                                                    threadIdx.y, threadIdx.z);
        if (at < size)
            __builtin_snprintf(work->message + at, size - at, " in block (%u, %u, %u)", blockIdx.x, blockIdx.y,
                               blockIdx.z);
    }
    failed = true;
    if (current < threads) {
        switch_to(fibers[current], scheduler);
        __builtin_trap();
    }
}

static void fiber_main() {
    body();
    for (unsigned i = 0; i < hook_count; i++)
        if (hooks[i].thread_ends) hooks[i].thread_ends();
    fibers[current].state = DONE;
    switch_to(fibers[current], scheduler);
    __builtin_trap();
}

static void prepare(unsigned i) {
    Fiber &f = fibers[i];
    f.index = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
    f.state = READY;
    unsigned char *low = work->stacks + i * work->stack_bytes;
    *(unsigned long *)low = STACK_END;
#ifdef CUDA_HOST_UCONTEXT
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = low + 64;
    f.context.uc_stack.ss_size = work->stack_bytes - 64;
    makecontext(&f.context, fiber_main, 0);
#else
    void **top = (void **)(low + work->stack_bytes);
#ifdef __x86_64__
    top[-1] = nullptr; /* nobody called fiber_main */
    top[-2] = (void *)fiber_main;
    f.stack = top - 8;
#else
    f.stack = top - 20;
    ((void **)f.stack)[11] = (void *)fiber_main; /* x30 */
#endif
#endif
}

__attribute__((noinline)) static void wait(State state, int place, int line) {
    Fiber &f = fibers[current];
    f.state = state;
    f.place = place;
    f.line = line;
    switch_to(f, scheduler);
}
inline void wait_block(int place, int line) { wait(AT_BLOCK, place, line); }
inline unsigned mask_of(unsigned mask = 0xffffffffu) { return mask; }
inline void wait_warp(int place, int line, unsigned mask) {
    fibers[current].mask = mask;
    warp_waits++;
    wait(AT_WARP, place, line);
}


/* Waits until another thread, or a copy that arrives, calls wake with the same object. */
__attribute__((noinline)) static void wait_for(const char *what, const void *object, unsigned number, int line) {
    Fiber &f = fibers[current];
    f.what = what;
    f.object = object;
    f.number = number;
    wait(WAITING, 0, line);
}
static bool waited_for(const void *object) {
    for (unsigned i = 0; i < threads; i++)
        if (fibers[i].state == WAITING && fibers[i].object == object) return true;
    return false;
}
static void wake(const char *what, const void *object, unsigned number) {
    for (unsigned i = 0; i < threads; i++) {
        Fiber &f = fibers[i];
        if (f.state == WAITING && f.what == what && f.object == object && f.number == number) f.state = READY;
    }
}

/* All 32 lanes of a warp come to one instruction; the last to come runs act, then all go on. */
struct Meeting {
    unsigned come;
    int line;
    const char *what;
};
static Meeting meetings[MOST_THREADS / 32];
template <class F> inline void together(const char *what, int line, F act) {
    const unsigned first = current / 32 * 32;
    Meeting &m = meetings[current / 32];
    if (m.come == 0) {
        m.what = what;
        m.line = line;
    } else if (m.what != what || m.line != line) {
        fail(line, "lanes of a warp are apart: at %s here, at %s at line %d", what, m.what, m.line);
    }
    if (++m.come < 32) return wait_for(what, &m, 0, line);
    m.come = 0;
    act(first);
    for (unsigned i = first; i < first + 32; i++)
        if (fibers[i].state == WAITING) fibers[i].state = READY;
}

enum Shuffle { INDEX, XOR, UP, DOWN };
template <class T>
inline T shuffle(int place, int line, unsigned mask, Shuffle how, T value, int by, int width = 32) {
    static_assert(sizeof(T) <= sizeof(unsigned long), "shuffles move at most 8 bytes");
    const int lane = (int)(current % 32), segment = lane / width * width;
    int from = how == INDEX ? segment + (by & (width - 1)) : how == XOR ? lane ^ by : how == UP ? lane - by : lane + by;
    if (from < segment || (how != XOR && from >= segment + width)) from = lane;
    __builtin_memcpy(&fibers[current].value, &value, sizeof(T));
    wait_warp(place, line, mask);
    __builtin_memcpy(&value, &fibers[current / 32 * 32 + from].value, sizeof(T));
    wait_warp(place, line, mask);
    return value;
}
inline unsigned ballot(int place, int line, unsigned mask, bool test) {
    fibers[current].value = test;
    wait_warp(place, line, mask);
    unsigned result = 0;
    for (unsigned lane = 0, first = current / 32 * 32; lane < 32 && first + lane < threads; lane++)
        if (mask >> lane & 1 && fibers[first + lane].state != DONE && fibers[first + lane].value) result |= 1u << lane;
    wait_warp(place, line, mask);
    return result;
}

/* Lets lanes go on that wait for one another: those of every warp, so that warps keep in step; in reverse those of the
 * last warp alone, which so runs as far ahead of the others as barriers let it. */
static bool release_warps() {
    bool released = false;
    warp_waits = 0;
    for (unsigned k = 0; k < threads; k++) {
        const unsigned i = work->reverse ? threads - 1 - k : k;
        if (fibers[i].state != AT_WARP) continue;
        const unsigned first = i / 32 * 32, mask = fibers[i].mask;
        bool complete = !(released && work->reverse);
        for (unsigned j = first; complete && j < first + 32 && j < threads; j++)
            if (mask >> (j - first) & 1 && fibers[j].state != DONE)
                complete = fibers[j].state == AT_WARP && fibers[j].mask == mask;
        if (!complete) {
            warp_waits++;
            continue;
        }
        released = true;
        for (unsigned j = first; j < first + 32 && j < threads; j++)
            if (mask >> (j - first) & 1 && fibers[j].state == AT_WARP) fibers[j].state = READY;
    }
    return released;
}

/* Whether all threads that still run wait at one __syncthreads: they may go on. */
static bool release_block() {
    int place = -1;
    for (unsigned i = 0; i < threads; i++) {
        const Fiber &f = fibers[i];
        if (f.state == DONE) continue;
        if (f.state != AT_BLOCK || (place >= 0 && f.place != place)) return false;
        place = f.place;
    }
    for (unsigned i = 0; i < threads; i++)
        if (fibers[i].state == AT_BLOCK) fibers[i].state = READY;
    return true;
}

/* No thread is ready: lets some go on, latest of all by copies that are late. */
static bool go_on() {
    if ((warp_waits > 0 && release_warps()) || release_block()) return true;
    for (unsigned i = 0; i < hook_count; i++)
        if (hooks[i].deliver && hooks[i].deliver()) return true;
    return false;
}

/* Says where the threads wait that cannot go on. */
static void explain() {
    const unsigned long size = sizeof(work->message);
    bool barriers_only = true;
    for (unsigned i = 0; i < threads; i++) barriers_only = barriers_only && fibers[i].state != WAITING;
    unsigned long at = (unsigned long)__builtin_snprintf(work->message, size, "%s in block (%u, %u, %u)",
                                                         barriers_only ? "divergent barrier" : "deadlock", blockIdx.x,
                                                         blockIdx.y, blockIdx.z);
    const char *separator = ":";
    for (unsigned i = 0, next; i < threads && at < size; i = next) {
        const Fiber &f = fibers[i];
        for (next = i + 1; next < threads; next++) {
            const Fiber &o = fibers[next];
            if (o.state != f.state || (f.state != DONE && o.line != f.line)) break;
            if ((f.state == WAITING && (o.what != f.what || o.number != f.number)) ||
                (f.state == AT_BLOCK && o.place != f.place))
                break;
        }
        if (f.state == DONE) continue;
        const char *what = f.state == AT_BLOCK ? "__syncthreads" : f.state == AT_WARP ? "a warp's barrier" : f.what;
        at += (unsigned long)__builtin_snprintf(work->message + at, size - at,
                                                "%s threads %u to %u wait at line %d, at %s", separator, i, next - 1,
                                                f.line, what);
        separator = ";";
        if (f.state == WAITING && at < size)
            at += (unsigned long)__builtin_snprintf(work->message + at, size - at, " (%u)", f.number);
    }
}

inline unsigned long shared_bytes() { return (unsigned long)(__stop_cuda_shared - __start_cuda_shared); }

/* Sanitizers forbid the gaps between variables and what lies behind dynamic memory: these two may go there. */
#define CUDA_HOST_ANYWHERE __attribute__((no_sanitize("address", "undefined"), noinline))
CUDA_HOST_ANYWHERE static void fill(unsigned char *to, unsigned long bytes) {
    for (unsigned long i = 0; i < bytes; i++) ((volatile unsigned char *)to)[i] = 0xff;
}
/* The first byte that is not as fill left it. */
CUDA_HOST_ANYWHERE static unsigned long filled(const unsigned char *from, unsigned long bytes) {
    unsigned long i = 0;
    while (i < bytes && ((const volatile unsigned char *)from)[i] == 0xff) i++;
    return i;
}

static bool run_fibers();

static bool run_block() {
    const bool done = run_fibers();
#ifdef __SANITIZE_ADDRESS__
    if (!done) __asan_unpoison_memory_region(work->stacks, threads * work->stack_bytes); /* of frames never left */
#endif
    return done;
}

static bool run_fibers() {
    enum { CANARY = 1024 };
    unsigned char *shared = __start_cuda_shared;
    asm volatile("" : "+r"(shared) : : "memory"); /* the compiler does not know what lies there */
    fill(shared, shared_bytes());
    if (work->dynamic) fill(work->dynamic, work->dynamic_bytes + CANARY);
    for (unsigned i = 0; i < threads; i++) prepare(i);
    for (unsigned i = 0; i < MOST_THREADS / 32; i++) meetings[i].come = 0;
    for (unsigned i = 0; i < hook_count; i++)
        if (hooks[i].block_begins) hooks[i].block_begins();
    warp_waits = 0;
    failed = false;
    for (unsigned live = threads; live > 0;) {
        bool ran = false;
        for (unsigned k = 0, again = 0; k < threads && !failed; k++) {
            current = work->reverse ? threads - 1 - k : k;
            Fiber &f = fibers[current];
            if (f.state == READY) {
                threadIdx = f.index;
                ran = true;
                again = 1;
                switch_to(scheduler, f);
                if (f.state == DONE) live--;
            }
            if (work->reverse && current % 32 == 0 && again) { /* the same warp, until it waits for another */
                again = 0;
                k = threads - 1 - (current / 32 * 32 + 32 < threads ? current / 32 * 32 + 32 : threads);
            }
        }
        current = threads; /* nobody */
        if (live > 0 && !ran && !failed && !go_on() && !failed) {
            explain();
            failed = true;
        }
        if (failed) return false;
    }
    for (unsigned i = 0; i < hook_count; i++)
        if (hooks[i].block_ends) hooks[i].block_ends();
    for (unsigned i = 0; i < threads; i++)
        if (*(unsigned long *)(work->stacks + i * work->stack_bytes) != STACK_END)
            fail(0, "a thread used more than its stack of %lu bytes", work->stack_bytes);
    if (work->dynamic) {
        const unsigned long past = filled(work->dynamic + work->dynamic_bytes, CANARY);
        if (past < CANARY)
            fail(0, "dynamic shared memory (%lu bytes) was written %lu bytes past its end", work->dynamic_bytes, past);
    }
    return !failed;
}

static bool run_block_without_barriers() {
    for (unsigned k = 0; k < threads; k++) {
        const unsigned i = work->reverse ? threads - 1 - k : k;
        threadIdx = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
        body();
    }
    return true;
}

template <unsigned... I> struct Sequence {};
template <class... P> struct Kernel {
    static inline void (*function)(P...);
    template <unsigned... I> static void apply(Sequence<I...>) { function(*(P *)work->arguments[I]...); }
    static void run() { apply(Sequence<__integer_pack(sizeof...(P))...>()); }
};

template <class... P> int launch(void (*function)(P...), cuda_host_launch_t &l, bool barriers) {
    const unsigned sizes[] = {(unsigned)sizeof(P)...};
    if (l.count != sizeof...(P)) {
        __builtin_snprintf(l.message, sizeof(l.message), "the kernel has %u parameters, the launch %u arguments",
                           (unsigned)sizeof...(P), l.count);
        return 1;
    }
    for (unsigned i = 0; i < l.count; i++)
        if (l.sizes[i] != sizes[i]) {
            __builtin_snprintf(l.message, sizeof(l.message), "argument %u has %u bytes, the kernel's parameter %u", i,
                               l.sizes[i], sizes[i]);
            return 1;
        }
    work = &l;
    Kernel<P...>::function = function;
    body = Kernel<P...>::run;
    gridDim = {l.grid[0], l.grid[1], l.grid[2]};
    blockDim = {l.block[0], l.block[1], l.block[2]};
    threads = blockDim.x * blockDim.y * blockDim.z;
    const unsigned long blocks = (unsigned long)gridDim.x * gridDim.y * gridDim.z;
    for (unsigned long k = 0; k < blocks; k++) {
        const unsigned long b = l.reverse ? blocks - 1 - k : k;
        blockIdx = {(unsigned)(b % gridDim.x), (unsigned)(b / gridDim.x % gridDim.y),
                    (unsigned)(b / gridDim.x / gridDim.y)};
        if (!(barriers ? run_block() : run_block_without_barriers())) return 1;
    }
    return 0;
}

}  // namespace cuda_host
