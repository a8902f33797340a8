// A picture of what a viewer would show.
#pragma once

#include <string>

#include "vmruntime.h"

// Write the middle slices across the last axis side by side as PGM: moving, moved, fixed, and the
// difference of the last two. The three images lie on one grid of the same shape, or the first may
// have another, which is then cropped or filled up.
void write_slices(const std::string &path, const vm_image &moving, const vm_image &moved,
                  const vm_image &fixed);
