// Vectors of floats, and one copy of a kernel for each instruction set. Nothing here needs ATen.
#pragma once

#include <cstdint>
#include <cstring>

// The greatest copy that a build has, by its number: `PINBENCH_KERNELS` of build.rs sets it, so that a test sees on this processor
// what an older one computes.
#ifndef PB_MOST
#define PB_MOST 4
#endif
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && PB_MOST >= 3
#define PB_HAS_COPIES 1
#else
#define PB_HAS_COPIES 0
#endif

// The loader picks the copy for this processor. Clang and other processors get the portable one alone.
#if !PB_HAS_COPIES
#define PB_CLONES
#elif PB_MOST >= 4
#define PB_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PB_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#endif
#if PB_HAS_COPIES
#define PB_HAS_V4 (PB_MOST >= 4 && __builtin_cpu_supports("x86-64-v4"))
#define PB_HAS_V3 __builtin_cpu_supports("x86-64-v3")
#else
#define PB_HAS_V4 false
#define PB_HAS_V3 false
#endif
// The same for copies that the code picks itself. What is built for AVX-512 as a whole has no others beside it, for nothing can
// be inlined into a function of fewer instructions.
#if PB_HAS_COPIES && !defined(__AVX512F__)
#define PB_HAS_TARGETS 1
#define PB_V4 __attribute__((target("arch=x86-64-v4")))
#define PB_V3 __attribute__((target("arch=x86-64-v3")))
#else
#define PB_HAS_TARGETS 0
#endif
#define PB_INLINE inline __attribute__((always_inline))
// Whole, so that an array of vectors becomes registers.
#define PB_UNROLL _Pragma("GCC unroll 16")

namespace pinbench {

// Eight channels, or one where a multiple of eight ends.
typedef float F8 __attribute__((vector_size(32)));
typedef float F4 __attribute__((vector_size(16)));
typedef float F16 __attribute__((vector_size(64)));
typedef int32_t I8 __attribute__((vector_size(32)));
typedef uint8_t B8 __attribute__((vector_size(8)));

// Through memcpy, for no address here is a multiple of 32; it compiles to one move.
template <class V, class T>
PB_INLINE V load(const T* p) {
  V v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
template <class V, class T>
PB_INLINE void store(T* p, V v) { std::memcpy(p, &v, sizeof v); }
template <class F>
PB_INLINE void add(float* p, F v) { store<F>(p, load<F>(p) + v); }

}  // namespace pinbench
