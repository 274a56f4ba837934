#pragma once
// Inside the kernels room: the one list of a table's entries. A set of kernels is a namespace of
// functions with the names and types of KernelTable's fields: FLOE_KERNELS declares them there,
// FLOE_KERNEL_TABLE makes the table of them. A set that shares kernels with another declares its
// own ones and takes the rest by a using-directive.
#include <type_traits>

#include "kernels/kernel_table.h"

#define FLOE_EACH_KERNEL(DO, set) \
  DO(set, matmul)                 \
  DO(set, quantize_row)           \
  DO(set, rms_norm)               \
  DO(set, layer_norm)             \
  DO(set, rope)                   \
  DO(set, swiglu)                 \
  DO(set, swiglu_clamped)         \
  DO(set, axpy)                   \
  DO(set, add)                    \
  DO(set, softmax)                \
  DO(set, load_kv)                \
  DO(set, attn_scores)            \
  DO(set, softmax_block)          \
  DO(set, attn_values)            \
  DO(set, indexer_scores)         \
  DO(set, store_kv)

// Declares a function of the field's type.
#define FLOE_KERNEL(set, name) std::remove_pointer_t<decltype(KernelTable::name)> name;
#define FLOE_KERNELS FLOE_EACH_KERNEL(FLOE_KERNEL, )

#define FLOE_KERNEL_FIELD(set, name) .name = set::name,
#define FLOE_KERNEL_TABLE(set) \
  { .isa = #set, FLOE_EACH_KERNEL(FLOE_KERNEL_FIELD, set) }
