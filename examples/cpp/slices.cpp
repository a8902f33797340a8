#include "slices.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace {

double value(const vm_image &image, std::int64_t x, std::int64_t y, std::int64_t z) {
    if (x >= image.shape[0] || y >= image.shape[1] || z >= image.shape[2]) return 0;
    const bool dense = image.strides[0] == 0;
    const std::int64_t at =
        dense ? (x * image.shape[1] + y) * image.shape[2] + z
              : x * image.strides[0] + y * image.strides[1] + z * image.strides[2];
    switch (image.type) {
        case VM_U8: return static_cast<const std::uint8_t *>(image.data)[at];
        case VM_I16: return static_cast<const std::int16_t *>(image.data)[at];
        case VM_U16: return static_cast<const std::uint16_t *>(image.data)[at];
        case VM_F32: return static_cast<double>(static_cast<const float *>(image.data)[at]);
        default: throw std::runtime_error("pictures are drawn of 8- and 16-bit and float scans");
    }
}

}  // namespace

void write_slices(const std::string &path, const vm_image &moving, const vm_image &moved,
                  const vm_image &fixed) {
    const std::int64_t rows = fixed.shape[1], columns = fixed.shape[0];
    const std::int64_t z = fixed.shape[2] / 2;
    const vm_image *panels[] = {&moving, &moved, &fixed};
    double brightest = 0;
    for (std::int64_t y = 0; y < rows; ++y)
        for (std::int64_t x = 0; x < columns; ++x)
            brightest = std::max(brightest, value(fixed, x, y, z));
    std::vector<unsigned char> picture;
    const auto put = [&picture, brightest](double level) {
        picture.push_back(
            static_cast<unsigned char>(std::clamp(255 * level / brightest, 0.0, 255.0)));
    };
    for (std::int64_t y = 0; y < rows; ++y) {
        for (const vm_image *panel : panels)
            for (std::int64_t x = 0; x < columns; ++x) put(value(*panel, x, y, z));
        for (std::int64_t x = 0; x < columns; ++x)
            put(std::abs(value(moved, x, y, z) - value(fixed, x, y, z)));
    }
    std::ofstream file(path, std::ios::binary);
    file << "P5\n" << 4 * columns << ' ' << rows << "\n255\n";
    file.write(reinterpret_cast<const char *>(picture.data()),
               static_cast<std::streamsize>(picture.size()));
    if (!file) throw std::runtime_error(path + ": cannot be written");
}
