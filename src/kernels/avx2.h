#pragma once
// Inside the kernels room: the AVX2 + FMA + F16C kernels.
//
// Their files are compiled for that instruction set and may run only after dispatch.cpp has looked.
// An inline function of a shared header that such a file emitted could replace the baseline copy
// when the program is linked; so these files call none, and keep their own in anonymous namespaces.
// tests/kernels/isa_symbols.cmake looks at the object files.
#include "kernels/kernel_entries.h"
#include "kernels/matmul_call.h"

namespace floe::avx2 {

void matmul_f32(const MatmulCall& call);
void matmul_f16(const MatmulCall& call);
void matmul_bf16(const MatmulCall& call);
void matmul_q4_0(const MatmulCall& call);
void matmul_q4_1(const MatmulCall& call);
void matmul_q5_0(const MatmulCall& call);
void matmul_q5_1(const MatmulCall& call);
void matmul_q8_0(const MatmulCall& call);
void matmul_iq4_nl(const MatmulCall& call);
void matmul_mxfp4(const MatmulCall& call);
void matmul_q2_k(const MatmulCall& call);
void matmul_q3_k(const MatmulCall& call);
void matmul_q4_k(const MatmulCall& call);
void matmul_q5_k(const MatmulCall& call);
void matmul_q6_k(const MatmulCall& call);
void matmul_iq4_xs(const MatmulCall& call);

FLOE_KERNELS

}  // namespace floe::avx2
