// Changes to a U-Net that leave its result as it is and make it faster in OpenVINO.
#pragma once

#include "onnx/graph.h"

namespace vm::onnx {

// Weights and activations in float32 instead of float16: what a processor computes in anyway, and
// sums of weights lose nothing.
void widen(Graph &graph);

// Replace conv3(concat(up2(u), skip)) by ConvTranspose(k4, s2, p1)(u) + conv3(skip), and conv3(up2(u))
// alike; returns how many. A convolution over a nearest-neighbour up-sampling by 2 multiplies each
// value of u by sums of its weights: one axis with weights a b c becomes the transposed
// convolution with c, b + c, a + b, a. The up-sampled and the joined tensor are never made.
int rewrite_upsamplings(Graph &graph);

}  // namespace vm::onnx
