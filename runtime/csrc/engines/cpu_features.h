// What the processor can do.
#pragma once

namespace vm {

// Whether it multiplies bfloat16 numbers itself (AVX512_BF16, AMX, AVX_NE_CONVERT; arm's BF16).
bool has_bf16_instructions();

}  // namespace vm
