// Where a model's grid lies around a fixed scan; see vmruntime/placement.py.
#pragma once

#include <string>

#include "onnx/manifest.h"
#include "session/scan.h"

namespace vm {

// How a scan's grid differs from the model's, in words; "" where it fits.
std::string grid_differences(const Manifest &manifest, const Grid &grid);

// Values above this are foreground.
float foreground_threshold(const Scan &scan);

// The scan's own grid where it stands on the model's; else one of the model's orientation and voxel
// size along the world's axes, its centre at the foreground's.
Grid place_model_grid(const Manifest &manifest, const Scan &fixed);

// Share of the foreground that lies outside the model's grid, 0 to 1. `to_model_world` leads from
// the scan's world to the one that the model's grid lies in.
double share_outside(const Scan &scan, const Grid &model, const Matrix &to_model_world);

}  // namespace vm
