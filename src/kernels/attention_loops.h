#pragma once
// Inside the kernels room: the loops of the attention kernels, the same for all instruction sets;
// the order is numeric_order.h. Set, a struct of a set's file, brings the vectors:
//
//   Wide, Dots     kGroups groups of eight lanes; 4 * kGroups floats
//   kGroups        a group stands for a cached vector of its own in a dot product, for eight more
//                  columns in a weighted sum
//   kScoreHeads    heads of one pass over 4 * kGroups cached vectors
//   kValueHeads    heads of one pass over kValueVectors * 8 * kGroups columns
//   kSoloVectors   kValueVectors for a single head
//   zeros, splat, times, fma, load, store
//   load_first, store_first      n lanes and zeros; n lanes, or all where n is larger
//   repeat, repeat_first         eight values in every group, or n values and zeros
//   replace_first(before, next, n)   next in the first n lanes of every group
//   reduce_four(v)               place 4 g + k: the lanes of group g of v[k] in reduce_lanes' order
//   scaled(dots, scale)
//   add_positive(score, weight, dots)   score + weight * max(dots, 0), where NaN counts as 0
//   load_q8(vector, dim, out)    a Q8_0 vector as floats, for load_vectors
//
// Element, one of its structs, says how cached vectors are read: at(vector, i) consecutive values,
// first_at(vector, i, n) n of them and zeros. With several groups a dot product calls
// groups_at(vectors, i) and groups_first_at(vectors, i, n), group g from vectors[4 g].
//
// Everything has internal linkage and is inlined: see avx2.h.
#include "kernels/kernel_table.h"
#include "kernels/unroll.h"

namespace floe {
namespace {

// Vectors that all heads pass over before the next ones: wide ones stay in the first-level cache.
constexpr uint32_t kNearVectors = 8;

// pass.operator()<k>(h) for heads h to h + k, k at most kMost, until all n are through.
template <int kMost, typename Pass>
FLOE_INLINE void each_pass(uint32_t n, const Pass& pass) {
  uint32_t h = 0;
  while (h < n) {
    const uint32_t left = n - h;
    // The last two passes share what is left.
    const uint32_t size = left <= kMost ? left : left < 2 * kMost ? (left + 1) / 2 : kMost;
    unroll<1, kMost + 1>([&](auto k) {
      if (size == k.value) pass.template operator()<k.value>(h);
    });
    h += size;
  }
}

// The products of kHeads query vectors and 4 * kGroups cached ones; every loaded vector is used
// kHeads or four times.
template <typename Set, typename Element, int kHeads>
FLOE_INLINE void dot_heads(const float* q, size_t q_stride,
                           const std::byte* const (&vectors)[4 * Set::kGroups], uint32_t dim,
                           typename Set::Dots (&dots)[kHeads]) {
  using Wide = typename Set::Wide;
  Wide sum[kHeads][4];
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) sum[h][k] = Set::zeros();
  }
  uint32_t i = 0;
  for (; i + 8 <= dim; i += 8) {
    // The heads' registers are the fewer ones to hold.
    Wide query[kHeads];
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) query[h] = Set::repeat(q + h * q_stride + i);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      Wide cached;
      if constexpr (Set::kGroups == 1) {
        cached = Element::at(vectors[k], i);
      } else {
        cached = Element::groups_at(vectors + k, i);
      }
#pragma GCC unroll 8
      for (int h = 0; h < kHeads; ++h) sum[h][k] = Set::fma(query[h], cached, sum[h][k]);
    }
  }
  if (i < dim) {
    // Lanes past the end keep their sum untouched: even adding 0 could turn -0 into 0.
    const uint32_t n = dim - i;
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) {
      const Wide query = Set::repeat_first(q + h * q_stride + i, n);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        Wide cached;
        if constexpr (Set::kGroups == 1) {
          cached = Element::first_at(vectors[k], i, n);
        } else {
          cached = Element::groups_first_at(vectors + k, i, n);
        }
        sum[h][k] = Set::replace_first(sum[h][k], Set::fma(query, cached, sum[h][k]), n);
      }
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) dots[h] = Set::reduce_four(sum[h]);
}

// visit(head, first vector, number of vectors <= 4 * kGroups, their products), heads ascending for
// the same vectors.
template <typename Set, typename Element, typename Visit>
FLOE_INLINE void each_product(const float* q, size_t q_stride, uint32_t n_heads,
                              const std::byte* const* vectors, uint32_t n, uint32_t dim,
                              const Visit& visit) {
  constexpr uint32_t kTogether = 4 * Set::kGroups;
  for (uint32_t near = 0; near < n; near += kNearVectors) {
    const uint32_t end = near + kNearVectors < n ? near + kNearVectors : n;
    each_pass<Set::kScoreHeads>(n_heads, [&]<int kHeads>(uint32_t h) {
      for (uint32_t t = near; t < end; t += kTogether) {
        const uint32_t n_vectors = end - t < kTogether ? end - t : kTogether;
        // The first vector stands in for those past the end.
        const std::byte* together[kTogether];
#pragma GCC unroll 8
        for (uint32_t k = 0; k < kTogether; ++k) together[k] = vectors[k < n_vectors ? t + k : t];
        typename Set::Dots dots[kHeads];
        dot_heads<Set, Element, kHeads>(q + h * q_stride, q_stride, together, dim, dots);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < kHeads; ++k) visit(h + k, t, n_vectors, dots[k]);
      }
    });
  }
}

