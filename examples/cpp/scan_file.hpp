// A scan in a file: scan_file_nifti2.cpp reads any NIfTI with libnifti2, scan_file_plain.cpp
// uncompressed ones without it.
#pragma once

#include <memory>
#include <string>

#include "vmruntime.h"

class ScanFile {
public:
    // Throws std::runtime_error where the file cannot be read.
    explicit ScanFile(const std::string &path);
    ~ScanFile();

    // A view of the voxels, (X, Y, Z).
    const vm_image &image() const;

    // Write an image that is in C order on this scan's grid.
    void write(const std::string &path, const vm_image &image) const;

private:
    struct Content;
    std::unique_ptr<Content> content_;
};
