// What a viewer does when its user asks for a registration: register, carry the labels over, say
// how far to trust it, show the result, and follow the cursor into the other scan.
//
//     viewer model.onnx moving.nii fixed.nii moving_labels.nii FOLDER
//
// Writes moved.nii, moved_labels.nii and slices.pgm into FOLDER.
#include <array>
#include <cstdio>
#include <exception>
#include <string>

#include "scan_file.hpp"
#include "slices.hpp"
#include "vmruntime.hpp"

namespace {

// Share of the fixed scan's voxels where the deformation folds, in percent.
double folding(const vmruntime::Result &result) {
    const vm_field jacobian = result.field(VM_JACOBIAN);
    const auto count = static_cast<std::size_t>(jacobian.shape[1] * jacobian.shape[2] *
                                                jacobian.shape[3]);
    std::size_t folds = 0;
    for (std::size_t i = 0; i < count; ++i) folds += !(jacobian.data[i] > 0);
    return 100.0 * static_cast<double>(folds) / static_cast<double>(count);
}

// World position of the voxel in the middle of a scan.
std::array<double, 3> middle(const vm_image &image) {
    std::array<double, 3> place{};
    for (std::size_t row = 0; row < 3; ++row) {
        place[row] = image.affine[4 * row + 3];
        for (std::size_t axis = 0; axis < 3; ++axis)
            place[row] += image.affine[4 * row + axis] * static_cast<double>(image.shape[axis] / 2);
    }
    return place;
}

void run(char **arguments) {
    const vmruntime::Session session(arguments[1]);
    const vm_session_info model = session.describe();
    std::printf("%s %s, %s, %d threads\n", model.engine, model.engine_version, model.precision,
                static_cast<int>(model.threads));

    const ScanFile moving(arguments[2]), fixed(arguments[3]), labels(arguments[4]);
    vmruntime::Options options;
    options.affine = VM_AFFINE_HEADER;
    options.labels = {labels.image()};
    options.label_mode = VM_LABEL;
    options.outputs = VM_WITH_MOVED | VM_WITH_JACOBIAN;
    options.progress = [](double share) {
        std::fprintf(stderr, "\r%3.0f %%", 100 * share);
        return true;  // false, as a cancel button would say, ends it
    };
    const vmruntime::Result result =
        session.register_pair(moving.image(), fixed.image(), options);
    std::fprintf(stderr, "\n");

    const std::string folder = std::string(arguments[5]) + "/";
    fixed.write(folder + "moved.nii", result.moved());
    fixed.write(folder + "moved_labels.nii", result.labels());
    write_slices(folder + "slices.pgm", moving.image(), result.moved(), fixed.image());

    for (const vmruntime::Warning &warning : result.warnings())
        std::printf("warning (%s): %s\n", warning.code.c_str(), warning.text.c_str());
    const std::array<double, 3> cursor = middle(fixed.image()), there = result.map(cursor);
    std::printf("network %.2f s, folding %.4f %%\n", result.seconds("network"), folding(result));
    std::printf("fixed (%.2f, %.2f, %.2f) mm is moving (%.4f, %.4f, %.4f) mm\n", cursor[0],
                cursor[1], cursor[2], there[0], there[1], there[2]);
}

}  // namespace

int main(int count, char **arguments) {
    if (count != 6) {
        std::fprintf(stderr,
                     "usage: %s model.onnx moving.nii fixed.nii moving_labels.nii FOLDER\n",
                     arguments[0]);
        return 2;
    }
    try {
        run(arguments);
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