// out[kHeads][kVectors from column i] = factors * out + weights * values, t ascending.
template <typename Set, typename Element, int kHeads, int kVectors>
FLOE_INLINE void accumulate(const float* weights, size_t weight_stride, const float* factors,
                            const std::byte* const* values, uint32_t n, uint32_t i, float* out,
                            size_t out_stride) {
  using Wide = typename Set::Wide;
  constexpr uint32_t kLanes = 8 * Set::kGroups;
  Wide sum[kHeads][kVectors];
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
    const Wide factor = Set::splat(factors[h]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      sum[h][v] = Set::times(factor, Set::load(out + h * out_stride + i + kLanes * v));
    }
  }
  for (uint32_t t = 0; t < n; ++t) {
    Wide weight[kHeads];
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) weight[h] = Set::splat(weights[h * weight_stride + t]);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const Wide value = Element::at(values[t], i + kLanes * v);
#pragma GCC unroll 8
      for (int h = 0; h < kHeads; ++h) sum[h][v] = Set::fma(weight[h], value, sum[h][v]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      Set::store(out + h * out_stride + i + kLanes * v, sum[h][v]);
    }
  }
}

// The same for the last n_columns < 8 * kGroups columns of one head.
template <typename Set, typename Element>
FLOE_INLINE void accumulate_part(const float* weights, float factor, const std::byte* const* values,
                                 uint32_t n, uint32_t i, uint32_t n_columns, float* out) {
  typename Set::Wide sum = Set::times(Set::splat(factor), Set::load_first(out + i, n_columns));
  for (uint32_t t = 0; t < n; ++t) {
    sum = Set::fma(Set::splat(weights[t]), Element::first_at(values[t], i, n_columns), sum);
  }
  Set::store_first(out + i, sum, n_columns);
}

template <typename Set, typename Element>
FLOE_INLINE void weigh_values(const float* weights, size_t weight_stride, const float* factors,
                              uint32_t n_heads, const std::byte* const* values, uint32_t n,
                              uint32_t dim, float* out, size_t out_stride) {
  // Columns outside, heads inside: the few columns of all vectors stay in the first-level cache.
  uint32_t i = 0;
  const auto columns = [&]<int kMostHeads, int kVectors>() {
    constexpr uint32_t kColumns = kVectors * 8 * Set::kGroups;
    for (; i + kColumns <= dim; i += kColumns) {
      each_pass<kMostHeads>(n_heads, [&]<int kHeads>(uint32_t h) {
        accumulate<Set, Element, kHeads, kVectors>(weights + h * weight_stride, weight_stride,
                                                   factors + h, values, n, i, out + h * out_stride,
                                                   out_stride);
      });
    }
  };
  // Many sums hide the latency of an addition; one head needs more columns of its own for that.
  if (n_heads == 1) columns.template operator()<1, Set::kSoloVectors>();
  if constexpr (Set::kValueVectors > 2) {
    columns.template operator()<Set::kValueHeads, Set::kValueVectors>();
  }
  columns.template operator()<Set::kValueHeads, 2>();
  columns.template operator()<Set::kValueHeads, 1>();
  if (i == dim) return;
  for (uint32_t h = 0; h < n_heads; ++h) {
    accumulate_part<Set, Element>(weights + h * weight_stride, factors[h], values, n, i, dim - i,
                                  out + h * out_stride);
  }
}

template <typename Set, typename Element>
FLOE_INLINE void score_positions(const float* q, const float* head_weights, uint32_t n_heads,
                                 const std::byte* const* keys, uint32_t n, uint32_t dim,
                                 float* scores) {
  constexpr uint32_t kTogether = 4 * Set::kGroups;
  for (uint32_t t = 0; t < n; t += kTogether) {
    const uint32_t n_vectors = n - t < kTogether ? n - t : kTogether;
    typename Set::Dots score = {};
    each_product<Set, Element>(q, dim, n_heads, keys + t, n_vectors, dim,
                               [&](uint32_t h, uint32_t, uint32_t, typename Set::Dots dots) {
                                 score = Set::add_positive(score, head_weights[h], dots);
                               });
    Set::store_first(scores + t, score, n_vectors);
  }
}

template <typename Set>
FLOE_INLINE void widen(const std::byte* vector, uint32_t dim, float* out) {
  constexpr uint32_t kLanes = 8 * Set::kGroups;
  uint32_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) Set::store(out + i, Set::Halves::at(vector, i));
  if (i < dim) {
    Set::store_first(out + i, Set::Halves::first_at(vector, i, dim - i), dim - i);
  }
}

// What a set's entries of the table call.

template <typename Set>
FLOE_INLINE void load_vectors(const std::byte* const* vectors, KvType type, uint32_t n,
                              uint32_t dim, float* tile, size_t tile_stride) {
  for (uint32_t t = 0; t < n; ++t, tile += tile_stride) {
    switch (type) {
      case KvType::F32:
        __builtin_memcpy(tile, vectors[t], 4 * size_t{dim});
        break;
      case KvType::F16:
        widen<Set>(vectors[t], dim, tile);
        break;
      case KvType::Q8_0:
        Set::load_q8(vectors[t], dim, tile);
        break;
    }
  }
}

template <typename Set, typename Element>
FLOE_INLINE void score_heads(const float* q, size_t q_stride, uint32_t n_heads,
                             const std::byte* const* keys, uint32_t n, uint32_t dim, float scale,
                             float* scores, size_t score_stride) {
  each_product<Set, Element>(
      q, q_stride, n_heads, keys, n, dim,
      [&](uint32_t h, uint32_t t, uint32_t n_vectors, typename Set::Dots dots) {
        Set::store_first(scores + h * score_stride + t, Set::scaled(dots, scale), n_vectors);
      });
}

}  // namespace
}  // namespace floe
