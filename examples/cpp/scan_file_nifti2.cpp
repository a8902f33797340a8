#include <nifti2_io.h>

#include <cstring>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "scan_file.hpp"

namespace {

struct Kind {
    int code;
    vm_type type;
    std::size_t size;
};

constexpr Kind kinds[] = {{DT_UINT8, VM_U8, 1},    {DT_INT8, VM_I8, 1},
                          {DT_UINT16, VM_U16, 2},  {DT_INT16, VM_I16, 2},
                          {DT_UINT32, VM_U32, 4},  {DT_INT32, VM_I32, 4},
                          {DT_UINT64, VM_U64, 8},  {DT_INT64, VM_I64, 8},
                          {DT_FLOAT32, VM_F32, 4}, {DT_FLOAT64, VM_F64, 8}};

template <class Number>
void scale(const void *from, double slope, double offset, std::vector<float> &into) {
    const auto *values = static_cast<const Number *>(from);
    for (std::size_t i = 0; i < into.size(); ++i)
        into[i] = static_cast<float>(slope * static_cast<double>(values[i]) + offset);
}

}  // namespace

struct ScanFile::Content {
    nifti_image *file = nullptr;
    std::vector<float> scaled;  // where the file's values are a straight line away
    vm_image image = {};

    ~Content() { nifti_image_free(file); }
};

ScanFile::ScanFile(const std::string &path) : content_(std::make_unique<Content>()) {
    nifti_image *file = nifti_image_read(path.c_str(), 1);
    content_->file = file;
    if (!file) throw std::runtime_error(path + ": cannot be read as NIfTI");
    if (file->nvox != file->nx * file->ny * file->nz)
        throw std::runtime_error(path + ": holds several volumes; extract one");
    if (file->sform_code < 1 && file->qform_code < 1)
        throw std::runtime_error(path + ": has neither sform nor qform");
    const Kind *kind = nullptr;
    for (const Kind &one : kinds)
        if (one.code == file->datatype) kind = &one;
    if (!kind) throw std::runtime_error(path + ": holds values that are no real numbers");
    vm_image &image = content_->image;
    image.data = file->data;
    image.type = kind->type;
    const std::int64_t sizes[] = {file->nx, file->ny, file->nz};
    std::int64_t step = 1;
    for (int axis = 0; axis < 3; ++axis) {
        image.shape[axis] = sizes[axis];
        image.strides[axis] = step;
        step *= sizes[axis];
    }
    const nifti_dmat44 &affine = file->sform_code > 0 ? file->sto_xyz : file->qto_xyz;
    for (int i = 0; i < 12; ++i) image.affine[i] = affine.m[i / 4][i % 4];
    // The library leaves the header's scaling to us.
    const double slope = file->scl_slope, offset = file->scl_inter;
    if (slope == 0 || (slope == 1 && offset == 0)) return;
    content_->scaled.resize(static_cast<std::size_t>(step));
    switch (kind->type) {
        case VM_U8: scale<std::uint8_t>(file->data, slope, offset, content_->scaled); break;
        case VM_I8: scale<std::int8_t>(file->data, slope, offset, content_->scaled); break;
        case VM_U16: scale<std::uint16_t>(file->data, slope, offset, content_->scaled); break;
        case VM_I16: scale<std::int16_t>(file->data, slope, offset, content_->scaled); break;
        case VM_U32: scale<std::uint32_t>(file->data, slope, offset, content_->scaled); break;
        case VM_I32: scale<std::int32_t>(file->data, slope, offset, content_->scaled); break;
        case VM_U64: scale<std::uint64_t>(file->data, slope, offset, content_->scaled); break;
        case VM_I64: scale<std::int64_t>(file->data, slope, offset, content_->scaled); break;
        case VM_F32: scale<float>(file->data, slope, offset, content_->scaled); break;
        default: scale<double>(file->data, slope, offset, content_->scaled);
    }
    image.data = content_->scaled.data();
    image.type = VM_F32;
}

ScanFile::~ScanFile() = default;

const vm_image &ScanFile::image() const { return content_->image; }

void ScanFile::write(const std::string &path, const vm_image &image) const {
    const Kind *kind = kinds;
    while (kind->type != image.type) ++kind;
    const auto &[x_size, y_size, z_size] = image.shape;
    std::vector<char> values(static_cast<std::size_t>(x_size * y_size * z_size) * kind->size);
    char *to = values.data();
    const auto *from = static_cast<const char *>(image.data);
    for (std::int64_t z = 0; z < z_size; ++z)
        for (std::int64_t y = 0; y < y_size; ++y)
            for (std::int64_t x = 0; x < x_size; ++x, to += kind->size)
                std::memcpy(to, from + static_cast<std::size_t>((x * y_size + y) * z_size + z) *
                                           kind->size,
                            kind->size);
    nifti_image *file = nifti_copy_nim_info(content_->file);
    if (!file) throw std::runtime_error(path + ": not enough memory");
    file->datatype = kind->code;
    file->nbyper = static_cast<int>(kind->size);
    file->scl_slope = 1;
    file->scl_inter = 0;
    file->cal_min = file->cal_max = 0;
    file->data = values.data();
    nifti_set_filenames(file, path.c_str(), 0, 1);
    nifti_image_write(file);
    file->data = nullptr;  // ours
    nifti_image_free(file);
    // The library only prints that it could not write.
    if (!std::ifstream(path)) throw std::runtime_error(path + ": cannot be written");
}
